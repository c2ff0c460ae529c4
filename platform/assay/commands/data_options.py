"""What the commands around data are asked: a frozen group of options for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from assay.commands.options import StudyBesideOption, storage_option

SeedOption = Annotated[int, typer.Option(help="Which rows are taken, or shown.")]


@dataclass(frozen=True)
class AskedModel:
    """The model that writes or tags rows, and where its replies are kept."""

    judge: Annotated[str, typer.Option(help='Model that is asked; "rubric" is the embedded judge: rules, no LLM.')] = (
        "rubric"
    )
    base_url: Annotated[str | None, typer.Option(help="Of any OpenAI-compatible endpoint, up to and with /v1.")] = None
    storage: Annotated[str, storage_option("Where the ledger of replies lies.")] = "runs"


StructuredOption = Annotated[
    bool, typer.Option("--structured", help="Ask for a JSON schema, which a small local model cannot miss.")
]


@dataclass(frozen=True)
class TagOptions:
    """How rows get their categories."""

    judge_rows: Annotated[
        int | None,
        typer.Option(metavar="N", min=50, help="Rows that the judge tags; a classifier tags the rest. Default: all."),
    ] = None
    encoder: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|ID",
            help="Sentence encoder whose vectors the classifier reads. Default: word and letter n-grams.",
            show_default=False,
        ),
    ] = ""
    gold: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSONL with id and category, to state the agreement with.")
    ] = None
    structured: StructuredOption = False
    seed: SeedOption = 0


@dataclass(frozen=True)
class SynthesisOptions:
    """Which rows are written."""

    task: Annotated[str, typer.Option(help="Target task of the rows.")]
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="Rows wanted.")]
    study: StudyBesideOption = None
    shown: Annotated[int, typer.Option(metavar="N", min=1, max=20, help="Human rows that one call shows.")] = 4
    pool: Annotated[int, typer.Option(metavar="N", min=1, help="Human rows that may be shown at all.")] = 64
    random_labels: Annotated[bool, typer.Option(help="Answers at random, to learn the format alone.")] = False
    structured: StructuredOption = False
    seed: SeedOption = 0
