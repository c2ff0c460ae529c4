"""`assay rank`: models ranked by a judge, all in one call or each against a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from assay.commands.judges.options import RankOptions
from assay.commands.judges.reports import check_writable, checked_mode, print_unanswered
from assay.commands.metaeval import estimate_text, write_json
from assay.commands.progress import console_progress
from assay.errors import ConfigError
from assay.judging.asking import JudgeConnection, check_answered


def rank_command(answers: Path, connection: JudgeConnection, out: Path, how: RankOptions) -> None:
    """Ask, write the report, print and draw it.

    Raises:
        InputError: bad data, an unknown protocol, or an endpoint that cannot be used.
        LimitReached: the dollars are used up; the same command continues.
    """
    from assay.judging.audit import read_answers
    from assay.judging.rank import JOINT, group_answers, rank_by_wins, rank_jointly, read_losses
    from assay.reports.judge_plots import ranks_svg
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
        report = rank_jointly(items, connection, judge, console_progress(), losses=told, without=how.without)
        _print_joint(report)
    else:
        report = rank_by_wins(items, connection, protocol, baseline, checked, console_progress())
        _print_wins(report)
    print_unanswered(report["calls"])
    write_json(out, report)
    check_answered(report["calls"])
    figure = out.with_suffix(".svg")
    figure.write_text(ranks_svg(report), encoding="utf-8")
    typer.echo(f"all figures: {out}; drawn: {figure}")


def _print_joint(report: Mapping[str, Any]) -> None:
    width = max(5, *(len(row["model"]) for row in report["models"]))
    typer.echo(
        f"{'rank':<10} {'model':<{width}} {'better than the mean by':<26} {'raw mean, 0 to 100':<26} {'items':>6} "
        f"{'unscored':>8}"
    )
    for row in report["models"]:
        ranks = f"{row['rank']} [{row['rank_low']}, {row['rank_high']}]"
        missing = row["coverage"]["asked"] - row["coverage"]["scored"]
        effect, mean = estimate_text(row["effect"]), estimate_text(row["raw_mean"])
        typer.echo(
            f"{ranks:<10} {row['model']:<{width}} {effect:<26} {mean:<26} {row['coverage']['scored']:>6,} {missing:>8,}"
        )
    for row in report["unranked"]:
        told = ", ".join(f"{count} {reason}" for reason, count in row["coverage"]["unscored"].items())
        typer.echo(
            f"{'–':<10} {row['model']:<{width}} no score for any of {row['coverage']['asked']:,} prompts: {told}"
        )
    if report["note"]:
        typer.echo(report["note"])
    places = ", ".join(f"{place}: {estimate_text(effect)}" for place, effect in report["positions"].items())
    if places:
        typer.echo(f"what a place in the prompt is worth: {places}")
    if report["tokens"]:
        tokens = report["tokens"]
        share = tokens["prompt_chars"] / tokens["prompt_chars_if_rated_alone"]
        typer.echo(
            f"tokens: {tokens['prompt_tokens']:,} in, {tokens['completion_tokens']:,} out; prompts are {share:.2f} of "
            "what rating each answer alone, as often, would send"
        )
    if report.get("loss"):
        loss = report["loss"]
        line = loss.get("spearman", loss)
        typer.echo(f"judged score against loss, Spearman over models: {estimate_text(line)}")
        if loss.get("off_the_line"):
            typer.echo(f"off the line: {', '.join(loss['off_the_line'])}")
    if report.get("without"):
        told = report["without"]
        order = "the same order" if told["same_order"] else "another order"
        typer.echo(f"without {told['model']}: {order} of the others, largest shift {told['largest']:.2f} points")


def _print_wins(report: Mapping[str, Any]) -> None:
    width = max(5, *(len(row["model"]) for row in report["models"]))
    heading = f"wins against {report['baseline']}"
    typer.echo(f"{'model':<{width}} {heading:<28} {'at equal length':<26} {'asked':>6} {'unscored':>8}")
    for row in report["models"]:
        coverage = row["coverage"]
        raw, controlled = estimate_text(row["win_rate"]), estimate_text(row["length_controlled"])
        missing = coverage["asked"] - coverage["scored"]
        typer.echo(f"{row['model']:<{width}} {raw:<28} {controlled:<26} {coverage['asked']:>6,} {missing:>8,}")
