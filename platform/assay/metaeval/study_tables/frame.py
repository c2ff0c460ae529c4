"""The scores of a study as dense arrays: one panel (scorers x runs x items) per evaluation set.

Rows come as stored; each run, item and scorer is found by name, so their order does not matter. A missing or
unscored cell is NaN in a panel and counted with its reason, never filled.

Axes: S scorers, R runs, I items.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from assay.errors import DataError
from assay.metaeval.statistics.clustered import Block
from assay.metaeval.statistics.estimate import FloatArray, IntArray
from assay.records import INSTRUCTIONS, ScoreRow, to_table

if TYPE_CHECKING:
    import pyarrow as pa

ScorerKind = Literal["reference", "heuristic", "judge", "embedding", "reward", "classifier", "human"]

MANY = "*"
"""Trained task of a mixture that has rows of several target tasks."""
ALONE = "only"
"""Series of mixtures of target rows alone beside a curve of mixtures with others: compared, but no point of a curve."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One distinct predictions artifact: one adapter on one evaluation set."""

    predictions_key: str
    adapter_key: str
    mixture_key: str
    base_model: str
    trained_task: str
    """Target task of the mixture; empty at N = 0."""
    evaluation_set: str
    """Name of a task, or "instructions"."""
    num_target: int
    """Target rows in the mixture (N)."""
    draw: int
    """Seed of the sample; -1 where nothing is drawn."""
    training_seed: int
    arm: str
    """Label of the mixture, equal for all its draws and seeds: "sst2 N=64"."""
    series: str = ""
    """Condition beside N that a study varies (source of the rows, starting point); empty where there is none."""
    repeats: str = ""
    """Series in which the same weights stand already, up to rounding. Such a run is shown, but is no further evidence:
    correlations, TFA, means over runs, ranks and families of comparisons leave it out."""
    purpose: Literal["", "target", "forgetting", "tuning"] = ""
    """What the evaluation set is asked for; empty: forgetting of the instruction set, a target of any other."""
    is_trained: bool = True
    """False: a given model as it is, which another study would meet again."""
    is_given: bool = False
    """The question is about this model itself, and not about what a mixture would give another time."""

    @property
    def is_forgetting(self) -> bool:
        """Whether the set shows what was lost instead of what was learnt."""
        return self.purpose == "forgetting" or (not self.purpose and self.evaluation_set == INSTRUCTIONS)

    @property
    def cluster(self) -> str:
        """What runs share that are no independent draws: the sampled rows; a run without a sample is its own."""
        return self.mixture_key if self.draw >= 0 else self.adapter_key

    @property
    def mixture(self) -> tuple[str, str, str, str]:
        """What is fixed about the run: its draws and seeds are the sample. Strata of resampling."""
        return self.base_model, self.trained_task, self.series, self.arm


@dataclass(frozen=True, slots=True)
class ScorerInfo:
    """What is known about a scorer beside its numbers."""

    name: str
    version: int
    direction: Literal["higher"]
    low: float | None
    """Lower end of the range; None where there is none."""
    high: float | None
    kind: ScorerKind


@dataclass(frozen=True)
class RepeatedScores:
    """What a scorer gave that was asked repeatedly."""

    ratings: FloatArray
    """Shape (repeats, runs, items); NaN where a repeat gave nothing."""
    answers: IntArray
    """Shape (runs, items): equal numbers in a column for equal answers, which were judged once; -1 where unknown."""


@dataclass(frozen=True)
class Panel:
    """All scores of one evaluation set."""

    evaluation_set: str
    runs: tuple[RunRow, ...]
    items: tuple[str, ...]
    values: FloatArray
    """Shape (scorers, runs, items); NaN where there is no score."""
    repeats: Mapping[int, RepeatedScores] = field(default_factory=dict)
    """By scorer that was asked repeatedly."""

    @property
    def is_forgetting(self) -> bool:
        """Whether the set shows what was lost instead of what was learnt."""
        return self.runs[0].is_forgetting

    def block(self, scorer: int, rows: Sequence[int], coefficient: float = 1.0) -> Block:
        """The scores of some runs as a block whose runs are adapters and whose items carry the set's name."""
        runs = [self.runs[row] for row in rows]
        return Block(
            self.values[scorer, list(rows)],
            [run.adapter_key for run in runs],
            [(self.evaluation_set, item) for item in self.items],
            coefficient,
            [run.cluster for run in runs],
            [run.training_seed for run in runs],
            bool(runs) and not any(run.is_trained for run in runs),
            bool(runs) and all(run.is_given for run in runs),
        )


@dataclass(frozen=True)
class Tally:
    """What became of the predictions of one run that a scorer was asked about."""

    num_asked: int
    num_scored: int
    reasons: Mapping[str, int]

    @property
    def reasons_json(self) -> str:
        """Unscored rows by reason, sorted, as a JSON object."""
        return json.dumps(dict(sorted(self.reasons.items())))


@dataclass(frozen=True)
class StudyFrame:
    """Panels by evaluation set, and tallies by (predictions key, scorer)."""

    scorers: tuple[ScorerInfo, ...]
    panels: Mapping[str, Panel]
    tallies: Mapping[tuple[str, str], Tally]

    @property
    def scorer_names(self) -> tuple[str, ...]:
        """Names in the order of axis S."""
        return tuple(scorer.name for scorer in self.scorers)

    @property
    def target_sets(self) -> tuple[str, ...]:
        """Evaluation sets that are target tasks."""
        return tuple(name for name, panel in self.panels.items() if not panel.is_forgetting)


def make_frame(
    runs: Sequence[RunRow],
    scores: pa.Table | Sequence[pa.Table] | Iterable[ScoreRow],
    scorers: Sequence[ScorerInfo],
    repeats: pa.Table | None = None,
) -> StudyFrame:
    """Dense arrays of a study's score rows.

    Args:
        runs: one per distinct predictions artifact.
        scores: one row per (predictions, example, scorer).
        scorers: all scorers that the rows name.
        repeats: what a scorer that was asked repeatedly gave each time: columns `predictions_key`, `example_id`,
            `scorer`, `answer` (its text, or what stands for it), `repeat` (from 0) and `rating` (null where nothing),
            for rows that `scores` has.

    Raises:
        DataError: a run or scorer is listed twice; a score row names an unknown one; a cell is scored twice; a row
            has both a rating and a reason or neither.
    """
    _refuse_repeats("run", [run.predictions_key for run in runs])
    _refuse_repeats("scorer", [scorer.name for scorer in scorers])
    ordered_runs = sorted(runs, key=lambda run: (run.evaluation_set, run.predictions_key))
    ordered_scorers = tuple(sorted(scorers, key=lambda scorer: scorer.name))
    table = _score_table(scores)
    run_codes = _codes(table, "predictions_key", [run.predictions_key for run in ordered_runs], "run")
    scorer_codes = _codes(table, "scorer", [scorer.name for scorer in ordered_scorers], "scorer")
    item_names, item_codes = _sorted_codes(table, "example_id")
    ratings = _ratings(table)
    set_names = sorted({run.evaluation_set for run in ordered_runs})
    set_of_run = np.array([set_names.index(run.evaluation_set) for run in ordered_runs], dtype=np.int64)
    drawn = None if repeats is None else _Repeats.of(repeats, ordered_runs, ordered_scorers, item_names)
    panels = {}
    for number, name in enumerate(set_names):
        rows = np.flatnonzero(set_of_run[run_codes] == number) if run_codes.size else np.zeros(0, dtype=np.int64)
        members = [run for run in ordered_runs if run.evaluation_set == name]
        first = int(np.flatnonzero(set_of_run == number)[0])
        items, local = np.unique(item_codes[rows], return_inverse=True)
        shape = (len(ordered_scorers), len(members), items.size)
        cells = np.ravel_multi_index((scorer_codes[rows], run_codes[rows] - first, local), shape) if rows.size else rows
        if np.unique(cells).size != cells.size:
            raise _twice(cells, shape, ordered_scorers, members, [item_names[item] for item in items])
        values = np.full(shape, np.nan)
        values.reshape(-1)[cells] = ratings[rows]
        again = {} if drawn is None else drawn.arrays(first, len(members), items)
        panels[name] = Panel(name, tuple(members), tuple(item_names[item] for item in items), values, again)
    return StudyFrame(ordered_scorers, panels, _tallies(table))


@dataclass(frozen=True)
class _Repeats:
    """Rows of repeated scores, by the places of their scorer, run and item."""

    scorers: np.ndarray
    runs: np.ndarray
    items: np.ndarray
    answers: np.ndarray
    numbers: np.ndarray
    ratings: FloatArray

    @classmethod
    def of(
        cls, table: pa.Table, runs: Sequence[RunRow], scorers: Sequence[ScorerInfo], items: Sequence[str]
    ) -> _Repeats:
        return cls(
            _codes(table, "scorer", [scorer.name for scorer in scorers], "scorer"),
            _codes(table, "predictions_key", [run.predictions_key for run in runs], "run"),
            _codes(table, "example_id", items, "example"),
            _sorted_codes(table, "answer")[1],
            table.column("repeat").to_numpy(),
            np.asarray(table.column("rating").to_numpy(), dtype=float),
        )

    def arrays(self, first_run: int, num_runs: int, items: np.ndarray) -> dict[int, RepeatedScores]:
        """By scorer: the runs from `first_run` on, and these items."""
        here = (self.runs >= first_run) & (self.runs < first_run + num_runs)
        found = {}
        for scorer in np.unique(self.scorers[here]):
            rows = np.flatnonzero(here & (self.scorers == scorer))
            places = self.runs[rows] - first_run, np.searchsorted(items, self.items[rows])
            ratings = np.full((int(self.numbers[rows].max()) + 1, num_runs, items.size), np.nan)
            ratings[self.numbers[rows], *places] = self.ratings[rows]
            answers = np.full((num_runs, items.size), -1, dtype=np.int64)
            answers[places] = self.answers[rows]
            found[int(scorer)] = RepeatedScores(ratings, answers)
        return found


def _score_table(scores: pa.Table | Sequence[pa.Table] | Iterable[ScoreRow]) -> pa.Table:
    import pyarrow as pa

    columns = ["predictions_key", "example_id", "scorer", "rating", "unscored"]
    if isinstance(scores, pa.Table):
        return scores.select(columns)
    parts = list(scores)
    if parts and isinstance(parts[0], pa.Table):
        return pa.concat_tables([part.select(columns) for part in parts])
    return to_table(parts, ScoreRow).select(columns)


def _sorted_codes(table: pa.Table, column: str) -> tuple[list[str], np.ndarray]:
    """Distinct values in sorted order, and each row's place among them."""
    import pyarrow as pa

    encoded = table.column(column).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks() if encoded.num_chunks != 1 else encoded.chunk(0)
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names))
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    return [names[index] for index in order], place[codes] if len(names) else np.zeros(0, dtype=np.int64)


def _codes(table: pa.Table, column: str, known: Sequence[str], what: str) -> np.ndarray:
    names, codes = _sorted_codes(table, column)
    places = {name: place for place, name in enumerate(known)}
    unknown = [name for name in names if name not in places]
    if unknown:
        raise DataError(
            f"scores: saw rows of {what} {unknown[0]!r} ({len(unknown)} unknown); expected one of the {len(known)} "
            f"listed; list it or leave its rows out"
        )
    mapping = np.array([places[name] for name in names], dtype=np.int64)
    return mapping[codes] if codes.size else codes


def _ratings(table: pa.Table) -> FloatArray:
    rating = table.column("rating")
    unscored = table.column("unscored")
    values = np.asarray(rating.to_numpy(), dtype=float)
    missing = rating.is_null().to_numpy()
    if np.any(missing == unscored.is_null().to_numpy()) or np.isnan(values[~missing]).any():
        raise DataError(
            "scores: saw a row with both or neither of rating and unscored (or a rating that is NaN); "
            "expected exactly one; rescore these rows"
        )
    return values


def _tallies(table: pa.Table) -> dict[tuple[str, str], Tally]:
    counted = table.group_by(["predictions_key", "scorer", "unscored"]).aggregate([([], "count_all")])
    rows = zip(*(counted.column(name).to_pylist() for name in counted.column_names), strict=True)
    names = counted.column_names
    asked: dict[tuple[str, str], dict[str | None, int]] = {}
    for row in rows:
        cell = dict(zip(names, row, strict=True))
        reasons = asked.setdefault((cell["predictions_key"], cell["scorer"]), {})
        reasons[cell["unscored"]] = cell["count_all"]
    return {
        key: Tally(
            sum(reasons.values()),
            reasons.get(None, 0),
            {reason: count for reason, count in reasons.items() if reason is not None},
        )
        for key, reasons in asked.items()
    }


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{what}s: saw {repeated!r} twice; expected each {what} once; a repeat would count it double")


def _twice(
    cells: np.ndarray,
    shape: tuple[int, int, int],
    scorers: Sequence[ScorerInfo],
    runs: Sequence[RunRow],
    items: Sequence[str],
) -> DataError:
    ordered = np.sort(cells)
    repeated = int(ordered[:-1][ordered[1:] == ordered[:-1]][0])
    scorer, run, item = (int(place) for place in np.unravel_index(repeated, shape))
    return DataError(
        f"scores: saw example {items[item]!r} of run {runs[run].predictions_key} scored twice by "
        f"{scorers[scorer].name!r}; expected one row per cell; leave one out"
    )
