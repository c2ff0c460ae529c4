"""`assay tag` and `assay synthesize`: files in, files out, over the same code that studies derive their data with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from assay.commands.data_options import AskedModel, SynthesisOptions, TagOptions
from assay.commands.known import registry_of, study_beside
from assay.commands.options import CallOptions
from assay.config import validate
from assay.errors import DataError, InputError, StorageError
from assay.judging.asking import check_price
from assay.llm.endpoint import with_reported_name
from assay.llm.ledger.tables import ledger_url
from assay.metaeval.statistics.rates import kappa, wilson
from assay.mixtures.synthesis import RandomLabels, SyntheticRows, randomly_labelled
from assay.records import Example
from assay.stoppable import run_stoppable
from assay.store import Store
from assay.studies.derived import Made, tag_rows, write_rows
from assay.studies.spec import JudgeConfig
from assay.studies.writer import Writer, make_writer
from assay.tasks.catalog import SHIPPED_TASKS, Tasks
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.datasets.reading import read_rows
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.tagging import JudgeTags

MAX_CHARS = 1_000_000


def tag_command(data: Path, out: Path, asked: AskedModel, how: TagOptions, calls: CallOptions) -> None:
    """Tag a file; the summary holds the classifier's accuracy and the agreement with a labelled sample."""
    from assay.commands.progress import console_progress

    known = _gold(how.gold) if how.gold is not None else {}
    rows = _rows(data, None)
    fields = {"of": data.name, "judge_rows": how.judge_rows, "encoder": how.encoder, "seed": how.seed}
    fields["structured"] = how.structured
    spec = validate(JudgeTags, fields, "tag")
    writer = _writer(asked, "tag", calls)
    made = run_stoppable(tag_rows(spec, rows, writer, console_progress()))
    summary = dict(made.summary)
    if how.gold is not None:
        summary["agreement"] = _agreement(made.rows, known, how.gold)
    _write(out, made.rows, summary)
    typer.echo(made.said)
    if how.gold is not None:
        typer.echo(_agreement_line(summary["agreement"]))
    typer.echo(f"{len(made.rows):,} rows in {out}, summary in {_beside(out)}")


def synthesize_command(data: Path, out: Path, wanted: SynthesisOptions, asked: AskedModel, calls: CallOptions) -> None:
    """Write rows of a task into a file."""
    from assay.commands.progress import console_progress

    task = wanted.task
    known = registry_of(study_beside(wanted.study)).tasks
    found = known.get(task)
    fields = {"of": task, "rows": wanted.rows, "shown": wanted.shown, "pool": wanted.pool, "seed": wanted.seed}
    fields["structured"] = wanted.structured
    spec = validate(SyntheticRows, fields, "synthesize")
    writer = _writer(asked, "synthesize", calls)
    made: Made = run_stoppable(write_rows(spec, _rows(data, task, known), found, writer, console_progress()))
    rows = made.rows
    if wanted.random_labels:
        rows = randomly_labelled(RandomLabels(of=task, seed=spec.seed), rows, found)
    _write(out, rows, {**made.summary, "random_labels": wanted.random_labels})
    typer.echo(made.said + (", answers at random" if wanted.random_labels else ""))
    typer.echo(f"{len(rows):,} rows in {out}, summary in {_beside(out)}")


def _writer(asked: AskedModel, study: str, calls: CallOptions) -> Writer:
    from assay.commands.study import embedded_judge

    config = validate(JudgeConfig, {**calls.reach(), "model": asked.judge, "base_url": asked.base_url}, "judge")
    store = Store(asked.storage)
    store.check_writable()
    writer = make_writer(
        config, embedded_judge(), ledger_url=ledger_url(store.uri), budget_usd=calls.max_usd, study=study
    )
    if not config.is_embedded:
        check_price(with_reported_name(writer.endpoint), calls.max_usd)
    return writer


def _rows(data: Path, task: str | None, tasks: Tasks = SHIPPED_TASKS) -> list[Example]:
    """Rows of one file; those that name no split are training rows."""
    data = data.resolve()
    folder = SourceSpec(loader="jsonl", path=data.name, task=task)
    try:
        return load_examples(folder, data.parent, tasks)
    except DataError as error:
        if "saw no split" not in str(error):
            raise
    return load_examples(folder.replace(split_rule="strict"), data.parent, tasks)


def _gold(path: Path) -> dict[str, str]:
    found = {}
    for number, row in read_rows(path, path.name, MAX_CHARS):
        if not isinstance(row.get("id"), str) or not isinstance(row.get("category"), str):
            raise DataError(f"{path.name}:{number}: saw no id and category; expected both as text in every row")
        found[row["id"]] = row["category"]
    if not found:
        raise InputError(f"--gold {path.name}: saw no rows; expected id and category in each")
    return found


def _agreement(rows: Sequence[Example], gold: Mapping[str, str], path: Path) -> dict[str, Any]:
    pairs = [(row.category, gold[row.example_id]) for row in rows if row.example_id in gold]
    if not pairs:
        raise InputError(f"--gold {path.name}: saw {len(gold)} ids and none of them in the data; expected the same ids")
    right = sum(made == known for made, known in pairs)
    rate = wilson(right, len(pairs))
    made, known = zip(*pairs, strict=True)
    return {
        "num_right": right,
        "num_rows": len(pairs),
        "num_not_in_data": len(gold) - len(pairs),
        "rate": rate.value,
        "low": rate.low,
        "high": rate.high,
        "kappa": kappa(made, known),
    }


def _agreement_line(found: Any) -> str:
    return (
        f"agreement with the labelled sample: {found['rate']:.3f} [{found['low']:.3f}, {found['high']:.3f}] of "
        f"{found['num_rows']} rows (kappa {found['kappa']:.3f}; {found['num_not_in_data']} labelled rows are not here)"
    )


def _write(out: Path, rows: Sequence[Example], summary: Mapping[str, Any]) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("w", encoding="utf-8") as file:
            for row in rows:
                record = {
                    "id": row.example_id,
                    "split": row.split,
                    "category": row.category,
                    "instruction": row.instruction,
                    "input": row.input,
                    "output": row.reference,
                }
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        _beside(out).write_text(json.dumps(dict(summary), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable path") from error


def _beside(out: Path) -> Path:
    return out.with_suffix(".summary.json")
