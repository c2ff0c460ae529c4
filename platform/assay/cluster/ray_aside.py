"""Shares of a cluster set aside for work that goes on beside a stage which takes all the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from assay.cluster.capacity import Share
from assay.cluster.ray_nodes import taken_override

AT_ONCE_S = 10.0
"""Between two stages of a study nothing of it is in the way: what is not there by then is not waited for."""


@dataclass(frozen=True)
class SetAside:
    """Equal shares that nobody else is given."""

    group: PlacementGroup
    num_shares: int

    def options(self) -> dict[str, Any]:
        """Of an actor that lives on one of them."""
        return {"scheduling_strategy": PlacementGroupSchedulingStrategy(self.group)}


@contextmanager
def set_aside(share: Share, num_shares: int) -> Iterator[SetAside | None]:
    """So many shares until the block ends, left out of `capacity` inside it; None: they cannot be had now.

    Actors that still live on them then end.
    """
    group = placement_group([dict(share)] * num_shares)
    try:
        if not group.wait(AT_ONCE_S):
            yield None
            return
        taken: dict[str, dict[str, float]] = {}
        for node in placement_group_table(group)["bundles_to_node_id"].values():
            amounts = taken.setdefault(node, {})
            for name, amount in share.items():
                amounts[name] = amounts.get(name, 0.0) + amount
        with taken_override(taken):
            yield SetAside(group, num_shares)
    finally:
        remove_placement_group(group)
