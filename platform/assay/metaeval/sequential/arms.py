"""Rounds over several arms: after each, which differences are known, and is the question answered? Pure.

Every difference of two arms has an interval after every round, and all of these intervals hold at once at 1 - alpha. So
whatever is dropped or ended because of them, and whenever, the findings are right together in 1 - alpha of all studies.
Evidence goes by arm and by planned order, never by arrival; equal evidence gives equal decisions. The leader was picked
for its high mean: its own interval allows for that.

Two units. `by_draws` answers which mixture is better: runs with other draws and seeds would say the same. `by_items`
answers which of these adapters is better on these N items, and says nothing about another training of the same mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np

from assay.metaeval.sequential.betting import IntervalSequence, fortunes, interval_sequence
from assay.metaeval.sequential.many import holm_on_e
from assay.metaeval.sequential.normal_mean import t_interval
from assay.metaeval.sequential.spending import pair_intervals, spent_shares
from assay.metaeval.sequential.winner import winner_interval
from assay.metaeval.statistics.estimate import FloatArray
from assay.metaeval.statistics.verdict import Word

Question = Literal["best", "baseline", "order"]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked and how sure the answer must be. All of it is identity."""

    question: Question
    looks: tuple[int, ...]
    """Draws (or items) of each arm after each planned round, none fewer than before."""
    alpha: float = 0.05
    margin: float = 0.0
    """Differences within it are of no interest, in the score's unit; 0 asks for a winner at any price."""
    baseline: str = ""
    """Of the question "baseline": the arm that all others are compared with."""
    is_planned: bool = True
    """Of draws: the looks were fixed before the first run. False: whoever looks may go on as long as he likes; then an
    arm's spread is its own, and three draws or more are needed to see anything."""
    keep: tuple[str, ...] = ()
    """Arms on which more is spent although they are out: somebody's wish, for which no guarantee speaks."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference, first minus second arm, as it is known after a round."""

    first: str
    second: str
    word: Word
    difference: float
    low: float
    high: float
    items_share: float = 0.0
    """Of draws: the part of its variance that more items would lower, and not more draws."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round ends with."""

    look: int
    """Draws (or items) of the arms in it."""
    leader: str
    """The arm with the highest mean, the first by name among equal ones."""
    leader_mean: float
    leader_low: float
    """Its true mean lies between these ends although it was picked for its measured one; at 1 - alpha over all rounds,
    beside the findings; -inf and inf where too little was seen."""
    leader_high: float
    findings: tuple[Finding, ...]
    """Of every pair that was in this round, in the order of names."""
    dropped: Mapping[str, str]
    """Arm -> why nothing more is spent on it."""
    kept: Mapping[str, str]
    """Arm of `Rule.keep` -> why nothing more would be spent on it."""
    is_answered: bool
    """Whether the question is."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when a planned round of draws ends."""

    scores: Mapping[str, Sequence[float]]
    """By arm, run means in the order of draws; as many as the round has of the arms in it."""
    of_pairs: Mapping[Pair, float] = field(default_factory=dict)
    """Variance that other items than those scored so far would give the difference of two arms; absent: all are."""
    of_arms: Mapping[str, float] = field(default_factory=dict)
    """The same of one arm's mean."""


def by_draws(scores: Mapping[str, Sequence[float]], rule: Rule) -> list[Round]:
    """Rounds so far, from each arm's run means in the order of draws.

    Args:
        scores: by arm; an arm that was dropped needs no more than it had then, the others all have equally many.
        rule: the rule; looks that the evidence does not reach yet are not taken.
    """
    return by_rounds([Evidence(scores)] * len(rule.looks), rule)


def by_rounds(evidence: Sequence[Evidence], rule: Rule) -> list[Round]:
    """Rounds so far, from what was known at the end of each: more draws, and more items of earlier ones.

    Args:
        evidence: of each of the rule's looks, in order, as far as there is any.
        rule: the rule.
    """
    if not evidence:
        return []
    family = len(evidence[0].scores)
    shares = spent_shares(len(rule.looks))

    def planned(place: int, arms: Sequence[str]) -> _Known:
        look = rule.looks[place]
        seen, level = evidence[place], rule.alpha * shares[place]
        table = np.array([seen.scores[arm][:look] for arm in arms], dtype=float)
        found = pair_intervals(table, alpha=level, num_arms=family)
        means = dict(zip(arms, found.means.tolist(), strict=True))
        bounds, shares_of_items = {}, {}
        for a, b in combinations(arms, 2):
            half = found.half_with(seen.of_pairs.get((a, b), 0.0))
            shares_of_items[a, b] = found.items_share(seen.of_pairs.get((a, b), 0.0))
            bounds[a, b] = (means[a] - means[b] - half, means[a] - means[b] + half)
        beside = seen.of_arms.get(_leader(means), 0.0)
        of_leader = winner_interval(table, alpha=level, num_arms=family, item_variance=beside)
        return _Known(means, bounds, (of_leader.low, of_leader.high), items_shares=shares_of_items)

    def at_any_time(place: int, arms: Sequence[str]) -> _Known:
        look, scores = rule.looks[place], evidence[place].scores
        means = {arm: float(np.mean(scores[arm][:look])) for arm in arms}
        bounds = {}
        for a, b in combinations(arms, 2):
            differences = np.subtract(scores[a][:look], scores[b][:look])
            found = t_interval(differences, alpha=rule.alpha / math.comb(family, 2))
            bounds[a, b] = (found.low, found.high) if np.ptp(differences) > 0 else (-math.inf, math.inf)
        own = t_interval(scores[_leader(means)][:look], alpha=rule.alpha / family)
        return _Known(means, bounds, (own.low, own.high))

    return _rounds([one.scores for one in evidence], rule, planned if rule.is_planned else at_any_time)


def by_items(
    scores: Mapping[str, Sequence[float]],
    rule: Rule,
    *,
    num_items: int,
    cheap: Mapping[str, Sequence[float]] | None = None,
) -> list[Round]:
    """Rounds so far, from each arm's item scores in 0..1, in the random order that all arms share.

    Without a margin only winners are looked for, and Holm's steps over all bets find more of them than the intervals,
    each of which allows for all pairs.

    Args:
        scores: by arm, as in `by_draws`.
        rule: the rule; its looks count items, and any number of further looks would be as valid.
        num_items: N, all items there are.
        cheap: by arm, another scorer's scores of all N items in the same order, in any unit. The more of the scores
            they explain, the fewer items decide.

    Raises:
        ValueError: a score outside 0..1 or missing, or cheap scores that are not of all items.
    """
    for arm, values in scores.items():
        if not all(0 <= value <= 1 for value in values):
            outside = next(value for value in values if not 0 <= value <= 1)
            raise ValueError(f"the score {outside:g} of {arm!r}; expected scores of items in [0, 1]")
    seen = {arm: np.asarray(values, dtype=float) for arm, values in scores.items()}
    help_ = {} if cheap is None else {arm: np.asarray(values, dtype=float) for arm, values in cheap.items()}
    bets = _Bets(sorted(scores), rule.alpha, num_items)

    @cache
    def of_pair(first: str, second: str) -> IntervalSequence:
        both = min(seen[first].size, seen[second].size)
        differences = seen[first][:both] - seen[second][:both]
        known_before = help_[first] - help_[second] if help_ else None
        bets.learn((first, second), differences, known_before)
        level = rule.alpha / math.comb(len(scores), 2)
        return interval_sequence(differences, num_items=num_items, alpha=level, cheap_N=known_before)

    @cache
    def of_arm(arm: str) -> IntervalSequence:
        level = rule.alpha / len(scores)
        return interval_sequence(2 * seen[arm] - 1, num_items=num_items, alpha=level, cheap_N=help_.get(arm))

    def known(place: int, arms: Sequence[str]) -> _Known:
        look = rule.looks[place]
        means = {arm: float(np.mean(seen[arm][:look])) for arm in arms}
        found = {pair: of_pair(*pair) for pair in combinations(arms, 2)}
        bounds = {pair: (float(ends.low[look - 1]), float(ends.high[look - 1])) for pair, ends in found.items()}
        own = of_arm(_leader(means))
        of_leader = ((float(own.low[look - 1]) + 1) / 2, (float(own.high[look - 1]) + 1) / 2)
        return _Known(means, bounds, of_leader, bets.held(look, arms) if rule.margin == 0 else None)

    return _rounds([scores] * len(rule.looks), rule, known)


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
    of_leader: tuple[float, float]
    held: Mapping[Pair, Word] | None = None
    """Pairs with a winner by another rule than that the interval leaves 0 out; None: by that one."""
    items_shares: Mapping[Pair, float] = field(default_factory=dict)


class _Bets:
    """For every two arms two bets, that the first is better and that it is worse; who wins enough is believed."""

    def __init__(self, arms: Sequence[str], alpha: float, num_items: int) -> None:
        self._alpha, self._num_items = alpha, num_items
        self._pairs = list(combinations(arms, 2))
        self._won: dict[Pair, FloatArray] = {}
        self._largest = np.zeros((len(self._pairs), 2))

    def learn(self, pair: Pair, differences: FloatArray, cheap_N: FloatArray | None) -> None:
        """Take in all differences of a pair, in order."""
        level = self._alpha / len(self._pairs)
        cheap = None if cheap_N is None else [cheap_N]
        found = fortunes([(differences + 1) / 2], [0.5], num_items=self._num_items, alpha=level, cheap_SN=cheap)
        self._won[pair] = np.maximum.accumulate(np.stack([found.above[0, 0], found.below[0, 0]]), axis=1)

    def held(self, look: int, arms: Sequence[str]) -> dict[Pair, Word]:
        """Pairs with a winner after so many items; one that is in no round any more keeps what its bets had won."""
        for place, pair in enumerate(self._pairs):
            if pair[0] in arms and pair[1] in arms:
                self._largest[place] = self._won[pair][:, look - 1]
        found: dict[Pair, Word] = {}
        largest = np.exp(np.minimum(self._largest, 700.0)).ravel()
        for place, is_held in enumerate(holm_on_e(largest, alpha=self._alpha)):
            if is_held:
                found[self._pairs[place // 2]] = "worse" if place % 2 else "better"
        return found


def _leader(means: Mapping[str, float]) -> str:
    return min(means, key=lambda arm: (-means[arm], arm))


def _rounds(
    evidence: Sequence[Mapping[str, Sequence[float]]],
    rule: Rule,
    known_at: Callable[[int, Sequence[str]], _Known],
) -> list[Round]:
    alive = sorted(evidence[0])
    if len(alive) < 2 or (rule.question == "baseline" and rule.baseline not in alive):
        raise ValueError(f"arms {alive}; expected two or more, the baseline {rule.baseline!r} among them")
    so_far: dict[Pair, tuple[float, float]] = {}
    rounds: list[Round] = []
    for place, (look, scores) in enumerate(zip(rule.looks, evidence, strict=False)):
        if min(len(scores.get(arm, ())) for arm in alive) < look:
            break
        known = known_at(place, alive)
        for pair, (low, high) in known.bounds.items():  # all looks hold at once, so each may only narrow
            before = so_far.get(pair, (-math.inf, math.inf))
            so_far[pair] = (max(low, before[0]), min(high, before[1]))
        found = [_finding(pair, known, so_far[pair], rule.margin) for pair in combinations(alive, 2)]
        leader = _leader(known.means)
        out, is_answered = _answer(rule, found, leader, alive)
        dropped = {arm: why for arm, why in out.items() if arm not in rule.keep}
        kept = {arm: why for arm, why in out.items() if arm in rule.keep}
        rounds.append(
            Round(look, leader, known.means[leader], *known.of_leader, tuple(found), dropped, kept, is_answered)
        )
        if is_answered:
            break
        alive = [arm for arm in alive if arm not in dropped]
    return rounds


def _finding(pair: Pair, known: _Known, bounds: tuple[float, float], margin: float) -> Finding:
    low, high = bounds
    word: Word = "undecided"
    if known.held is not None:
        word = known.held.get(pair, word)
    elif low > 0:
        word = "better"
    elif high < 0:
        word = "worse"
    elif margin > 0 and -margin <= low and high <= margin:
        word = "equivalent"
    difference = known.means[pair[0]] - known.means[pair[1]]
    return Finding(*pair, word, difference, low, high, known.items_shares.get(pair, 0.0))


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
