"""`assay plan`: a study in numbers, on one screen or as JSON."""

from __future__ import annotations

import json

import typer

from assay.studies.catalog import load_study
from assay.studies.planning.estimate import Estimate, plan
from assay.studies.planning.rows import remembered_rows, row_lines
from assay.studies.planning.throughput import Rates


def plan_command(
    reference: str, overrides: list[str], as_json: bool, speed: Rates | None = None, storage: str = "runs"
) -> None:
    """Print the plan of a study, with what `storage` remembers of its rows."""
    study = load_study(reference, overrides)
    made = plan(study, speed)
    rows = remembered_rows(study, storage)
    if as_json:
        typer.echo(json.dumps({**made.as_dict(), "rows": [row.as_dict() for row in rows]}, indent=2))
        return
    usd = "unknown" if made.usd is None else f"{made.usd:,.2f}"
    hours = "unknown" if made.gpu_hours is None else f"{made.gpu_hours:,.4g}"
    lines = [
        f"{made.study} ({made.mode})" + (f": {study.description}" if study.description else ""),
        f"  cells                {made.cells:>14,}",
        f"  distinct trainings   {made.distinct_trainings:>14,}   equal mixtures and recipes are trained once",
        *(
            [f"  of each base model   {made.cells_per_base:>14,}   cells, {made.trainings_per_base:,} trainings"]
            if made.cells_per_base < made.cells
            else []
        ),
        f"  training rows        {made.train_rows:>14,}   over all distinct trainings",
        f"  training tokens      {made.train_tokens:>14,}   estimated, repeats by epochs included",
        f"  predictions          {made.predictions:>14,}",
        f"  judge calls          {made.judge_calls:>14,}   at most; equal requests are paid once",
        f"  judge dollars        {usd:>14}",
        f"  GPU-hours            {hours:>14}   one {made.device}",
        *_decide_lines(made),
        *row_lines(study, rows),
        *(f"  note: {note}" for note in made.assumptions),
    ]
    typer.echo("\n".join(lines))


def _decide_lines(made: Estimate) -> list[str]:
    """What a study that trains in rounds, or ends losing trainings, may spend of all that."""
    lines = []
    parts = {f"{name} by decide": spent for name, spent in (made.decide or {}).items()}
    parts |= {f"{name} by exits": spent for name, spent in (made.exits or {}).items()}
    for name, spent in parts.items():
        usd = "dollars unknown" if spent["usd"] is None else f"{spent['usd']:,.2f} dollars"
        hours = "unknown" if spent["gpu_hours"] is None else f"{spent['gpu_hours']:,.4g}"
        counts = f"trainings, {spent['predictions']:,} predictions, {spent['judge_calls']:,} judge calls"
        lines.append(f"  {name:<20} {spent['trainings']:>14,.1f}   {counts}, {usd}, GPU-hours {hours}")
    return lines
