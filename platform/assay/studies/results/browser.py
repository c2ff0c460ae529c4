"""Rows for the report's browser: a prompt, what each mixture answered, every score, the judge's raw reply."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.metaeval.study_tables.build import RunRow
from assay.records import Example
from assay.scoring.judges.protocols.repeats import replies_text
from assay.store import Store
from assay.tasks.templates import render_prompt

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_SET = 24
"""Half of them where scorers disagree most, half the first in id order."""
MAX_ARMS = 12
MAX_CHARS = 4000
"""Longer texts are cut on the page, which says so."""


def browser_rows(
    runs: Sequence[RunRow],
    examples: Mapping[str, Sequence[Example]],
    scores: pa.Table,
    store: Store,
    judge: str = "judge",
) -> dict[str, Any]:
    """What the browser shows, as plain data.

    Args:
        runs: the study's runs; of each arm the first draw and seed is shown.
        examples: test rows by evaluation set name.
        scores: all stored score rows of the study.
        store: for the predictions.
        judge: scorer whose detail is a raw reply.
    """
    sets: dict[str, list[dict[str, Any]]] = {}
    shown = 0
    for name, rows in examples.items():
        arms = _first_runs([run for run in runs if run.evaluation_set == name])
        shown += len(arms)
        ratings = _ratings(scores, {run.predictions_key for run in arms})
        disagreement = {row.example_id: _disagreement(row.example_id, arms, ratings) for row in rows}
        by_disagreement = sorted(rows, key=lambda row: (-disagreement[row.example_id], row.example_id))
        chosen = {row.example_id: row for row in [*by_disagreement[: ROWS_PER_SET // 2], *rows[: ROWS_PER_SET // 2]]}
        answers = {run.predictions_key: _predictions(store, run.predictions_key) for run in arms}
        sets[name] = [
            {
                "id": row.example_id,
                "instruction": _cut(row.instruction),
                "input": _cut(row.input),
                "prompt": _cut(render_prompt(row)),
                "reference": _cut(row.reference),
                "disagreement": disagreement[row.example_id],
                "answers": [_answer(run, row, answers, ratings, judge) for run in arms],
            }
            for row in chosen.values()
        ]
    note = (
        f"Up to {ROWS_PER_SET} rows of each evaluation set: those where the scorers disagree most, and the first in "
        f"id order; of each mixture the first draw and seed ({shown} runs)."
    )
    return {"note": note, "sets": sets}


def _first_runs(runs: Sequence[RunRow]) -> list[RunRow]:
    first: dict[tuple[str, str], RunRow] = {}
    for run in sorted(runs, key=lambda run: (run.base_model, run.num_target, run.arm, run.draw, run.training_seed)):
        first.setdefault((run.base_model, run.arm), run)
    return list(first.values())[:MAX_ARMS]


def _ratings(scores: pa.Table, keys: set[str]) -> dict[tuple[str, str], dict[str, tuple[float | str, str]]]:
    """(predictions key, example) -> scorer -> (rating or reason, detail)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    part = scores.filter(pc.is_in(scores.column("predictions_key"), pa.array(sorted(keys), pa.string())))
    found: dict[tuple[str, str], dict[str, tuple[float | str, str]]] = {}
    for row in part.to_pylist():
        value = row["unscored"] if row["rating"] is None else row["rating"]
        found.setdefault((row["predictions_key"], row["example_id"]), {})[row["scorer"]] = (value, row["detail"])
    return found


def _disagreement(
    example_id: str, runs: Sequence[RunRow], ratings: Mapping[tuple[str, str], Mapping[str, tuple[float | str, str]]]
) -> float:
    """Largest standard deviation of the scorers' ratings over the runs' answers to one example."""
    spreads = [0.0]
    for run in runs:
        values = [v for v, _ in ratings.get((run.predictions_key, example_id), {}).values() if isinstance(v, float)]
        if len(values) > 1:
            spreads.append(statistics.pstdev(values))
    return round(max(spreads), 4)


def _predictions(store: Store, key: str) -> dict[str, dict[str, Any]]:
    table = store.read_table("predictions", key, "predictions.parquet")
    return {row["example_id"]: row for row in table.to_pylist()}


def _answer(
    run: RunRow,
    row: Example,
    answers: Mapping[str, Mapping[str, Mapping[str, Any]]],
    ratings: Mapping[tuple[str, str], Mapping[str, tuple[float | str, str]]],
    judge: str,
) -> dict[str, Any]:
    prediction = answers[run.predictions_key].get(row.example_id, {"prediction": "", "error": "no row"})
    scored = ratings.get((run.predictions_key, row.example_id), {})
    draw = "no draw" if run.draw < 0 else f"draw {run.draw}"
    return {
        "arm": run.arm,
        "run": f"{run.base_model}, {draw}, seed {run.training_seed}",
        "prediction": _cut(prediction["prediction"]),
        "error": prediction["error"],
        "scores": {name: value for name, (value, _) in sorted(scored.items())},
        "judge": _cut(replies_text(scored[judge][1])) if judge in scored else "",
    }


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[:MAX_CHARS] + f" … ({len(text) - MAX_CHARS:,} characters cut)"
