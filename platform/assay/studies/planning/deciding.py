"""What a study with `decide` may spend: at worst, and about what is to be expected. Pure.

Worst: every arm goes through all rounds. Expected: the mean over simulated studies whose arms' true means differ by a
stated spread, decided by the rules of the real one. How far arms lie apart is what nobody knows before; so the spread
is an assumption, and said with the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.metaeval.study_tables.frame import RunRow
from assay.studies.deciding.rounds import Asked, Deciding, families_of
from assay.studies.deciding.spec import DecideSpec

ARM_SPREAD = 3.0
"""Spread of arms' true means, in spreads of one run."""
STUDIES = 20
SEED = 0


@dataclass(frozen=True)
class Spend:
    """What is trained and asked."""

    trainings: float
    predictions: float
    """Answers, those to the instruction set included."""


@dataclass(frozen=True)
class DecideEstimate:
    """Of a study in rounds."""

    expected: Spend
    worst: Spend

    @property
    def note(self) -> str:
        """What the expected figures rest on."""
        return (
            f"decide: expected is the mean of {STUDIES} simulated studies (seed {SEED}) whose arms differ by "
            f"{ARM_SPREAD:g} spreads of one run (assumed); worst is every arm in every round"
        )


def decide_estimate(
    spec: DecideSpec, runs: Sequence[RunRow], rows: Mapping[str, int], forgetting: Mapping[str, int]
) -> DecideEstimate:
    """Simulated rounds of a study.

    Args:
        spec: the rounds.
        runs: all runs of its grid; their keys need only tell them apart.
        rows: rows of each target's evaluation set.
        forgetting: rows of the other sets, which every adapter answers.

    Raises:
        ConfigError: nothing to compare, or fewer draws than the rounds want.
    """
    families = families_of(runs, spec, forgetting)
    nobody = Deciding(spec.replace(keep=()), families)
    everything = [_all_of(nobody, place) for place in range(len(spec.rounds))]
    worst = _spent(spec, everything, rows, forgetting)
    rng = np.random.default_rng(SEED)
    spent = [_simulated(spec, nobody, rng, rows, forgetting) for _ in range(STUDIES)]
    expected = Spend(
        float(np.mean([one.trainings for one in spent])), float(np.mean([one.predictions for one in spent]))
    )
    return DecideEstimate(expected, worst)


def _all_of(deciding: Deciding, place: int) -> set[Asked]:
    draws = deciding.spec.rounds[place]
    return {
        (run.adapter_key, run.evaluation_set)
        for family in deciding.families
        for arm in family.arms.values()
        for draw in arm[:draws]
        for run in draw
    }


def _simulated(
    spec: DecideSpec,
    nobody: Deciding,
    rng: np.random.Generator,
    rows: Mapping[str, int],
    forgetting: Mapping[str, int],
) -> Spend:
    # every item as good as seen: how items differ is another thing that nobody knows before
    plain = spec.replace(spend=spec.spend.replace(items=None)) if len(set(spec.rounds)) == len(spec.rounds) else spec
    deciding = Deciding(plain, nobody.families, num_items=dict.fromkeys(rows, 1))
    score: dict[str, float] = {}
    for family in nobody.families:
        for arm in family.arms.values():
            truth = ARM_SPREAD * rng.normal()
            for draw in arm:
                luck = rng.normal()
                score |= {run.predictions_key: truth + luck for run in draw}
    asked: list[set[Asked]] = []
    for place in range(len(spec.rounds)):
        if place and deciding.is_answered:
            break
        wanted = deciding.wanted(place)
        asked.append(wanted)
        keys = {
            run.predictions_key
            for family in nobody.families
            for arm in family.arms.values()
            for draw in arm
            for run in draw
            if (run.adapter_key, run.evaluation_set) in wanted
        }
        deciding.learn({key: {"": score[key]} for key in keys})
    return _spent(spec, asked, rows, forgetting)


def _spent(
    spec: DecideSpec, asked: Sequence[set[Asked]], rows: Mapping[str, int], forgetting: Mapping[str, int]
) -> Spend:
    """Of rounds that asked for this."""
    adapters = {adapter for one in asked for adapter, _ in one}
    most: dict[Asked, int] = {}
    for place, one in enumerate(asked):
        for wanted in one:
            there = rows[wanted[1]]
            most[wanted] = there if spec.spend.items is None else min(there, spec.spend.items[place])
    return Spend(len(adapters), sum(most.values()) + len(adapters) * sum(forgetting.values()))
