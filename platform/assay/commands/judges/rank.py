"""`assay rank`: models ranked by a judge, all in one call or each against a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from assay.commands.judges.options import RankOptions
from assay.commands.judges.reports import check_writable, checked_mode, print_unanswered
from assay.commands.metaeval import estimate_text, write_out, written
from assay.commands.progress import console_progress
from assay.errors import ConfigError
from assay.judging.asking import JudgeConnection, check_answered

if TYPE_CHECKING:
    from assay.judging.joint_report import JointReport
    from assay.judging.win_rates import WinReport


def rank_command(answers: Path, connection: JudgeConnection, out: Path, how: RankOptions) -> None:
    """Ask, write the report, print and draw it.

    Raises:
        InputError: bad data, an unknown protocol, or an endpoint that cannot be used.
        LimitReached: the dollars are used up; the same command continues.
    """
    from assay.judging.audit import read_answers
    from assay.judging.rank import JOINT, group_answers, rank_jointly, read_losses
    from assay.judging.win_rates import rank_by_wins
    from assay.reports.judge_plots import joint_svg, wins_svg
    from assay.scoring.judges.protocols.joint import JointJudge

    checked, baseline, protocol = checked_mode(how.mode), how.baseline, how.protocol
    if protocol == JOINT and baseline is not None:
        raise ConfigError("--baseline: saw it with --protocol joint; expected a pairwise strategy such as vanilla")
    if protocol != JOINT and baseline is None:
        raise ConfigError(
            f"--protocol {protocol}: saw no --baseline; expected the model that the others are held against"
        )
    if protocol != JOINT and (how.losses or how.without):
        raise ConfigError("--losses and --without: expected only with --protocol joint")
    items = group_answers(read_answers(answers), how.limit)
    check_writable(out)
    if baseline is None:
        judge = JointJudge(repeats=how.repeats, max_models=how.max_models, structured=how.structured)
        told = read_losses(how.losses) if how.losses else None
        joint = rank_jointly(items, connection, judge, console_progress(), losses=told, without=how.without)
        title = f"{joint.judge}, {joint.num_items} prompts judged jointly"
        figure, calls = write_out(out, joint, joint_svg(joint.models, title)), joint.calls
        _print_joint(joint)
    else:
        wins = rank_by_wins(items, connection, protocol, baseline, checked, console_progress())
        title = f"{wins.judge}, {wins.strategy}, {wins.num_items} prompts"
        figure, calls = write_out(out, wins, wins_svg(wins.models, title, wins.baseline)), wins.calls
        _print_wins(wins)
    print_unanswered(calls)
    check_answered(calls)
    typer.echo(written(out, figure))


def _print_joint(report: JointReport) -> None:
    width = max(5, *(len(row.model) for row in report.models))
    typer.echo(
        f"{'rank':<10} {'model':<{width}} {'better than the mean by':<26} {'raw mean, 0 to 100':<26} {'items':>6} "
        f"{'unscored':>8}"
    )
    for row in report.models:
        ranks = f"{row.score.rank} [{row.score.rank_low}, {row.score.rank_high}]"
        effect, mean = (estimate_text(estimate.as_json()) for estimate in (row.score.effect, row.raw_mean))
        counts = f"{row.coverage.scored:>6,} {row.coverage.num_unscored:>8,}"
        typer.echo(f"{ranks:<10} {row.model:<{width}} {effect:<26} {mean:<26} {counts}")
    for model, coverage in report.unranked.items():
        why = ", ".join(f"{count} {reason}" for reason, count in coverage.unscored.items())
        typer.echo(f"{'–':<10} {model:<{width}} no score for any of {coverage.asked:,} prompts: {why}")
    if report.note:
        typer.echo(report.note)
    places = ", ".join(f"{place}: {estimate_text(effect.as_json())}" for place, effect in report.positions.items())
    if places:
        typer.echo(f"what a place in the prompt is worth: {places}")
    if (tokens := report.tokens) is not None:
        share = tokens.prompt_chars / tokens.prompt_chars_if_rated_alone
        typer.echo(
            f"tokens: {tokens.prompt_tokens:,} in, {tokens.completion_tokens:,} out; prompts are {share:.2f} of "
            "what rating each answer alone, as often, would send"
        )
    if (loss := report.loss) is not None:
        typer.echo(f"judged score against loss, Spearman over models: {estimate_text(loss.spearman.as_json())}")
        if loss.line is not None and loss.line.off_the_line:
            typer.echo(f"off the line: {', '.join(loss.line.off_the_line)}")
    if (other := report.without) is not None:
        order = "the same order" if other.same_order else "another order"
        typer.echo(f"without {other.model}: {order} of the others, largest shift {other.largest:.2f} points")


def _print_wins(report: WinReport) -> None:
    width = max(5, *(len(row.model) for row in report.models))
    heading = f"wins against {report.baseline}"
    typer.echo(f"{'model':<{width}} {heading:<28} {'at equal length':<26} {'asked':>6} {'unscored':>8}")
    for row in report.models:
        raw, controlled = (estimate_text(estimate.as_json()) for estimate in row.shown)
        counts = f"{row.coverage.asked:>6,} {row.coverage.num_unscored:>8,}"
        typer.echo(f"{row.model:<{width}} {raw:<28} {controlled:<26} {counts}")
