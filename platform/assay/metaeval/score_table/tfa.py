"""TFA out of a table of scores: what each task's curve gains from no target rows to the most, by a study's own code.

Which rows belong together is said by columns. Rows of one run are one cluster; without a column of runs every row is a
run of its own, its score a mean over items. Rows of one group are one item, which both ends must share. Several rows of
one run and one group count as their mean.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.errors import DataError
from assay.metaeval.statistics.clustered import Block, common_items
from assay.metaeval.statistics.comparability import tfa
from assay.metaeval.statistics.estimate import Estimate, FloatArray, IntArray

STATISTICS = {"tfa_relative": True, "tfa_absolute": False}
"""Name in the report -> whether the gain is divided by the mean at N = 0."""


@dataclass(frozen=True)
class Curves:
    """Where the rows of a table lie on the curves of their tasks."""

    tasks: Sequence[str]
    targets: IntArray
    """Target rows that the row's model was trained on."""
    runs: Sequence[Hashable] | None
    """Which trained model a row speaks about; None: each about another."""
    groups: Sequence[Hashable] | None
    """Which item or document a row speaks about; None: about a model as a whole."""

    def gains(self, values_N: FloatArray) -> dict[str, Estimate]:
        """Relative and absolute TFA of one column of scores, NaN where unscored."""
        first: dict[str, Block] = {}
        last: dict[str, Block] = {}
        left_out = []
        task_N = np.array(self.tasks, dtype=object)
        for task in sorted(set(self.tasks)):
            own = task_N == task
            most = int(self.targets[own].max())
            start, end = (np.flatnonzero(own & (self.targets == count)) for count in (0, most))
            if most == 0 or not start.size:
                left_out.append(f"{task}: no rows {'above' if most == 0 else 'at'} N = 0")
                continue
            first[task], last[task] = common_items(self._block(start, values_N), self._block(end, values_N))
        alone = self._alone(first, last)
        found = {}
        for name, relative in STATISTICS.items():
            estimate = tfa(first, last, relative=relative)
            if estimate.is_defined and (alone or estimate.low == estimate.high):
                reason = f"no interval: {alone or 'no spread'}"
                estimate = replace(estimate, low=math.nan, high=math.nan, method="", reason=reason)
            elif self.groups is None and estimate.is_defined:
                num_runs = len({run for block in (*first.values(), *last.values()) for run in block.runs})
                estimate = replace(estimate, num_clusters=num_runs, method="studentised, runs")
            notes = [f"without {'; '.join(left_out)}" if left_out else "", estimate.reason]
            found[name] = replace(estimate, reason="; ".join(note for note in notes if note))
        return found

    def _block(self, rows: IntArray, values_N: FloatArray) -> Block:
        """Runs x items of some rows of one task, NaN where nothing is scored."""
        if self.groups is None:
            rows = rows[np.isfinite(values_N[rows])]
        cells: dict[tuple[Hashable, Hashable], list[float]] = {}
        for row in rows.tolist():
            task, count = self.tasks[row], int(self.targets[row])
            if self.runs is not None:
                run: Hashable = self.runs[row]
            else:
                run = row if self.groups is None else (task, count)
            # a document of one task is no cluster of another, so its label carries the task
            item: Hashable = (task, None if self.groups is None else self.groups[row])
            scores = cells.setdefault((run, item), [])
            if math.isfinite(values_N[row]):
                scores.append(float(values_N[row]))
        runs = list(dict.fromkeys(run for run, _ in cells))
        items = list(dict.fromkeys(item for _, item in cells))
        table_RI = np.full((len(runs), len(items)), np.nan)
        places = {run: place for place, run in enumerate(runs)}, {item: place for place, item in enumerate(items)}
        for (run, item), scores in cells.items():
            if scores:
                table_RI[places[0][run], places[1][item]] = np.mean(scores)
        return Block(table_RI, runs, items)

    def _alone(self, first: dict[str, Block], last: dict[str, Block]) -> str:
        """Why nothing is known of an end's error: its only run, of which only a mean is known. Empty otherwise."""
        if self.groups is not None:
            return ""
        ends = [(task, "N = 0", block) for task, block in first.items()]
        ends += [(task, "the largest N", block) for task, block in last.items()]
        return "; ".join(f"one run at {end} in {task}" for task, end, block in ends if len(block.runs) == 1)


def whole_counts(name: str, column: Sequence[object]) -> IntArray:
    """A column of target rows.

    Raises:
        DataError: an entry is no whole number of at least 0; names the row.
    """
    for place, value in enumerate(column):
        is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < 0 or value != int(value):  # type: ignore[arg-type, operator, call-overload]
            raise DataError(
                f"column {name!r}: saw {value!r} in row {place}; expected a whole number of target rows, 0 for none; "
                "fix the row"
            )
    return np.array(column, dtype=np.int64)
