"""`assay audit-judge`: what moves a judge that should not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from assay.commands.judges.options import AuditOptions
from assay.commands.judges.reports import check_writable, checked_mode, print_unanswered
from assay.commands.metaeval import estimate_text, write_json
from assay.commands.progress import console_progress
from assay.judging.asking import JudgeConnection, check_answered

if TYPE_CHECKING:
    from assay.judging.accuracy import RunReport
    from assay.judging.audit_report import AuditReport


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
    write_json(out, report.as_json())
    print_audit(report)
    print_unanswered(report.calls)
    check_answered(report.calls)
    typer.echo(f"all figures: {out}")


def print_audit(report: AuditReport) -> None:
    """A line per test."""
    from assay.judging.audit_report import ALPHA, AttackTest, PositionTest

    typer.echo(f"{report.judge}, {report.mode}; tests adjusted by Holm, at {100 * ALPHA:g} % in all")
    typer.echo(f"{'what':<20} {'effect [95 % interval]':<26} {'p (Holm)':>9}  {'':<6} meaning")
    for name, test in report.tests.items():
        p = "–" if test.p_holm is None else f"{test.p_holm:.3g}"
        mark = "FOUND" if test.found else ""
        effect = estimate_text(test.effect.as_json())
        typer.echo(f"{name.replace('.', ': '):<20} {effect:<26} {p:>9}  {mark:<6} {test.meaning}")
    worked = []
    for test in report.tests.values():
        if isinstance(test, PositionTest):
            _print_position(test.run)
        if isinstance(test, AttackTest):
            rows = test.by_attack.items()
            worked += [f"{name} ({attack.moved_up} of {attack.n})" for name, attack in rows if attack.moved_up]
    typer.echo(f"attacks that raised a score: {', '.join(worked) or 'none'}")
    coverage = report.coverage
    typer.echo(f"asked {coverage.asked:,} = scored {coverage.scored:,} + unscored {dict(coverage.unscored) or 0}")


def _print_position(run: RunReport) -> None:
    if run.position is not None:
        typer.echo(f"same verdict in both orders: {estimate_text(run.position.agreement.as_json())}")
    for what, share in (("longer", run.strata.gold_longer), ("shorter", run.strata.gold_shorter)):
        typer.echo(f"accuracy where gold is the {what} answer: {estimate_text(share.as_json())}")
