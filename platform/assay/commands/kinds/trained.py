"""Studies of cells: most of them train, all of them go through the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.commands.kinds.kind import Named, Points
from assay.commands.options import RunFlags
from assay.studies.planning.throughput import Rates

if TYPE_CHECKING:
    from assay.store import Store

CURVES, MEASURES = "curves", "preference_measures"


class TrainedStudies:
    """See `StudyKind`."""

    def knows(self, reference: str) -> bool:
        from assay.studies.builtin.paper import BUILTIN

        return reference in BUILTIN

    def wrote(self, store: Store, name: str) -> bool:
        from assay.studies.folder import STUDY

        return store.study_has(name, STUDY)

    def plan(self, study: Named, speed: Rates | None, *, as_json: bool) -> None:
        from assay.commands.plan import plan_command

        plan_command(study.reference, [*study.overrides], as_json, speed, study.storage)

    def run(self, study: Named, flags: RunFlags) -> None:
        from assay.commands.study import RunOptions, run_command

        losses = [] if flags.loss is None else [f"grid.losses={flags.loss.resolve()}"]
        kept = tuple(flags.keep or ())
        how = RunOptions(flags.max_usd, flags.until, flags.retry_failed, kept, flags.log_json, flags.preflight)
        run_command(study.reference, [*study.overrides, *losses], study.storage, how)

    def status(self, study: Named, *, as_json: bool) -> None:
        from assay.commands.study import status_command

        status_command(study.reference, [*study.overrides], study.storage, as_json)

    def report(self, store: Store, name: str, audit: Path | None) -> None:
        from assay.commands.study import report_command

        report_command(name, store.uri, audit)

    def points(self, store: Store, name: str) -> Mapping[str, Points]:
        from assay.studies.folder import find_folder

        folder = find_folder(store, name)
        tables = {
            table: store.read_study_table(folder.name, f"tables/{table}.parquet").to_pylist()
            for table in folder.done_or_fail()["tables"]
            if table in (CURVES, MEASURES)
        }
        found = {}
        if MEASURES in tables:
            rows = [{**row, "mean": row["value"]} for row in tables[MEASURES]]
            found[MEASURES] = _points("pairs, method and measure", ("pairs", "method", "measure"), rows)
        if CURVES in tables:
            found[CURVES] = _points("task, scorer and N", ("task", "scorer", "num_target"), tables[CURVES])
        return found

    def track(self, store: Store, name: str, uri: str | None) -> None:
        from assay.commands.tracking import track_command

        track_command(name, store.uri, uri)


def _points(what: str, named: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> Points:
    return Points(what, named, {(row["base_model"], *(row[part] for part in named)): row for row in rows})
