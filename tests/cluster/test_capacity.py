"""How many shares a cluster holds, whether it grows, and what is refused on several machines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.cluster.capacity import Capacity
from assay.errors import StorageError
from assay.store import Store

ALONE = [{"Alive": True, "NodeManagerHostname": "a", "Resources": {"CPU": 2.0}}]
SEVERAL = [*ALONE, {"Alive": True, "NodeManagerHostname": "b", "Resources": {"CPU": 4.0, "GPU": 1.0}}]


@given(st.lists(st.integers(0, 32), max_size=8), st.integers(1, 8))
def test_shares_lie_inside_nodes(cpus: list[int], share: int) -> None:
    capacity = Capacity(tuple({"CPU": float(count)} for count in cpus))
    room = capacity.room_for({"CPU": float(share), "GPU": 0.0})
    assert room is not None
    assert room * share <= capacity.total("CPU")
    assert (room == 0) == (capacity.most("CPU") < share)
    assert Capacity(capacity.nodes, is_open=True).room_for({"CPU": float(share)}) is None


def test_fractions_of_a_gpu_fill_it() -> None:
    assert Capacity(({"CPU": 8.0, "GPU": 1.0},)).room_for({"CPU": 0.1, "GPU": 0.1}) == 10


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, object]]:
    """Nodes as Ray tells them, and an empty home folder."""
    nodes: list[dict[str, object]] = list(ALONE)
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBERNETES_SERVICE_HOST", "RAY_CLUSTER_NAME", "RAY_FAKE_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    return nodes


def test_the_head_of_ray_up_counts_the_nodes_of_its_cluster_file(
    cluster: list[dict[str, object]], tmp_path: Path
) -> None:
    from assay.cluster.ray_nodes import capacity, grows, grows_override, several_machines

    assert capacity() == Capacity(({"CPU": 2.0},))
    assert not grows()
    assert not several_machines()
    cluster[0] = {**ALONE[0], "Resources": {"CPU": 0.0, "node:__internal_head__": 1.0}}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(
        "head_node_type: head\navailable_node_types:\n  head: {resources: {CPU: 0}}\n"
        "  gpu: {resources: {CPU: 8, GPU: 1}, max_workers: 3}\n"
    )
    assert capacity().room_for({"GPU": 1.0}) == 3
    assert several_machines()
    with grows_override(False):
        assert capacity().room_for({"GPU": 1.0}) == 0


def test_what_is_set_aside_is_left_out_on_the_node_where_it_lies(
    cluster: list[dict[str, object]], tmp_path: Path
) -> None:
    from assay.cluster.ray_nodes import capacity, taken_override

    cluster[:] = [
        {"Alive": True, "NodeID": name, "NodeManagerHostname": name, "Resources": {"CPU": cpus, **more}}
        for name, cpus, more in (
            ("head", 0.0, {"node:__internal_head__": 1.0}),
            ("a", 4.0, {}),
            ("b", 8.0, {"GPU": 1.0}),
        )
    ]
    with taken_override({"a": {"CPU": 1.0}}):
        assert capacity().room_for({"CPU": 4.0}) == 2
        assert capacity().room_for({"CPU": 3.0}) == 3
    with taken_override({"b": {"CPU": 1.0}}):
        assert capacity().room_for({"CPU": 4.0}) == 2
        assert capacity().room_for({"CPU": 8.0}) == 0
    assert capacity().room_for({"CPU": 8.0}) == 1
    (tmp_path / "ray_bootstrap_config.yaml").write_text(
        "head_node_type: head\navailable_node_types:\n  head: {resources: {CPU: 0}}\n"
        "  cpu: {resources: {CPU: 8}, max_workers: 3}\n"
    )
    with taken_override({"b": {"CPU": 1.0}}):  # one of the three that the file names
        assert capacity().room_for({"CPU": 8.0}) == 2
        assert capacity().room_for({"CPU": 7.0}) == 3


def test_kuberay_grows_and_nobody_says_how_far(
    cluster: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.cluster.ray_nodes import capacity

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert not capacity().is_open, "a pod that is no Ray cluster of KubeRay"
    monkeypatch.setenv("RAY_CLUSTER_NAME", "assay")
    assert capacity().is_open


def test_a_path_of_one_machine_is_refused_on_several(cluster: list[dict[str, object]], tmp_path: Path) -> None:
    from assay.cluster.ray_cluster import check_storage

    check_storage(Store(str(tmp_path)))
    cluster[:] = SEVERAL
    with pytest.raises(StorageError, match="saw a path of one machine on a cluster of several"):
        check_storage(Store(str(tmp_path)))
    check_storage(Store(f"file://{tmp_path}"))
    check_storage(Store("memory://runs"))
