"""How many trainings run at a time, and that trainings with several workers can never wait for each other for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from assay.cluster.capacity import Capacity, planned_nodes
from assay.errors import ResourceError
from assay.training.spec import TrainResources
from assay.training.sweep.slots import COORDINATOR_CPUS, slots_of, trial_share, worker_share


def test_a_gpu_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(ResourceError, match="saw 0 GPU in the cluster; expected 1"):
        slots_of(TrainResources(gpus_per_worker=1), Capacity(({"CPU": 8.0},)))
    with pytest.raises(ResourceError, match="saw 2 CPU in the cluster; expected 4"):
        slots_of(TrainResources(cpus_per_worker=4), Capacity(({"CPU": 2.0},)))


def test_a_worker_that_no_node_holds_is_refused_though_the_cluster_has_enough() -> None:
    with pytest.raises(ResourceError, match=r"saw room for 0 worker.*up to 2 CPU; expected 1 worker.* of 3 CPU"):
        slots_of(TrainResources(cpus_per_worker=3), Capacity(({"CPU": 2.0}, {"CPU": 2.0})))
    with pytest.raises(ResourceError, match="expected 4 for a trial"):
        slots_of(TrainResources(num_workers=4), Capacity(({"CPU": 3.0},)))


@pytest.mark.parametrize(
    ("resources", "nodes", "slots"),
    [
        ({}, ({"CPU": 4.0},), 4),
        ({"cpus_per_worker": 2}, ({"CPU": 5.0},), 2),
        ({"cpus_per_worker": 2}, ({"CPU": 3.0}, {"CPU": 3.0}), 2),  # 3, if a worker could lie on two nodes
        ({"max_concurrent": 3}, ({"CPU": 8.0},), 3),
        ({"gpus_per_worker": 0.25}, ({"CPU": 16.0, "GPU": 2.0},), 8),
        ({"num_workers": 2}, ({"CPU": 2.0},), 1),
        ({"num_workers": 2}, ({"CPU": 3.0}, {"CPU": 2.0}), 2),
        ({"num_workers": 4, "gpus_per_worker": 1}, ({"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 4.0}), 2),
    ],
)
def test_slots_are_what_the_nodes_hold(
    resources: dict[str, float], nodes: tuple[dict[str, float], ...], slots: int
) -> None:
    assert slots_of(TrainResources(**resources), Capacity(nodes)) == slots


def test_where_nodes_may_come_trials_ask_for_them() -> None:
    head = {"CPU": 8.0}
    assert slots_of(TrainResources(gpus_per_worker=1), Capacity((head,), is_open=True)) == 64
    assert slots_of(TrainResources(gpus_per_worker=1, max_concurrent=5), Capacity((head,), is_open=True)) == 5
    file = {
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 8}},
            "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 16},
        },
    }
    assert slots_of(TrainResources(gpus_per_worker=1), Capacity((head, *planned_nodes(file)))) == 16


@given(
    nodes=st.lists(st.integers(1, 64), min_size=1, max_size=12),
    workers=st.integers(2, 8),
    cpus=st.integers(1, 8),
    at=st.integers(0, 11),
)
def test_wherever_the_coordinators_lie_a_gang_still_fits(nodes: list[int], workers: int, cpus: int, at: int) -> None:
    """All coordinators on one node: the workers that the nodes then hold are still those of all slots."""
    resources = TrainResources(num_workers=workers, cpus_per_worker=cpus)
    try:
        slots = slots_of(resources, Capacity(tuple({"CPU": float(count)} for count in nodes)))
    except ResourceError:
        return
    left = [float(count) for count in nodes]
    crowded = max(range(len(nodes)), key=lambda place: (left[place] >= cpus, place == at % len(nodes)))
    left[crowded] -= slots * COORDINATOR_CPUS
    share = worker_share(resources)
    assert trial_share(resources) == {"cpu": COORDINATOR_CPUS}
    assert share["CPU"] < cpus
    held = Capacity(tuple({"CPU": amount} for amount in left)).room_for(share)
    assert held is not None
    assert held >= slots * workers or slots > 100 * (nodes[crowded] // cpus)


@pytest.mark.parametrize("gpus", [0.5, 2])
def test_several_workers_take_one_whole_gpu_each(gpus: float) -> None:
    with pytest.raises(ValidationError, match="one whole GPU each"):
        TrainResources(num_workers=2, gpus_per_worker=gpus)
