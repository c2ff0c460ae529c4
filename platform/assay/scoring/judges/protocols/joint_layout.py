"""Who stands where in a joint judgement: duplicates, blocks with anchors, balanced orders. Pure and seeded.

Everything follows from the seed and the item's own texts, so the same item is laid out alike on every machine
and the ledger key of its calls never moves.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.errors import ConfigError
from assay.fingerprint import delimited_hash


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """Models grouped by identical responses."""

    representatives: tuple[str, ...]
    """One model per distinct response, in an order that the texts decide and not the models' names."""
    same_as: Mapping[str, str]
    """Each other model to the representative whose response is identical."""


def deduplicate(responses: Mapping[str, str]) -> Deduplicated:
    """Groups models whose responses are equal up to surrounding white space; the first name stands for all."""
    first: dict[str, str] = {}
    same_as: dict[str, str] = {}
    for model in sorted(responses):
        text = responses[model].strip()
        if text in first:
            same_as[model] = first[text]
        else:
            first[text] = model
    by_text = sorted(first, key=lambda text: delimited_hash([_encodable(text)]))
    return Deduplicated(tuple(first[text] for text in by_text), same_as)


def latin_square(size: int) -> list[list[int]]:
    """A Latin square: each of 0..size-1 once per row and once per column.

    For even sizes it is Williams' design: every ordered pair of neighbours occurs exactly once, so that what a
    response inherits from the one before it is balanced too. The reverse of each row is a row as well.
    """
    if size < 1:
        raise ValueError(f"size {size} must be at least 1")
    zigzag = [(place + 1) // 2 if place % 2 else (size - place // 2) % size for place in range(size)]
    return [[(value + row) % size for value in zigzag] for row in range(size)]


def balanced_orders(size: int, repeats: int, rng: random.Random) -> list[list[int]]:
    """`repeats` orders of 0..size-1, each pair of them a row of a shuffled Latin square and its reverse.

    A response and its mirror image average to the middle place, so with an even number of repeats every response
    has the same mean place within the item; with `repeats == size` (even) each stands once in every place.
    """
    if size == 1:
        return [[0]] * repeats
    names = list(range(size))
    rng.shuffle(names)
    rows = [[names[value] for value in row] for row in latin_square(size)]
    rng.shuffle(rows)
    orders: list[list[int]] = []
    taken: set[tuple[int, ...]] = set()
    while len(orders) < repeats:
        fresh = [row for row in rows if tuple(row) not in taken]
        if not fresh:
            taken.clear()
            continue
        for order in (fresh[0], fresh[0][::-1]):
            taken.add(tuple(order))
            orders.append(order)
    return orders[:repeats]


def blocks_with_anchors(
    models: Sequence[str],
    lengths: Mapping[str, int],
    max_models: int,
    max_length: int,
    anchors: int,
    rng: random.Random,
) -> list[tuple[str, ...]]:
    """Blocks that fit one call each, all holding the same anchor models, so that their scores can be linked.

    Args:
        models: to be placed, without duplicates.
        lengths: tokens (or any unit) that each model's response takes, fence and label included.
        max_models: most models in a block.
        max_length: most units in a block; a single pair that exceeds it still gets a block of its own.
        anchors: models that stand in every block where one block does not do; chosen by `rng` among the shorter half.
        rng: shuffles who shares a block with whom.

    Raises:
        ConfigError: `anchors` leaves no room for other models.
    """
    everyone = list(models)
    if len(everyone) <= max_models and sum(lengths[model] for model in everyone) <= max_length:
        return [tuple(everyone)]
    if not 1 <= anchors < max_models:
        raise ConfigError(
            f"joint: saw {anchors} anchors for blocks of {max_models}; expected at least 1 and fewer than the block"
        )
    shorter = sorted(everyone, key=lambda model: lengths[model])[: max(anchors, (len(everyone) + 1) // 2)]
    linked = rng.sample(shorter, anchors)
    rest = [model for model in everyone if model not in linked]
    rng.shuffle(rest)
    room = max_length - sum(lengths[model] for model in linked)
    groups: list[list[str]] = []
    # an even spread: as few blocks as the count allows, then more where the lengths ask for it
    wanted = -(-len(rest) // (max_models - anchors))
    target = -(-len(rest) // wanted)
    for model in rest:
        last = groups[-1] if groups else None
        if last is None or len(last) >= target or sum(lengths[name] for name in last) + lengths[model] > room:
            groups.append([model])
        else:
            last.append(model)
    return [(*linked, *group) for group in groups]


def item_rng(seed: int, prompt: str) -> random.Random:
    """A generator of its own for this item: equal prompt and seed, equal layout, whatever the models are called."""
    return random.Random(delimited_hash([str(seed), _encodable(prompt)]))


def _encodable(text: str) -> str:
    """The text without lone surrogates, which have no UTF-8."""
    return text.encode("utf-8", "replace").decode()
