"""What a cluster holds and may grow to, and how many equal shares of it fit. Pure: `ray_nodes` asks Ray.

A share (a trial's worker, an engine, a judge actor) lies on one node, so nodes are counted one by one: two nodes of
three CPUs hold two workers of two CPUs, not three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Share = Mapping[str, float]
"""Resource name ("CPU", "GPU", or one that a cluster file makes up) -> amount."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Capacity:
    """Nodes that are there, and those that may come."""

    nodes: tuple[Share, ...]
    """Of each node what it has in all; also of the nodes that an autoscaler may add, where it says how many."""
    is_open: bool = False
    """More nodes may come than `nodes` holds, nobody says how many."""

    def room_for(self, share: Share) -> int | None:
        """How many such shares can ever be there at a time; None where nobody can say."""
        if self.is_open:
            return None
        return sum(_fits(node, share) for node in self.nodes)

    def most(self, name: str) -> float:
        """The largest amount of a resource on one node."""
        return max((node.get(name, 0.0) for node in self.nodes), default=0.0)

    def total(self, name: str) -> float:
        """The amount of a resource over all nodes."""
        return sum(node.get(name, 0.0) for node in self.nodes)


def without(node: Share, share: Share) -> dict[str, float]:
    """What a node has beside a share that is taken of it."""
    return {name: amount - share.get(name, 0.0) for name, amount in node.items()}


def without_one(nodes: tuple[Share, ...], share: Share) -> tuple[Share, ...]:
    """Nodes of which one, the first that has it, gives a share; unchanged where none has it."""
    for place, node in enumerate(nodes):
        if _fits(node, share):
            return (*nodes[:place], without(node, share), *nodes[place + 1 :])
    return nodes


def planned_nodes(cluster: Mapping[str, Any]) -> tuple[Share, ...]:
    """The workers that `ray up` may start by a cluster file: of each type as many as it and the whole file allow.

    Args:
        cluster: the parsed cluster file, as the head keeps it.
    """
    head = cluster.get("head_node_type")
    nodes: list[Share] = []
    for name, kind in (cluster.get("available_node_types") or {}).items():
        if name != head:
            amounts = {key: float(value) for key, value in (kind.get("resources") or {}).items() if key != "node_id"}
            nodes += [amounts] * int(kind.get("max_workers", cluster.get("max_workers", 0)))
    # the whole file's limit may be the smaller one; which types it cuts is not known, so none is counted less
    return tuple(nodes)


def _fits(node: Share, share: Share) -> int:
    counts = [int(node.get(name, 0.0) / amount + ROUNDING) for name, amount in share.items() if amount > 0]
    return min(counts, default=0)
