"""`assay audit-judge`: what moves a judge that should not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from assay.commands.judges.options import AuditOptions
from assay.commands.judges.reports import check_writable, checked_mode, print_unanswered
from assay.commands.metaeval import estimate_text, write_json
from assay.commands.progress import console_progress
from assay.judging.asking import JudgeConnection, check_answered


def audit_command(connection: JudgeConnection, out: Path, shown: AuditOptions) -> None:
    """Ask, write the report, print it.

    Raises:
        InputError: bad data, an unknown protocol, or an endpoint that cannot be used.
        LimitReached: the dollars are used up; the same command continues.
    """
    from assay.judging.audit import make_plan, read_answers, run_audit
    from assay.judging.llmbar import read_llmbar

    checked = checked_mode(shown.mode)
    pairs = [item for part in read_llmbar(shown.data, shown.pairs) for item in part.items] if shown.data else None
    answers = read_answers(shown.answers) if shown.answers else ()
    plan = make_plan(shown.items, shown.pairs, shown.self_phrase, answers, pairs, shown.attack_items)
    check_writable(out)
    report = run_audit(
        connection, plan, checked, console_progress(), pointwise=shown.pointwise, strategy=shown.strategy
    )
    write_json(out, report)
    print_audit(report)
    print_unanswered(report["calls"])
    check_answered(report["calls"])
    typer.echo(f"all figures: {out}")


def print_audit(report: Mapping[str, Any]) -> None:
    """A line per test."""
    typer.echo(f"{report['judge']}, {report['mode']}; tests adjusted by Holm, at {100 * report['alpha']:g} % in all")
    typer.echo(f"{'what':<20} {'effect [95 % interval]':<26} {'p (Holm)':>9}  {'':<6} meaning")
    for name, test in _tests(report).items():
        p = "–" if test["p_holm"] is None else f"{test['p_holm']:.3g}"
        mark = "FOUND" if test["found"] else ""
        typer.echo(f"{name:<20} {estimate_text(test['effect']):<26} {p:>9}  {mark:<6} {test['meaning']}")
    position = report["position"]
    if position.get("agreement"):
        typer.echo(f"same verdict in both orders: {estimate_text(position['agreement'])}")
    for name in ("gold_longer", "gold_shorter"):
        typer.echo(f"accuracy where {name.replace('_', ' is the ')} answer: {estimate_text(position['strata'][name])}")
    worked = [
        f"{name} ({row['moved_up']} of {row['n']})"
        for part in ("injection", "master_keys")
        for name, row in report[part]["by_attack"].items()
        if row["moved_up"]
    ]
    typer.echo(f"attacks that raised a score: {', '.join(worked) or 'none'}")
    coverage = report["coverage"]
    typer.echo(f"asked {coverage['asked']:,} = scored {coverage['scored']:,} + unscored {coverage['unscored'] or 0}")


def _tests(report: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: report[name] for name in ("position", "length")}
    found |= {f"format: {name}": row for name, row in report["format"].items()}
    found |= {name: report[name] for name in ("self_preference", "injection", "master_keys")}
    if "model_families" in report:
        found["model_families"] = report["model_families"]
    return found
