"""Asking one node of every kind that a cluster has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from assay.cluster.capacity import Share
from assay.cluster.ray_cluster import joined_cluster
from assay.cluster.ray_nodes import capacity

ACCELERATOR = "accelerator_type:"
Found = TypeVar("Found")


def on_every_kind(look: Callable[[], Found]) -> dict[str, Found | None]:
    """What `look` finds on a node of every kind; None for a kind that the cluster may grow by and has none of now.

    Raises:
        ResourceError: the cluster cannot be reached.
    """
    with joined_cluster():
        there = node_kinds([node for node in ray.nodes() if node["Alive"]])
        looks = ray.remote(num_cpus=0)(look)
        asked = {
            kind: looks.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
            for kind, node in there.items()
        }
        found: dict[str, Found | None] = {kind: ray.get(told) for kind, told in asked.items()}
        return {**found, **{kind_of(planned): None for planned in capacity().nodes if kind_of(planned) not in there}}


def node_kinds(nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What each kind of node is called -> the id of its first node, in the order of the names.

    Args:
        nodes: as `ray.nodes` lists them.
    """
    kinds: dict[str, str] = {}
    for node in sorted(nodes, key=lambda node: str(node["NodeID"])):
        kinds.setdefault(kind_of(node["Resources"]), node["NodeID"])
    return dict(sorted(kinds.items()))


def kind_of(resources: Share) -> str:
    """A node by what it has: "16 CPU, 1 GPU (A100)"."""
    parts = [f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU") if resources.get(name) or name == "CPU"]
    models = sorted(name.removeprefix(ACCELERATOR) for name in resources if name.startswith(ACCELERATOR))
    return ", ".join(parts) + (f" ({', '.join(models)})" if models else "")
