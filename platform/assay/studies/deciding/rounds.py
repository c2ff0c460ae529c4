"""What the rounds of a study want and what they decide. Pure: scores in, adapters wanted and a record out.

Each base model and target task is a question of its own. An adapter is wanted while any of them wants it. Decisions see
stored scores by key and planned order alone, so a study that was killed comes to the same ones.

Several seeds of one draw share its rows and most of its luck, so they are no draws: their mean is the draw's score.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from statistics import fmean
from typing import Any

from assay.errors import ConfigError, StageError
from assay.metaeval.sequential.arms import Evidence, Round, Rule, by_rounds
from assay.metaeval.sequential.record import rounds_record
from assay.metaeval.study_tables.frame import MANY, RunRow
from assay.records import INSTRUCTIONS
from assay.studies.deciding.evidence import Ratings, item_means, item_variance, mean_of
from assay.studies.deciding.spec import DecideSpec

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


def families_of(
    runs: Sequence[RunRow], spec: DecideSpec, forgetting: Collection[str] = (INSTRUCTIONS,)
) -> list[Family]:
    """The questions of a study, by name.

    Args:
        runs: of its whole grid.
        spec: what is asked.
        forgetting: evaluation sets that show what was lost: no question is about them.

    Raises:
        ConfigError: there is nothing to compare, no baseline, or an arm with fewer draws than the rounds want.
    """
    found: dict[tuple[str, str], dict[str, list[RunRow]]] = {}
    for run in runs:
        if run.evaluation_set not in forgetting and not run.repeats and run.is_trained:
            arms = found.setdefault((run.base_model, run.evaluation_set), {})
            arms.setdefault(run.arm, []).append(run)
    families = []
    for (base, name), arms in sorted(found.items()):
        # arms with rows of another task alone are no candidates for this one
        own = {arm: rows for arm, rows in arms.items() if rows[0].trained_task in ("", MANY, name)}
        families.append(_checked(Family(base, name, _draws(own)), spec))
    known = {arm for family in families for arm in family.arms}
    if families and (stray := [arm for arm in spec.keep if arm not in known]):
        raise ConfigError(f"--keep {stray[0]}: saw no such arm; expected one of {', '.join(sorted(known))}")
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
                f"decide.spend.rounds: the last is {spec.rounds[-1]}, and {arm} has {len(draws)} draws{each} in the "
                "grid; lower it, or raise grid.draws or training_seeds_at_zero"
            )
    return family


Asked = tuple[str, str]
"""An adapter's key, and the evaluation set that it answers."""


@dataclass
class Deciding:
    """The rounds of one study, as far as its scores go."""

    spec: DecideSpec
    families: Sequence[Family]
    parts: Mapping[Asked, Sequence[str]] = field(default_factory=dict)
    """Keys of the predictions that a run's answers come in: of each round's items, empty where it adds none. Absent:
    the run's own, whatever the round."""
    num_items: Mapping[str, int] = field(default_factory=dict)
    """All items of each evaluation set; needed where rounds ask for some of them."""
    ratings: dict[str, Ratings] = field(default_factory=dict)
    """By predictions key, of the deciding scorer."""
    _decided: dict[str, list[Round]] = field(default_factory=dict)
    """Rounds by the family's label, until more is learned."""

    @property
    def seeds(self) -> int:
        """Trainings of one draw of an arm, the most of any."""
        return max(len(draw) for family in self.families for draws in family.arms.values() for draw in draws)

    @property
    def rule(self) -> Rule:
        """What every family is asked."""
        spec = self.spec
        return Rule(spec.question, spec.rounds, spec.alpha, spec.margin, spec.baseline, keep=spec.keep)

    def learn(self, ratings: Mapping[str, Ratings]) -> None:
        """Take in ratings by predictions key.

        Raises:
            StageError: a run has no score at all.
        """
        for family in self.families:
            for arm, draws in family.arms.items():
                for run in chain.from_iterable(draws):
                    for key in self._parts(run):
                        if key in ratings and not ratings[key]:
                            raise StageError(f"decide: {arm} has no {self.spec.scorer} score for {family.label}")
        self.ratings.update(ratings)
        self._decided.clear()

    def rounds(self, family: Family) -> list[Round]:
        """What was decided so far."""
        if family.label not in self._decided:
            self._decided[family.label] = self._rounds(family)
        return self._decided[family.label]

    def _rounds(self, family: Family) -> list[Round]:
        evidence = []
        for place, look in enumerate(self.spec.rounds):
            known = self._evidence(family, place, look)
            if len(known.scores) < len(family.arms) and not place:
                break
            evidence.append(known)
        return by_rounds(evidence, self.rule)

    def wanted(self, place: int) -> set[Asked]:
        """What a round, counted from 0, asks: the first draws of every arm that is open in its family."""
        found: set[Asked] = set()
        for family in self.families:
            rounds = self.rounds(family)
            if rounds and rounds[-1].is_answered:
                continue
            gone = {arm for one in rounds for arm in one.dropped}
            for arm, draws in family.arms.items():
                if arm not in gone:
                    runs = chain.from_iterable(draws[: self.spec.rounds[place]])
                    found |= {(run.adapter_key, run.evaluation_set) for run in runs}
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
            seen: dict[str, dict[str, float]] = {}
            for arm, draws in family.arms.items():
                keys = [key for run in chain.from_iterable(draws) for key in self._parts(run)]
                seen[arm] = {key: mean_of([self.ratings[key]]) for key in keys if key in self.ratings}
            record = rounds_record(rounds, self.rule, "draws")
            for place, one in enumerate(record["rounds"]):
                one["items"] = self._items_after(place)
            told.append({"base_model": family.base_model, "task": family.evaluation_set, "seen": seen, **record})
        return {"scorer": self.spec.scorer, "families": told}

    def sentence(self, place: int, trainings: int, of: int) -> str:
        """A round in one line, for logs and reports."""
        parts = []
        for family in self.families:
            rounds = self.rounds(family)
            if not rounds:
                continue
            last = rounds[-1]
            gone = sorted(arm for one in rounds for arm in one.dropped)
            state = "answered" if last.is_answered else f"{len(family.arms) - len(gone)} arms open"
            out = f", {', '.join(last.dropped)} out" if last.dropped else ""
            kept = f", {', '.join(last.kept)} kept as asked" if last.kept else ""
            parts.append(
                f"{family.evaluation_set}: best so far {last.leader} ({last.leader_mean:.3f}){out}{kept}, {state}"
            )
        decided = "; ".join(parts) or "too few draws to decide"
        items = self._items_after(place)
        seen = "" if items is None else f" and {items} items"
        return f"after {self.spec.rounds[place]} draws{seen} ({trainings} of {of} adapters): {decided}"

    def _parts(self, run: RunRow, place: int | None = None) -> Sequence[str]:
        keys = self.parts.get((run.adapter_key, run.evaluation_set))
        if keys is None:
            return (run.predictions_key,)
        return [key for key in (keys if place is None else keys[: place + 1]) if key]

    def _evidence(self, family: Family, place: int, look: int) -> Evidence:
        """Of a round: arms whose first draws are not all scored by then are left out."""
        has_items = self.spec.spend.items is not None
        scores: dict[str, list[float]] = {}
        items: dict[str, dict[str, float]] = {}
        """Means over runs by arm and item, where rounds ask for some of the items."""
        for arm, draws in family.arms.items():
            seen = [[self._seen(run, place) for run in draw] for draw in draws[:look]]
            if all(run and all(run) for draw in seen for run in draw):
                scores[arm] = [fmean(mean_of(run) for run in draw) for draw in seen]
                if has_items:
                    items[arm] = item_means([part for draw in seen for run in draw for part in run])
        total = self.num_items.get(family.evaluation_set, 0)
        of_arms = {arm: item_variance(list(known.values()), total) for arm, known in items.items()}
        of_pairs = {}
        for a, b in combinations(sorted(items), 2):
            both = [items[a][item] - items[b][item] for item in items[a] if item in items[b]]
            of_pairs[a, b] = item_variance(both, total)
        return Evidence(scores, of_pairs, of_arms)

    def _seen(self, run: RunRow, place: int) -> list[Ratings]:
        """Ratings of a run's items up to a round; empty while some are missing."""
        keys = self._parts(run, place)
        return [self.ratings[key] for key in keys] if all(key in self.ratings for key in keys) else []

    def _items_after(self, place: int) -> int | None:
        """Items of a target's set that open arms have answered after a round; None: all."""
        return None if self.spec.spend.items is None else self.spec.spend.items[place]
