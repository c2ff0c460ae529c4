"""Models on the node that needs them: trainers, engines and scorers of a cluster all ask here.

A node downloads from the hub itself. The token of who runs the study reaches it from process to process, by one call
of an actor that lives as long as the job; it is in no environment, argument of a task, file or log of Ray's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ray

from assay.cluster.ray_named import NAMESPACE
from assay.cluster.ray_nodes import beside_the_driver, several_machines
from assay.model_folders import local_model
from assay.store import Store

ANSWER_WITHIN_S = 30.0


@ray.remote(num_cpus=0)
class TokenActor:
    """Holds the hub's token for the workers of one job."""

    def __init__(self) -> None:
        self._token: str | None = None

    def put(self, token: str) -> None:
        """Take the driver's token."""
        self._token = token

    def get(self) -> str | None:
        """The token, once it is there."""
        return self._token


@contextmanager
def hub_token_for_nodes() -> Iterator[None]:
    """Inside, nodes of other machines can ask for this machine's hub token, where it has one."""
    from huggingface_hub import get_token

    token = get_token() if several_machines() else None
    if not token:
        yield
        return
    actor = TokenActor.options(name=_name(), namespace=NAMESPACE, **beside_the_driver()).remote()
    ray.get(actor.put.remote(token))  # by a call: arguments of a constructor are kept by the head
    try:
        yield
    finally:
        ray.kill(actor)


def hub_token() -> str | None:
    """This machine's hub token, else that of the job's driver, else None."""
    from huggingface_hub import get_token

    own = get_token()
    if own or not ray.is_initialized():
        return own
    try:
        actor = ray.get_actor(_name(), namespace=NAMESPACE)
        return ray.get(actor.get.remote(), timeout=ANSWER_WITHIN_S)
    except (ValueError, ray.exceptions.RayError):  # the driver has none
        return None


def model_here(store: Store, path: str, key: str, source: str = "", *, what: str = "base model") -> str:
    """Where this node reads a model that the driver found: as `model_folders.local_model`, with the job's token.

    Raises:
        InputError: this node has no way to it.
    """
    return local_model(store, path, key, source, what=what, token=hub_token)


def _name() -> str:
    """Of this job: studies of other people on the same cluster have tokens of their own."""
    return f"assay-hub-token-{ray.get_runtime_context().get_job_id()}"
