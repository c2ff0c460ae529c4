"""What has come back to the driver, published scores artifact by scores artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from assay.cluster.ray_metrics import count
from assay.hooks import Progress, log_event
from assay.records import ScoreRow, from_table, to_table
from assay.scoring.jobs import KIND, SCORES_FILE, SUMMARY_FILE, CallFigures, WantedScores, sorted_rows, summarise
from assay.store import Store

STAGE = "scoring"


@dataclass
class Collected:
    """Rows by scores artifact; one is published when its last row is there."""

    store: Store
    progress: Progress
    sizes: Mapping[str, int]
    """Rows of each evaluation set."""
    published: list[str] = field(default_factory=list)
    num_asked: Counter[str] = field(default_factory=Counter)
    unscored: dict[str, Counter[str]] = field(default_factory=dict)
    calls: dict[str, CallFigures] = field(default_factory=dict)
    parts: dict[str, list[ScoreRow]] = field(default_factory=dict)

    def take(self, table: pa.Table, todo: Sequence[WantedScores]) -> None:
        """Rows of some chunks, as `ray_chunks.numbered` made them."""
        by_number: dict[int, list[ScoreRow]] = {}
        for number, row in zip(table.column("wanted").to_pylist(), from_table(table, ScoreRow), strict=True):
            by_number.setdefault(number, []).append(row)
        for number, rows in by_number.items():
            self._add(todo[number], rows)

    def note(self) -> str:
        """One line for people."""
        parts = [f"{len(self.published)} score tables written"]
        parts += [f"{name}: {counts.total()} unscored" for name, counts in self.unscored.items() if counts]
        return ", ".join(parts)

    def _add(self, wanted: WantedScores, rows: list[ScoreRow]) -> None:
        name = wanted.spec.name
        self.num_asked[name] += len(rows)
        self.unscored.setdefault(name, Counter()).update(row.unscored for row in rows if row.unscored is not None)
        part = self.parts.setdefault(wanted.key, [])
        part += rows
        if len(part) == wanted.num_rows(self.sizes):
            self._publish(wanted, sorted_rows(self.parts.pop(wanted.key)))

    def _publish(self, wanted: WantedScores, rows: list[ScoreRow]) -> None:
        described = {"scorer": wanted.spec.identity(), "predictions": list(wanted.batch.predictions)}
        with self.store.writing(KIND, wanted.key, described) as writer:
            writer.table(SCORES_FILE, to_table(rows, ScoreRow))
            writer.json(SUMMARY_FILE, summarise(wanted.spec, rows))
        self.published.append(wanted.key)
        log_event(STAGE, "written", key=wanted.key, scorer=wanted.spec.name, rows=len(rows))
        count("assay_scores_written", scorer=wanted.spec.name)
