"""Joining the cluster that a command runs in, where it runs in one. Imports no Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from assay.cluster.environment import in_ray_job, prepare_ray_environment


@contextmanager
def cluster_of_this_job() -> Iterator[None]:
    """Inside a job of a cluster, a connection to it: gateways then share limits and ledger with all who run there.

    Anywhere else nothing happens, and a laptop waits for no import of Ray.

    Raises:
        ResourceError: the cluster cannot be reached.
    """
    if not in_ray_job():
        yield
        return
    prepare_ray_environment()
    from assay.cluster.ray_cluster import joined_cluster

    with joined_cluster():
        yield
