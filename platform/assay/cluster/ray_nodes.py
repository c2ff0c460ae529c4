"""Asks Ray what its cluster holds, and the head what it may grow to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ray
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from assay.cluster.capacity import Capacity, Share, planned_nodes, without, without_one

_TOLD: ContextVar[bool | None] = ContextVar("told", default=None)
_TAKEN: ContextVar[Mapping[str, Share]] = ContextVar("taken", default=MappingProxyType({}))


@contextmanager
def grows_override(grows: bool | None) -> Iterator[None]:
    """Inside, the caller's word on whether nodes may still come holds; None leaves it to what the cluster shows."""
    token = _TOLD.set(grows)
    try:
        yield
    finally:
        _TOLD.reset(token)


@contextmanager
def taken_override(taken: Mapping[str, Share]) -> Iterator[None]:
    """Inside, `capacity` leaves out what somebody else has of nodes, by their ids in Ray."""
    token = _TAKEN.set(taken)
    try:
        yield
    finally:
        _TAKEN.reset(token)


def capacity() -> Capacity:
    """What the connected cluster holds and may grow to, without what is set aside (`ray_aside`)."""
    there, taken = [node for node in ray.nodes() if node["Alive"]], dict(_TAKEN.get())
    nodes = tuple(without(node["Resources"], taken.get(node.get("NodeID", ""), {})) for node in there)
    if not grows():
        return Capacity(nodes)
    file = _cluster_file()
    if file.is_file() and (planned := planned_nodes(yaml.safe_load(file.read_text(encoding="utf-8")))):
        for node in there:  # which of the planned ones it is nobody says
            if not _head((node["Resources"],)):
                planned = without_one(planned, taken.get(node.get("NodeID", ""), {}))
        return Capacity((*_head(nodes), *planned))
    return Capacity(nodes, is_open=True)


def machine_kinds() -> list[dict[str, float]]:
    """What differs between the machines of the cluster, each kind once: CPUs, GPUs and which accelerator these are."""

    def tells(name: str) -> bool:
        return name in ("CPU", "GPU") or name.startswith("accelerator_type:")

    kinds = {tuple(sorted((name, node[name]) for name in node if tells(name))) for node in capacity().nodes}
    return [dict(kind) for kind in sorted(kinds)]


def beside_the_driver() -> dict[str, Any]:
    """Options of an actor that must outlive every other node: it lives on this one, whose end is the run's anyway."""
    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def on_the_head() -> dict[str, Any]:
    """Options of an actor that outlives its job: elsewhere it would keep a node from being given back."""
    for node in ray.nodes():
        if node["Alive"] and "node:__internal_head__" in node["Resources"]:
            return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)}
    return {}


def several_machines() -> bool:
    """Whether workers may lie on another machine than this one: what is local here is then not there."""
    hosts = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    return len(hosts) > 1 or _cluster_file().is_file() or _on_kuberay()


def grows() -> bool:
    """Whether machines may still join: as told, else on the head of `ray up`, in KubeRay, in a test of Ray itself."""
    told = _TOLD.get()
    if told is not None:
        return told
    return _cluster_file().is_file() or _on_kuberay() or "RAY_FAKE_CLUSTER" in os.environ


def _on_kuberay() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and "RAY_CLUSTER_NAME" in os.environ


def _cluster_file() -> Path:
    """Where the head of `ray up` keeps its cluster file."""
    return Path("~/ray_bootstrap_config.yaml").expanduser()


def _head(nodes: tuple[dict[str, float], ...]) -> tuple[dict[str, float], ...]:
    return tuple(node for node in nodes if "node:__internal_head__" in node)
