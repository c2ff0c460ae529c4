"""What the rounds of a study want and what they decide. Pure: scores in, adapters wanted and a record out.

Each base model and target task is a question of its own. An adapter is wanted while any of them wants it. Decisions see
stored scores by key and planned order alone, so a study that was killed comes to the same ones.

Several seeds of one draw share its rows and most of its luck, so they are no draws: their mean is the draw's score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from statistics import fmean
from typing import Any

from assay.errors import ConfigError, StageError
from assay.metaeval.sequential.arms import Round, Rule, by_draws
from assay.metaeval.sequential.record import rounds_record
from assay.metaeval.study_tables.frame import RunRow
from assay.records import INSTRUCTIONS
from assay.studies.deciding.spec import DecideSpec
from assay.studies.designs.cell import MANY

Draw = tuple[RunRow, ...]
"""The runs of one draw, one per seed: their mean is its score. Of an arm that draws nothing: as many seeds together."""


@dataclass(frozen=True)
class Family:
    """The arms that are compared with each other: of one base model, on one evaluation set."""

    base_model: str
    evaluation_set: str
    arms: Mapping[str, tuple[Draw, ...]]
    """Draws by arm, in planned order."""

    @property
    def label(self) -> str:
        """What people call it."""
        return f"{self.evaluation_set} on {self.base_model}"


def families_of(runs: Sequence[RunRow], spec: DecideSpec) -> list[Family]:
    """The questions of a study, by name.

    Raises:
        ConfigError: there is nothing to compare, no baseline, or an arm with fewer draws than the rounds want.
    """
    found: dict[tuple[str, str], dict[str, list[RunRow]]] = {}
    for run in runs:
        if run.evaluation_set != INSTRUCTIONS and not run.repeats and run.is_trained:
            arms = found.setdefault((run.base_model, run.evaluation_set), {})
            arms.setdefault(run.arm, []).append(run)
    families = []
    for (base, name), arms in sorted(found.items()):
        # arms with rows of another task alone are no candidates for this one
        own = {arm: rows for arm, rows in arms.items() if rows[0].trained_task in ("", MANY, name)}
        families.append(_checked(Family(base, name, _draws(own)), spec))
    if not families:
        raise ConfigError("decide: saw no target task that trained arms answer; expected two arms or more on one")
    return families


def _draws(arms: Mapping[str, Sequence[RunRow]]) -> dict[str, tuple[Draw, ...]]:
    """Runs by arm and draw.

    Seeds of an arm that draws nothing make groups as large as the other arms' draws are, so that chance is equally
    large in all arms; seeds that make up no group are left out.
    """
    grouped: dict[str, list[list[RunRow]]] = {}
    for arm, rows in sorted(arms.items()):
        clusters: dict[str, list[RunRow]] = {}
        for run in sorted(rows, key=lambda run: (run.draw, run.training_seed, run.adapter_key)):
            clusters.setdefault(run.cluster, []).append(run)
        grouped[arm] = list(clusters.values())
    size = max(len(draw) for draws in grouped.values() for draw in draws)
    found = {}
    for arm, draws in grouped.items():
        if draws[0][0].draw < 0 and size > 1:
            seeds = [run for draw in draws for run in draw]
            draws = [seeds[start : start + size] for start in range(0, len(seeds) - size + 1, size)]
        found[arm] = tuple(map(tuple, draws))
    return found


def _checked(family: Family, spec: DecideSpec) -> Family:
    if len(family.arms) < 2:
        raise ConfigError(f"decide: saw one arm for {family.label}; expected two or more")
    if spec.question == "baseline" and spec.baseline not in family.arms:
        raise ConfigError(
            f"decide.baseline: saw {spec.baseline!r} for {family.label}; expected one of {', '.join(family.arms)}"
        )
    size = max(len(draw) for draws in family.arms.values() for draw in draws)
    for arm, draws in family.arms.items():
        if len(draws) < spec.rounds[-1]:
            each = "" if size == 1 else f" of {size} seeds"
            raise ConfigError(
                f"decide.rounds: the last is {spec.rounds[-1]}, and {arm} has {len(draws)} draws{each} in the grid; "
                "lower it, or raise grid.draws or training_seeds_at_zero"
            )
    return family


@dataclass
class Deciding:
    """The rounds of one study, as far as its scores go."""

    spec: DecideSpec
    families: Sequence[Family]
    means: dict[str, float] = field(default_factory=dict)
    """Predictions key -> mean of the deciding scorer."""

    @property
    def rule(self) -> Rule:
        """What every family is asked."""
        spec = self.spec
        return Rule(spec.question, spec.rounds, spec.alpha, spec.margin, spec.baseline)

    def learn(self, means: Mapping[str, float]) -> None:
        """Take in mean scores by predictions key.

        Raises:
            StageError: a run has no score at all.
        """
        for family in self.families:
            for arm, draws in family.arms.items():
                for run in chain.from_iterable(draws):
                    if math.isnan(means.get(run.predictions_key, 0.0)):
                        raise StageError(f"decide: {arm} has no {self.spec.scorer} score for {family.label}")
        self.means.update(means)

    def rounds(self, family: Family) -> list[Round]:
        """What was decided so far."""
        known = {
            arm: [fmean(self.means[run.predictions_key] for run in draw) for draw in _known_first(draws, self.means)]
            for arm, draws in family.arms.items()
        }
        return by_draws(known, self.rule)

    def wanted(self, look: int) -> set[str]:
        """Adapter keys that a round needs: the first `look` draws of every arm that is open in some family."""
        found: set[str] = set()
        for family in self.families:
            rounds = self.rounds(family)
            if rounds and rounds[-1].is_answered:
                continue
            gone = {arm for one in rounds for arm in one.dropped}
            for arm, draws in family.arms.items():
                found |= {run.adapter_key for run in chain.from_iterable(draws[:look]) if arm not in gone}
        return found

    @property
    def is_answered(self) -> bool:
        """Whether every family is."""
        last = [self.rounds(family)[-1:] for family in self.families]
        return all(rounds and rounds[0].is_answered for rounds in last)

    def record(self) -> dict[str, Any]:
        """The decision record: each family's rounds, what they saw and what they dropped. No time, cost or machine."""
        told = []
        for family in self.families:
            rounds = self.rounds(family)
            seen = {
                arm: {
                    run.predictions_key: self.means[run.predictions_key]
                    for run in chain.from_iterable(_known_first(draws, self.means))
                }
                for arm, draws in family.arms.items()
            }
            record = rounds_record(rounds, self.rule, "draws")
            told.append({"base_model": family.base_model, "task": family.evaluation_set, "seen": seen, **record})
        return {"scorer": self.spec.scorer, "families": told}

    def sentence(self, look: int, trainings: int, of: int) -> str:
        """A round in one line, for logs and reports."""
        parts = []
        for family in self.families:
            rounds = self.rounds(family)
            if not rounds:
                continue
            gone = sum(len(one.dropped) for one in rounds)
            state = "answered" if rounds[-1].is_answered else f"{len(family.arms) - gone} arms open"
            parts.append(f"{family.evaluation_set}: best so far {rounds[-1].leader}, {state}")
        decided = "; ".join(parts) or "too few draws to decide"
        return f"after {look} draws ({trainings} of {of} adapters): {decided}"


def _known_first(draws: Sequence[Draw], means: Mapping[str, float]) -> Sequence[Draw]:
    """The first draws of an arm, up to one with a run that has no score yet."""
    is_open = (any(run.predictions_key not in means for run in draw) for draw in draws)
    return draws[: next((place for place, waits in enumerate(is_open) if waits), len(draws))]
