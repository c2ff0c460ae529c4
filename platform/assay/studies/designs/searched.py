"""What `assay search` may vary in a design: numbers by name, and the weights that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SearchedSpace:
    """Numbers that a searcher chooses, each between the same two ends."""

    components: tuple[str, ...]
    """Parts of the mixtures."""
    names: tuple[str, ...]
    """Of the numbers."""
    low: float
    high: float
    is_log: bool
    """Whether they are searched on a logarithmic scale."""
    weights: Callable[[Mapping[str, float]], dict[str, float]]
    """Numbers by name -> weight of each component."""
    is_bounded: bool = False
    """Whether some shares are no points of the space."""
