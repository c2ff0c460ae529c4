"""Rounds over several arms: after each, which differences are known, and is the question answered? Pure.

Every difference of two arms has an interval after every round, and all of these intervals hold at once at 1 - alpha. So
whatever is dropped or ended because of them, and whenever, the findings are right together in 1 - alpha of all studies.
Evidence goes by arm and by planned order, never by arrival; equal evidence gives equal decisions.

Two units. `by_draws` answers which mixture is better: runs with other draws and seeds would say the same. `by_items`
answers which of these adapters is better on these N items, and says nothing about another training of the same mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from assay.metaeval.sequential.betting import interval_sequence
from assay.metaeval.sequential.spending import pair_intervals, spent_shares
from assay.metaeval.statistics.verdict import Word

Question = Literal["best", "baseline", "order"]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked and how sure the answer must be. All of it is identity."""

    question: Question
    looks: tuple[int, ...]
    """Draws (or items) of each arm after each planned round, increasing."""
    alpha: float = 0.05
    margin: float = 0.0
    """Differences within it are of no interest, in the score's unit; 0 asks for a winner at any price."""
    baseline: str = ""
    """Of the question "baseline": the arm that all others are compared with."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference, first minus second arm, as it is known after a round."""

    first: str
    second: str
    word: Word
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Round:
    """What a round ends with."""

    look: int
    """Draws (or items) of the arms in it."""
    leader: str
    """The arm with the highest mean, the first by name among equal ones."""
    findings: tuple[Finding, ...]
    """Of every pair that was in this round, in the order of names."""
    dropped: Mapping[str, str]
    """Arm -> why nothing more is spent on it."""
    is_answered: bool
    """Whether the question is."""


def by_draws(scores: Mapping[str, Sequence[float]], rule: Rule) -> list[Round]:
    """Rounds so far, from each arm's run means in the order of draws.

    Args:
        scores: by arm; an arm that was dropped needs no more than it had then, the others all have equally many.
        rule: the rule; looks that the evidence does not reach yet are not taken.
    """
    family, shares = len(scores), spent_shares(len(rule.looks))

    def intervals(look: int, arms: Sequence[str]) -> tuple[Mapping[str, float], Mapping[Pair, float]]:
        level = rule.alpha * shares[rule.looks.index(look)]
        table = np.array([scores[arm][:look] for arm in arms], dtype=float)
        found = pair_intervals(table, alpha=level, num_arms=family)
        return dict(zip(arms, found.means.tolist(), strict=True)), dict.fromkeys(combinations(arms, 2), found.half)

    return _rounds(scores, rule, lambda look, arms: _around(*intervals(look, arms)))


def by_items(scores: Mapping[str, Sequence[float]], rule: Rule, *, num_items: int) -> list[Round]:
    """Rounds so far, from each arm's item scores in 0..1, in the random order that all arms share.

    Args:
        scores: by arm, as in `by_draws`.
        rule: the rule; its looks count items, and any number of further looks would be as valid.
        num_items: N, all items there are.
    """
    level = rule.alpha / max(1, math.comb(len(scores), 2))

    def known(look: int, arms: Sequence[str]) -> _Known:
        means = {arm: float(np.mean(scores[arm][:look])) for arm in arms}
        bounds = {}
        for first, second in combinations(arms, 2):
            differences = np.subtract(scores[first][:look], scores[second][:look])
            found = interval_sequence(differences, num_items=num_items, alpha=level)
            bounds[first, second] = (float(found.low[-1]), float(found.high[-1]))
        return _Known(means, bounds)

    return _rounds(scores, rule, known)


def more_needed(one: Finding, look: int) -> int | None:
    """About how many more draws (or items) would tell an undecided difference of the size that was seen from 0.

    None where nothing can be said: no difference was seen, or there is no interval yet.
    """
    half = (one.high - one.low) / 2
    if one.word != "undecided" or one.difference == 0 or not math.isfinite(half):
        return None
    # widths go by one over the root of the number; at least one more, since this many were not enough
    return max(1, math.ceil(look * (half / abs(one.difference)) ** 2) - look)


@dataclass(frozen=True, slots=True)
class _Known:
    means: Mapping[str, float]
    bounds: Mapping[Pair, tuple[float, float]]
    """Of first minus second, the first being before the second by name."""


def _around(means: Mapping[str, float], half: Mapping[Pair, float]) -> _Known:
    return _Known(
        means,
        {(a, b): (means[a] - means[b] - width, means[a] - means[b] + width) for (a, b), width in half.items()},
    )


def _rounds(
    scores: Mapping[str, Sequence[float]], rule: Rule, known_at: Callable[[int, Sequence[str]], _Known]
) -> list[Round]:
    if len(scores) < 2 or (rule.question == "baseline" and rule.baseline not in scores):
        raise ValueError(f"arms {sorted(scores)}; expected two or more, the baseline {rule.baseline!r} among them")
    alive = sorted(scores)
    so_far: dict[Pair, tuple[float, float]] = {}
    rounds: list[Round] = []
    for look in rule.looks:
        if min(len(scores[arm]) for arm in alive) < look:
            break
        known = known_at(look, alive)
        for pair, (low, high) in known.bounds.items():  # all looks hold at once, so each may only narrow
            before = so_far.get(pair, (-math.inf, math.inf))
            so_far[pair] = (max(low, before[0]), min(high, before[1]))
        found = [_finding(pair, known.means, so_far[pair], rule.margin) for pair in combinations(alive, 2)]
        leader = min(alive, key=lambda arm: (-known.means[arm], arm))
        ended = _answer(rule, found, leader, alive)
        rounds.append(Round(look, leader, tuple(found), *ended))
        if ended[1]:
            break
        alive = [arm for arm in alive if arm not in ended[0]]
    return rounds


def _finding(pair: Pair, means: Mapping[str, float], bounds: tuple[float, float], margin: float) -> Finding:
    low, high = bounds
    word: Word = "undecided"
    if low > 0:
        word = "better"
    elif high < 0:
        word = "worse"
    elif margin > 0 and -margin <= low and high <= margin:
        word = "equivalent"
    return Finding(*pair, word, means[pair[0]] - means[pair[1]], low, high)


def _answer(rule: Rule, found: Sequence[Finding], leader: str, alive: Sequence[str]) -> tuple[dict[str, str], bool]:
    """Which arms are out and why, and whether the question is answered."""
    open_pairs = [one for one in found if one.word == "undecided"]
    if rule.question == "order":
        waiting = {arm for one in open_pairs for arm in (one.first, one.second)}
        return {arm: "all its differences are known" for arm in alive if arm not in waiting}, not open_pairs
    if rule.question == "baseline":
        pairs = [{one.first, one.second} for one in open_pairs]
        waiting = {arm for pair in pairs if rule.baseline in pair for arm in pair}
        done = {arm: "known against the baseline" for arm in alive if arm not in waiting and arm != rule.baseline}
        return done, not waiting
    dropped: dict[str, str] = {}
    for one in found:
        if one.word in ("better", "worse"):
            winner, loser = (one.first, one.second) if one.word == "better" else (one.second, one.first)
            dropped.setdefault(loser, f"worse than {winner}")
    left = [arm for arm in alive if arm not in dropped]
    # nobody left can be better than the leader by more than the margin
    close = all(_least_lead(one, leader) >= -rule.margin for one in found if leader in (one.first, one.second))
    return dropped, len(left) == 1 or (rule.margin > 0 and leader in left and close)


def _least_lead(one: Finding, leader: str) -> float:
    return one.low if one.first == leader else -one.high
