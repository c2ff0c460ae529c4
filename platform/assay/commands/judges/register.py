"""The commands around judges, hung onto the command line: `judge-server`, and the meta-evaluation of judges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.commands.judges.options import AskedJudge, AuditOptions, RankOptions, RecordedVerdicts
from assay.commands.options import (
    CallOptions,
    JsonOption,
    JudgeOption,
    LedgerOptions,
    PairwiseOptions,
    ReportOption,
    TrackingOption,
    UrlOption,
)
from assay.commands.several_values import SeveralValues
from assay.commands.stopping import stoppable
from assay.judge_server.command import JudgeServerCommand, judge_server_command
from assay.option_groups import with_groups


def register(app: typer.Typer, metaeval: typer.Typer) -> None:
    """Add the judging commands to `assay` and to `assay metaeval`."""
    from assay.commands.ifs import ifs_command

    app.command("judge-server", cls=JudgeServerCommand)(judge_server_command)
    metaeval.command("llmbar", cls=SeveralValues)(with_groups(stoppable(llmbar)))
    metaeval.command("pairs", cls=SeveralValues)(with_groups(stoppable(pairs)))
    metaeval.command("replies")(stoppable(replies))
    app.command("rank")(with_groups(stoppable(rank)))
    metaeval.command("ifs", cls=SeveralValues)(with_groups(stoppable(ifs_command)))
    app.command("audit-judge", cls=SeveralValues)(with_groups(stoppable(audit_judge)))
    app.command("ledger")(with_groups(ledger_summary))


def llmbar(
    *,
    data: Annotated[
        list[Path], typer.Option(metavar="FILE|DIR", help="LLMBar-format JSON; a folder holds a file per subset.")
    ],
    judge: JudgeOption,
    out: ReportOption,
    base_url: UrlOption = None,
    asking: PairwiseOptions,
    kept: LedgerOptions,
    tracking: TrackingOption = None,
    calls: CallOptions,
) -> None:
    """Accuracy, positional agreement and kappa of a judge on pairs with a gold choice, per strategy and subset."""
    from assay.commands.judges.reports import connection_of, llmbar_command

    connection = connection_of(judge, base_url, kept, calls, study="metaeval-llmbar")
    llmbar_command(data, asking, connection, out, kept.storage, tracking)


def pairs(
    *,
    data: Annotated[
        list[Path],
        typer.Option(metavar="FILE|DIR", help="Pairs with a gold choice, recorded verdicts on pairs, or both."),
    ],
    out: ReportOption,
    recorded: RecordedVerdicts,
    live: AskedJudge,
    asking: PairwiseOptions,
    kept: LedgerOptions,
    tracking: TrackingOption = None,
    calls: CallOptions,
) -> None:
    """Accuracy, agreement with people and position consistency on pairs: recorded verdicts, or a judge asked now."""
    from assay.commands.judges.reports import asked_pairs_command, connection_of, recorded_pairs_command
    from assay.errors import ConfigError

    if live.judge is None:
        if live.base_url is not None or calls.transport != CallOptions.transport:
            raise ConfigError("--base-url or --transport: saw no --judge beside it; expected the model to ask")
        if live.preference is not None:
            raise ConfigError("--preference: saw no --judge beside it; expected one: preferences hold no verdicts")
        recorded_pairs_command(data, out, recorded, asking)
        return
    if recorded.replies is not None:
        raise ConfigError("--replies with --judge: expected one of them: recorded replies, or a judge to ask")
    connection = connection_of(live.judge, live.base_url, kept, calls, study="metaeval-pairs")
    asked_pairs_command(data, asking, connection, out, kept.storage, tracking, live.preference)


def replies(
    replies: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Rows with `completion`, or `completions`: the mean of those that parse."),
    ],
    items: Annotated[Path, typer.Option(metavar="FILE", help="Rows with the human scores.")],
    on: Annotated[str, typer.Option(metavar="KEY[,KEY]", help="Fields that a reply and its item share.")],
    human: Annotated[str, typer.Option(metavar="FIELD", help="Human score: a field of an item, or of its `human`.")],
    scale: Annotated[str, typer.Option("--range", metavar="LO,HI", help="The judge's scale.")],
    out: Annotated[Path, typer.Option(metavar="FILE.json")],
    group: Annotated[
        str | None, typer.Option(metavar="KEY", help="Field of the document: unit of the intervals, and grouped by.")
    ] = None,
) -> None:
    """Correlation of recorded raw replies with human scores; our own parser reads them."""
    from assay.commands.judges.reports import replies_command

    replies_command(replies, items, [key for key in on.split(",") if key], human, scale, group, out)


def rank(
    *,
    answers: Annotated[
        Path, typer.Option(metavar="FILE", help="Rows of prompt (question, instruction), model, response; reference.")
    ],
    judge: JudgeOption,
    out: ReportOption,
    base_url: UrlOption = None,
    how: RankOptions,
    kept: LedgerOptions,
    calls: CallOptions,
) -> None:
    """Rank models by a judge: all answers in one call, or the win rate against a baseline, raw and at equal length."""
    from assay.commands.judges.rank import rank_command
    from assay.commands.judges.reports import connection_of

    connection = connection_of(judge, base_url, kept, calls, study="rank")
    rank_command(answers, connection, out, how)


def audit_judge(
    *,
    judge: JudgeOption,
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="The report.")],
    base_url: UrlOption = None,
    shown: AuditOptions,
    kept: LedgerOptions,
    calls: CallOptions,
) -> None:
    """What moves a judge that should not: place, length, own style, dress, orders inside answers, master keys."""
    from assay.commands.judges.audit import audit_command
    from assay.commands.judges.reports import connection_of

    connection = connection_of(judge, base_url, kept, calls, study="audit-judge")
    audit_command(connection, out, shown)


def ledger_summary(
    *,
    kept: LedgerOptions,
    by: Annotated[
        str, typer.Option(help="Columns: study, judge, day, model, endpoint, protocol, transport, status.")
    ] = "study,judge",
    study: Annotated[str | None, typer.Option(help="Only this study's calls.")] = None,
    as_json: JsonOption = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Write all calls there; attempts and batches beside it.")
    ] = None,
) -> None:
    """Calls, tokens and dollars by study, judge and day, and what may have been billed unseen."""
    from assay.commands.judges.ledger import ledger_command

    ledger_command(kept.storage, kept.ledger, by, study, as_json, export)
