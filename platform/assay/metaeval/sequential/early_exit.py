"""Which trainings need not go on, since their validation loss cannot come within the margin of the leader's. Pure.

All arms of a round share the rows of their validation loss. At fixed parts of the schedule, once every arm is there, an
arm is ended whose loss lies further above the best one than all that it may still gain. A loss that falls less and less
gains no more per step than it did lately: from part t of the schedule to its end at most

    gain = (loss at t / 2 - loss at t) * (1 - t) / (t / 2)

With `credit` 0 the leader is taken to gain nothing more: with losses that fall ever more slowly no arm is ended then
that would have come within the margin. With 1 it is taken to gain as much of its own bound as the arm does of its. How
often that goes wrong, with noise and schedules that drop late, is for `replay` to show on curves that are stored.

Axes: T evaluations, equally spaced over the schedule, the last at its end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.metaeval.statistics.estimate import FloatArray


@dataclass(frozen=True, slots=True)
class ExitRule:
    """When a training is ended."""

    margin: float = 0.0
    """In nats: an arm that may come this near to the best one goes on."""
    first: float = 0.4
    """Part of the schedule before which nobody is ended."""
    credit: float = 0.5
    """Part of its own bound that the leader is taken to gain."""
    noise_errors: float = 2.0
    """Standard errors of one loss (see `noise_of`) that a difference must exceed what may still be gained by."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What a rule would have done to curves that are stored whole."""

    ended: Mapping[str, int]
    """Arm -> evaluation, from 0, after which it was ended."""
    steps_saved: float
    """Share of all arms' steps."""
    winner: str
    """Best of the arms that went on to the end."""
    is_winner_kept: bool
    """Whether the best arm of all went on to the end, or one within a standard error of it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an arm stands at a barrier."""

    loss: float
    """Its last one, nats."""
    best: float
    """Its lowest one so far."""
    gain: float
    """The most that it may still fall by; 0 where its training is over."""
    error: float
    """Standard error of `loss`."""
    is_running: bool = True
    """Whether there is anything left to be saved."""


@dataclass(frozen=True, slots=True)
class Behind:
    """An arm that cannot come within the margin of the leader."""

    loss: float
    gain: float
    leader: str
    leader_end: float
    """Where the leader will be, by what it is credited with."""

    def __str__(self) -> str:
        return f"loss {self.loss:.4f} may still fall by {self.gain:.4f}; {self.leader} will be at {self.leader_end:.4f}"


def standing(curve: Sequence[float], num_evaluations: float, error: float) -> Standing:
    """Where a training stands after the evaluations of its curve.

    Args:
        curve: losses so far, two or more.
        num_evaluations: T, of the whole training; a fraction where its last steps are fewer than lie between two.
        error: standard error of one loss.
    """
    at = len(curve)
    before = math.ceil(at / 2)
    ahead = (num_evaluations - at) / (at - before)
    gain = max(0.0, curve[before - 1] - curve[-1]) * ahead
    return Standing(curve[-1], min(curve), gain, error)


def leader_of(standings: Mapping[str, Standing]) -> str:
    """The arm with the lowest loss so far, the first by name of equal ones."""
    return min(sorted(standings), key=lambda arm: standings[arm].best)


def behind(standings: Mapping[str, Standing], rule: ExitRule) -> dict[str, Behind]:
    """Arms to be ended, by name; `rule.first` plays no part here.

    Args:
        standings: of all arms that are compared, at one barrier.
        rule: the rule.
    """
    leader = leader_of(standings)
    first = standings[leader]
    end = first.best - rule.credit * first.gain
    found = {}
    for arm in sorted(standings):
        one = standings[arm]
        unsure = rule.noise_errors * math.hypot(one.error, first.error)
        if arm != leader and one.is_running and one.loss - one.gain > end + rule.margin + unsure:
            found[arm] = Behind(one.loss, one.gain, leader, end)
    return found


def exits(curves: Mapping[str, Sequence[float]], num_evaluations: int, rule: ExitRule, noise: float) -> dict[str, str]:
    """Arms to be ended now, each with the reason.

    Args:
        curves: losses so far of the arms that still run, each with the same number.
        num_evaluations: T.
        rule: the rule.
        noise: standard error of one loss, nats.

    Raises:
        ValueError: curves of different lengths: not every arm is at the barrier.
    """
    seen = {len(curve) for curve in curves.values()}
    if len(seen) != 1:
        raise ValueError(f"curves of {sorted(seen)} evaluations; expected every arm at the same one")
    at = seen.pop()
    if at / num_evaluations < rule.first or at < 2 or at >= num_evaluations:
        return {}
    found = behind({arm: standing(curve, num_evaluations, noise) for arm, curve in curves.items()}, rule)
    return {arm: str(why) for arm, why in found.items()}


def noise_of(curves: Sequence[Sequence[float]]) -> float:
    """Standard error of one loss, from second differences: what a smooth curve does not have. 0 for short curves."""
    bends = [np.diff(np.asarray(curve, dtype=float), 2) for curve in curves if len(curve) > 2]
    # the second difference of independent errors has 6 times their variance; the early bend of a curve is left out
    late: list[FloatArray] = [bend[bend.size // 2 :] for bend in bends]
    values = np.concatenate(late) if late else np.zeros(0)
    return float(np.sqrt(np.mean(values**2) / 6)) if values.size else 0.0


def replay(curves: Mapping[str, Sequence[float]], rule: ExitRule, *, standard_error: float) -> Replay:
    """A rule on whole curves, barrier by barrier.

    Args:
        curves: all losses of each arm.
        rule: the rule.
        standard_error: of an arm's last loss; an arm within it of the best one is as good.
    """
    total = len(next(iter(curves.values())))
    alive = set(curves)
    ended: dict[str, int] = {}
    for at in range(2, total):
        so_far = {arm: curves[arm][:at] for arm in sorted(alive)}
        noise = noise_of(list(so_far.values()))
        for arm in exits(so_far, total, rule, noise):
            ended[arm] = at - 1
            alive.discard(arm)
    last = {arm: curve[-1] for arm, curve in curves.items()}
    winner = min(sorted(alive), key=lambda arm: last[arm])
    steps = sum(ended[arm] + 1 if arm in ended else total for arm in curves)
    return Replay(ended, 1 - steps / (total * len(curves)), winner, last[winner] <= min(last.values()) + standard_error)
