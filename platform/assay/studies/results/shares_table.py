"""What each mixture of a study took of its components, from the stored mixtures: the table `shares`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from assay.metaeval.study_tables.columns import make_table
from assay.metaeval.study_tables.objective import SHARE_COLUMNS
from assay.mixtures.sampling import SUMMARY_FILE
from assay.mixtures.spec import KIND, MixtureSpec
from assay.store import Store
from assay.studies.artifacts import StudyArtifacts

if TYPE_CHECKING:
    import pyarrow as pa


def shares_table(store: Store, plan: StudyArtifacts) -> pa.Table:
    """One row per base model, arm, draw and component, of a study whose mixtures are all there."""
    jobs = {job.key: job for job in plan.trainings}
    components = sorted({part.name for spec in plan.mixtures.values() for part in spec.train})
    summaries: dict[str, dict[str, Any]] = {}
    rows: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for cell, key in plan.cells:
        job = jobs[key]
        place = job.base_name, cell.arm, cell.draw
        if place in rows:
            continue
        if job.mixture_key not in summaries:
            summaries[job.mixture_key] = store.read_json(KIND, job.mixture_key, SUMMARY_FILE)["train"]
        taken = _taken(cell.mixture, summaries[job.mixture_key], components)
        first = {"base_model": job.base_name, "arm": cell.arm, "draw": cell.draw}
        rows[place] = [{**first, **row} for row in taken]
    return make_table("shares", [row for part in rows.values() for row in part], SHARE_COLUMNS)


def _taken(spec: MixtureSpec, summary: dict[str, Any], components: Iterable[str]) -> list[dict[str, Any]]:
    """Of each component; one that the mixture does not have took nothing."""
    total = sum(part["rows"] for part in summary.values())
    asked = {part.name: float(part.count if part.count is not None else part.weight or 0.0) for part in spec.train}
    whole = sum(asked.values())
    found = []
    for name in components:
        part = summary.get(name)
        count, available = (0, None) if part is None else (part["rows"], part["available"])
        found.append(
            {
                "component": name,
                "asked": None if spec.is_natural else asked.get(name, 0.0) / whole,
                "share": count / total,
                "num_rows": count,
                "num_repeated": 0 if part is None else part.get("repeated", 0),
                "num_available": available,
                "num_left_over": None if available is None else max(0, available - count),
                "dropped": json.dumps({} if part is None else part["dropped"], sort_keys=True),
            }
        )
    return found
