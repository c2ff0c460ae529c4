"""What the commands around judges are asked: a frozen group of options for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from assay.commands.options import LimitOption, ModeOption


@dataclass(frozen=True)
class RecordedVerdicts:
    """Where recorded verdicts on pairs lie, and how they are read."""

    replies: Annotated[Path | None, typer.Option(metavar="FILE", help="Recorded replies in a file of their own.")] = (
        None
    )
    on: Annotated[str, typer.Option(metavar="KEY[,KEY]", help="Fields that a pair and its reply share.")] = ""
    form: Annotated[
        str | None, typer.Option(help="What a reply holds: scores, letter or label; default: what most can be read as.")
    ] = None
    scale: Annotated[str, typer.Option("--range", metavar="LO,HI", help="Of two scores in one reply.")] = "0,10"

    @property
    def keys(self) -> list[str]:
        """The shared fields."""
        return [key for key in self.on.split(",") if key]


@dataclass(frozen=True)
class AskedJudge:
    """A judge that is asked now, in place of recorded verdicts."""

    judge: Annotated[str | None, typer.Option(help="Ask this model instead; needs --base-url.")] = None
    base_url: Annotated[str | None, typer.Option(help="Of any OpenAI-compatible endpoint.")] = None
    preference: Annotated[
        str | None,
        typer.Option(
            metavar="LAYOUT",
            help="The files are preferences: trl, hh, ultrafeedback, shp or llama_factory; what was chosen is right.",
        ),
    ] = None


@dataclass(frozen=True)
class RankOptions:
    """How models are ranked."""

    protocol: Annotated[
        str, typer.Option(help="joint: all models in one call; or a pairwise strategy, against --baseline.")
    ] = "joint"
    baseline: Annotated[str | None, typer.Option(metavar="MODEL", help="Whom each other model must beat.")] = None
    losses: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows of model and loss: does judged score follow it?")
    ] = None
    without: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Judge all once more without it: what do the others do?")
    ] = None
    repeats: Annotated[
        int, typer.Option(metavar="N", min=1, help="Joint: orders per prompt; an even number balances.")
    ] = 2
    max_models: Annotated[int, typer.Option(metavar="N", min=2, max=26, help="Joint: most answers in a call.")] = 12
    structured: Annotated[bool, typer.Option("--structured", help="Joint: ask for a JSON schema.")] = False
    mode: ModeOption = "strict"
    limit: LimitOption = None


@dataclass(frozen=True)
class AuditOptions:
    """What an audited judge is shown."""

    mode: ModeOption = "strict"
    strategy: Annotated[str, typer.Option(help="Pairwise protocol.")] = "vanilla"
    pointwise: Annotated[str, typer.Option(help="Protocol that rates one answer.")] = "mt_bench_single"
    items: Annotated[
        int, typer.Option(metavar="N", min=2, help="Questions of the parts on length, format, self preference.")
    ] = 40
    pairs: Annotated[int, typer.Option(metavar="N", min=2, help="Pairs of the part on position.")] = 60
    attack_items: Annotated[int, typer.Option(metavar="N", min=1, help="Questions per attack.")] = 3
    self_phrase: Annotated[
        str | None, typer.Option(help="A phrase that the judge's own family is known by; default: by its name.")
    ] = None
    data: Annotated[
        list[Path] | None, typer.Option(metavar="FILE|DIR", help="LLMBar-format pairs in place of the built-in ones.")
    ] = None
    answers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rows of question, model, response: judge family against model family."),
    ] = None
