"""`assay label export` and `assay label import`: blind sheets for annotators, and their ratings back as a scorer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.commands.metaeval import estimate_text, write_json
from assay.commands.options import set_option, storage_option
from assay.errors import ConfigError, StorageError
from assay.option_groups import with_groups

label_app = typer.Typer(
    help="Human labels: blind sheets out, ratings in as the scorer `human`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dataclass(frozen=True)
class AnswerSource:
    """The answers that are labelled: of a file, or of a study."""

    predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSONL as `assay score` takes it; field `model` names its writer."),
    ] = None
    study: Annotated[str | None, typer.Option(metavar="STUDY", help="Answers of a study, instead of a file.")] = None
    overrides: Annotated[list[str] | None, set_option("Of the study.")] = None
    storage: Annotated[str, storage_option("Where the study's answers lie.")] = "runs"

    def read(self) -> list[Any]:
        """All of them.

        Raises:
            ConfigError: both or neither are given.
        """
        if (self.predictions is None) == (self.study is None):
            raise ConfigError("label export: expected --predictions FILE or --study STUDY, and one of them only")
        if self.predictions is not None:
            return _file_answers(self.predictions)
        return _study_answers(str(self.study), self.overrides or [], self.storage)


def label_export(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for a sheet per annotator, and the key file.")],
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="Distinct answers to label.")],
    answers: AnswerSource,
    annotators: Annotated[int, typer.Option(metavar="N", min=1, help="Sheets, each in an order of its own.")] = 2,
    scale: Annotated[str, typer.Option("--range", metavar="LO,HI", help="Lowest and highest rating.")] = "1,5",
    question: Annotated[
        str, typer.Option(help="What the rating means; kept in the key file.")
    ] = "How good is the answer?",
    file_format: Annotated[str, typer.Option("--format", help="csv or jsonl.")] = "csv",
    seed: Annotated[int, typer.Option(help="Of the draw and of the orders.")] = 0,
) -> None:
    """Draw answers, shuffled and without the names of their models, one sheet per annotator."""
    from assay.human.labels import KEY_FILE, export_sheets
    from assay.judging.replies import parse_range

    low, high = parse_range(scale)
    if not low < high:
        raise ConfigError(f"--range {scale}: expected LO,HI with LO below HI, as in --range 1,5")
    try:
        sheets = export_sheets(
            answers.read(),
            out,
            num_rows=rows,
            num_annotators=annotators,
            scale=(low, high),
            question=question,
            seed=seed,
            file_format=file_format,
        )
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable folder") from None
    for sheet in sheets:
        typer.echo(f"sheet    {sheet}  ({rows:,} answers; fill in `rating`, {low:g} to {high:g})")
    typer.echo(f"key      {out / KEY_FILE}  (who wrote what: not for annotators)")
    typer.echo(f"then     assay label import --dir {out} --out labels.jsonl")


label_app.command("export")(with_groups(label_export))


@label_app.command("import")
def label_import(
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="The export's folder with the filled-in sheets.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="Ratings in 0..1; agreement in FILE.agreement.json.")],
) -> None:
    """Read the ratings, show how annotators agree, and write what the scorer `human` reads."""
    from assay.human.labels import FORMATS, import_sheets, is_sheet

    if is_sheet(out) and out.parent.resolve() == folder.resolve():
        raise ConfigError(f"--out {out}: saw a name that would be read as a sheet; expected another, as labels.jsonl")
    labels = import_sheets(folder)
    report = labels.report(str(folder.name))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in labels.rows()), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable path") from None
    write_json(out.with_suffix(".agreement.json"), report)
    counts = ", ".join(f"{name}: {count:,}" for name, count in report["annotators"].items())
    typer.echo(f"{report['rated']:,} of {report['items']:,} answers rated, {report['unrated']:,} not ({counts})")
    for row in report["agreement"]:
        _print_pair(row)
    others = sorted(
        file.name
        for file in folder.iterdir()
        if file.suffix[1:] in FORMATS and not is_sheet(file) and file.name != out.name
    )
    if others:
        typer.echo(f"no sheets    {', '.join(others)}  (sheets are named annotator_*)")
    typer.echo(f"labels   {out}")
    typer.echo(f"then     a study with scorers: [..., human] and scorer_params: {{human: {{labels: {out}}}}}, or")
    typer.echo(f"         assay score --scorers human,... --set human.labels={out}")


def _print_pair(row: dict[str, Any]) -> None:
    typer.echo(f"{row['first']} and {row['second']}: {row['n']:,} answers rated by both, {row['left_out']:,} not")
    if row["equal"] is None:
        return
    typer.echo(
        f"  {'equal ratings':<18} {row['equal']:.3f}, mean difference {row['mean_difference']:+.3f} of the scale"
    )
    for name in ("kappa", "kappa_quadratic", "icc", "spearman"):
        typer.echo(f"  {name:<18} {estimate_text(row[name])}")


def _file_answers(path: Path) -> list[Any]:
    from assay.commands.prediction_rows import prediction_rows
    from assay.human.labels import Answer
    from assay.records import INSTRUCTIONS

    found = []
    for row, request in prediction_rows(path, INSTRUCTIONS):
        example = request.example
        source = str(row.get("model") or row.get("system") or path.name)
        found.append(Answer(example.instruction, example.input, request.prediction, source, example.example_id))
    return found


def _study_answers(reference: str, overrides: list[str], storage: str) -> list[Any]:
    from assay.commands.study import embedded_judge
    from assay.store import Store
    from assay.studies.catalog import load_study
    from assay.studies.results.study_answers import study_answers

    return list(study_answers(load_study(reference, overrides), Store(storage), embedded_judge().name))
