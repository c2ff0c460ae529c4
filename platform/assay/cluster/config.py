"""Which Ray a command joins or starts."""

from __future__ import annotations

from pydantic import Field

from assay.config import Config


class ClusterResources(Config):
    """A cluster to join, or the private Ray of this machine."""

    ray_address: str | None = None
    """None starts a private Ray on this machine, unless the process already runs inside a Ray job."""
    autoscaling: bool | None = None
    """Whether nodes may still come, so that missing resources are waited for; None asks the cluster."""
    num_cpus: int | None = Field(None, ge=1)
    """CPUs of the private Ray; None takes all."""
