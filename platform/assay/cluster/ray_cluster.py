"""Joining or starting Ray, and saying in one place who gets which of its resources.

Stages of a wave follow each other: trials hold all training slots, then one generation engine per slot that fits,
then judge workers. Beside Tune nothing of ours runs but a judge, on CPUs that were set aside before (`ray_aside`), so
neither can wait for the other for ever.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from assay.cluster.config import ClusterResources
from assay.cluster.environment import in_ray_job
from assay.cluster.ray_models import hub_token_for_nodes
from assay.cluster.ray_nodes import grows_override, several_machines
from assay.errors import ResourceError, StorageError
from assay.store import Store

START_ATTEMPTS = 3
OBJECT_STORE_BYTES = 512 * 1024**2
"""Of a private Ray: tokenised rows and blocks of predictions are small."""


@contextmanager
def ray_cluster(resources: ClusterResources) -> Iterator[None]:
    """A connection to Ray for the time of a study: the job's own cluster, a named one, or a private one.

    Raises:
        ResourceError: the cluster cannot be reached.
    """
    with grows_override(resources.autoscaling):
        if ray.is_initialized():
            yield
            return
        _start(resources)
        try:
            with hub_token_for_nodes():
                yield
        finally:
            ray.shutdown()


@contextmanager
def joined_cluster() -> Iterator[None]:
    """A connection to the cluster of this job, for work that needs its named actors and none of its shares.

    Raises:
        ResourceError: the cluster cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    _start(ClusterResources())
    try:
        yield
    finally:
        ray.shutdown()


def check_storage(store: Store) -> None:
    """Refuse a path of this machine where workers run on others: what they write would be lost.

    Raises:
        StorageError: a plain path on a cluster of several machines.
    """
    if store.is_local and not store.is_mount and several_machines():
        raise StorageError(
            f"--storage {store.uri}: saw a path of one machine on a cluster of several; expected storage that all of "
            "them reach; pass s3://..., gs://..., or file:///PATH for a folder that is mounted on every one"
        )


def _start(resources: ClusterResources) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if in_ray_job() or resources.ray_address:
            ray.init(resources.ray_address or "auto", runtime_env=_runtime_env(), **quiet)
            return
        _init_private(
            address="local",
            _node_ip_address="127.0.0.1",
            num_cpus=resources.num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(Path(tempfile.gettempdir()) / f"assay-ray-{os.getuid()}"),
            runtime_env=_runtime_env(),
            **quiet,
        )
    except Exception as error:  # Ray raises bare ones where a process of its own does not come up
        reason = " ".join(str(error).split())[:300]
        raise ResourceError(f"ray: {reason}; expected a reachable cluster; check resources.ray_address") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray takes it for itself, to end the process with code 15


def _init_private(**arguments: object) -> None:
    """`ray.init`, tried again: Ray gives its own processes 30 s to come up, which a busy machine exceeds."""
    for attempt in range(START_ATTEMPTS):
        try:
            with _without_native_notes():
                ray.init(**arguments)
            return
        except Exception:
            ray.shutdown()
            if attempt + 1 == START_ATTEMPTS:
                raise


@contextmanager
def _without_native_notes() -> Iterator[None]:
    """Keep what Ray's C++ side prints while it starts off the terminal; errors come as exceptions all the same."""
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as notes:
            os.dup2(notes.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _runtime_env() -> dict[str, object]:
    """What workers need to import the package and to stay off the network and quiet."""
    variables = {
        name: os.environ[name]
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "ASSAY_CACHE", "HF_HOME")
        if name in os.environ
    }
    if in_ray_job():
        variables["PYTHONPATH"] = "platform"  # of the job's working directory, on whichever node
    variables |= {"TOKENIZERS_PARALLELISM": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    variables["OMP_WAIT_POLICY"] = os.environ["OMP_WAIT_POLICY"]  # a worker may load torch before our package
    return {"env_vars": variables}
