"""From weights to counts: how many rows each weighted component gives. Pure.

A component's share is its weight to the power 1/temperature, over the sum: temperature 1 keeps the weights, a high one
evens them out. Shares are of rows, or of tokens. The resolved spec states plain counts, so a mixture has the
same identity however its counts were found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from assay.errors import InputError
from assay.mixtures.spec import ComponentSpec, MixtureSpec


def resolve_shares(
    spec: MixtureSpec, available: Mapping[str, int], mean_tokens: Mapping[str, float] | None = None, label: str = ""
) -> MixtureSpec:
    """The spec with a count in place of each weight; one without weights comes back as it is.

    Args:
        spec: `total` rows (or tokens, where `share_of` is "tokens") are shared by the weighted components.
        available: rows that each weighted component could give, by component name.
        mean_tokens: tokens of a row on average, by component name; needed for shares of tokens.
        label: what messages call the mixture.

    Raises:
        InputError: a component would have to give more rows than it has, or token figures are missing.
    """
    weighted = [part for part in spec.train if part.weight is not None]
    if not weighted or spec.total is None:
        return spec
    there = [available.get(part.name, 0) if spec.is_natural else 1 for part in weighted]
    refuse_empty(weighted, there, label)
    logs = [
        math.log((part.weight or 1.0) * rows) / spec.temperature for part, rows in zip(weighted, there, strict=True)
    ]
    powers = [math.exp(value - max(logs)) for value in logs]
    shares = [power / sum(powers) for power in powers]
    if spec.share_of == "tokens":
        missing = [part.name for part in weighted if not (mean_tokens or {}).get(part.name, 0) > 0]
        if missing or mean_tokens is None:
            raise InputError(
                f"mixture {label!r}: saw no token figures for {missing}; expected tokens of a row on average"
            )
        exact = [share * spec.total / mean_tokens[part.name] for share, part in zip(shares, weighted, strict=True)]
        counts = [max(1, round(rows)) for rows in exact]
    else:
        counts = largest_remainder(shares, spec.total)
    by_name = {part.name: count for part, count in zip(weighted, counts, strict=True)}
    for part, count in zip(weighted, counts, strict=True):
        if count > available.get(part.name, 0) * part.max_repeats:
            raise InputError(
                f"mixture {label!r}: the weight of {part.name!r} asks for {count} rows but there are "
                f"{available.get(part.name, 0)}; lower total, the weight, or raise temperature"
            )
    train = tuple(
        part.replace(weight=None, count=by_name[part.name]) if part.name in by_name else part for part in spec.train
    )
    return spec.replace(train=train, total=None, temperature=1.0, share_of="rows", is_natural=False)


def refuse_empty(weighted: Sequence[ComponentSpec], there: Sequence[float], label: str) -> None:
    """Refuse a component that has nothing to draw from.

    Raises:
        InputError: names it.
    """
    for part, rows in zip(weighted, there, strict=True):
        if not rows:
            raise InputError(f"mixture {label!r}: saw no row of {part.name!r} to draw from; expected some")


def largest_remainder(shares: list[float], total: int) -> list[int]:
    """Whole numbers that add up to `total` and differ from the exact shares by less than one; ties to the first."""
    exact = [share * total for share in shares]
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: (counts[place] - exact[place], place))
    for place in by_remainder[: total - sum(counts)]:
        counts[place] += 1
    return counts
