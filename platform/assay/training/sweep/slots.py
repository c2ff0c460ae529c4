"""How many trainings run at a time, and what each part of one reserves: the one place where that is stated. Pure.

A training with one worker is a Tune trial of its size. A training with several is a coordinator (the Tune trial, which
only waits) and a gang of workers. Ray gives a gang all its workers or none, a gang that is there never waits for
more, and coordinators can together not take what a gang needs: they live on what every worker leaves of its CPUs. So
some gang always runs to its end, and no mix of trials can wait for each other for ever.
"""

from __future__ import annotations

import math

from assay.cluster.capacity import Capacity
from assay.errors import ResourceError
from assay.training.spec import TrainResources

COORDINATOR_CPUS = 0.0001
"""Of a trial with several workers: Tune takes no trial without a CPU, and this is the least that Ray counts."""
LEFT_PER_WORKER_CPUS = 0.01
"""What each of several workers leaves of its CPUs: room for a hundred coordinators."""
MOST_UNKNOWN = 64
"""Trials at a time where nodes may come and nobody says how many: each waiting one asks the autoscaler for a node."""


def trial_share(resources: TrainResources) -> dict[str, float]:
    """What Tune reserves for a trial."""
    if resources.num_workers > 1:
        return {"cpu": COORDINATOR_CPUS}
    return {"cpu": resources.cpus_per_worker, "gpu": resources.gpus_per_worker}


def worker_share(resources: TrainResources) -> dict[str, float]:
    """What Ray Train reserves for each of several workers."""
    share = {"CPU": round(resources.cpus_per_worker - LEFT_PER_WORKER_CPUS, 4)}
    if resources.gpus_per_worker:
        share["GPU"] = resources.gpus_per_worker
    return share


def slots_of(resources: TrainResources, capacity: Capacity) -> int:
    """Trials at a time: what the cluster holds, or the smaller number that was asked for.

    Raises:
        ResourceError: not even one trial fits, and the cluster cannot grow.
    """
    share = {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker}
    most = resources.max_concurrent or math.inf
    room = capacity.room_for(share)
    if room is None:
        return int(min(most, MOST_UNKNOWN))
    slots = room // resources.num_workers
    if slots == 0:
        raise _does_not_fit(resources, capacity, share)
    return int(min(most, slots))


def _does_not_fit(resources: TrainResources, capacity: Capacity, share: dict[str, float]) -> ResourceError:
    workers = resources.num_workers
    for name, amount in share.items():
        total, wanted = capacity.total(name), amount * workers
        if wanted > total:
            return ResourceError(
                f"training resources: saw {total:g} {name} in the cluster; expected {wanted:g} for a trial "
                f"({workers} worker(s)); lower {name.lower()}s_per_worker or num_workers, or add machines"
            )
    wants = " and ".join(f"{amount:g} {name}" for name, amount in share.items() if amount)
    has = " and ".join(f"{capacity.most(name):g} {name}" for name, amount in share.items() if amount)
    return ResourceError(
        f"training resources: saw room for {capacity.room_for(share)} worker(s), nodes having up to {has}; expected "
        f"{workers} worker(s) of {wants}, each on one node; lower the share of a worker or num_workers, or add machines"
    )
