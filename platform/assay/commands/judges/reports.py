"""What the commands on judges do: read, ask, compute (in `studies`), then write, print, draw and track."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from assay.commands.judges.options import RecordedVerdicts
from assay.commands.metaeval import estimate_text, write_json, write_out, written
from assay.commands.options import CallOptions, LedgerOptions, PairwiseOptions
from assay.commands.progress import console_progress
from assay.config import validate
from assay.errors import ConfigError, DataError, StorageError, plain_line
from assay.judging.asking import JudgeConnection, check_answered
from assay.llm.endpoint import EndpointSpec
from assay.llm.transport_kind import TRANSPORTS
from assay.records import Mode

if TYPE_CHECKING:
    from assay.judging.accuracy import RunReport
    from assay.judging.comparisons import PairsReport, Tested
    from assay.judging.llmbar import NamedStrategy, PairSet
    from assay.judging.pairs import PairFile
    from assay.metaeval.statistics.estimate import Estimate


def connection_of(
    judge: str, base_url: str | None, kept: LedgerOptions, calls: CallOptions, *, study: str
) -> JudgeConnection:
    """The connection that the flags describe.

    Raises:
        ConfigError: a flag that makes no sense.
    """
    from assay.llm.ledger.tables import ledger_url

    if calls.transport not in TRANSPORTS:
        raise ConfigError(f"--transport {calls.transport}: expected one of {', '.join(TRANSPORTS)}")
    is_remote = TRANSPORTS[calls.transport].is_remote
    if base_url is None and is_remote:
        raise ConfigError("--base-url: saw none; expected the endpoint's URL, or --transport local and a model folder")
    if base_url is not None and not is_remote:
        raise ConfigError(f"--base-url {base_url}: saw it with --transport local; expected one of them; leave one out")
    fields = {**calls.reach(), "model": judge, **({} if base_url is None else {"base_url": base_url})}
    endpoint = validate(EndpointSpec, fields, "judge")
    return JudgeConnection(
        endpoint, ledger_url(kept.storage, kept.ledger), calls.max_usd, study, calls.retry_unreadable
    )


def checked_mode(mode: str) -> Mode:
    """The mode.

    Raises:
        ConfigError: another word.
    """
    if mode not in ("compat", "strict"):
        raise ConfigError(f"--mode {mode}: expected compat or strict")
    return cast("Mode", mode)


def llmbar_command(
    data: Sequence[Path],
    asking: PairwiseOptions,
    connection: JudgeConnection,
    out: Path,
    storage: str,
    tracking: str | None,
) -> None:
    """`assay metaeval llmbar`.

    Raises:
        InputError: bad data, an unknown strategy, or an endpoint that cannot be used or never replies.
        LimitReached: the dollars are used up; the same command continues.
    """
    from assay.judging.llmbar import judge_pairs, read_llmbar
    from assay.reports.judge_plots import runs_svg
    from assay.tracking.track_report import tracking_uri

    uri = tracking_uri(tracking, storage)
    checked = checked_mode(asking.mode)
    named = _strategies(asking, connection.judge, checked)
    sets = read_llmbar(data, asking.limit)
    _note_patterns(asking.patterns, named, connection.judge)
    check_writable(out)
    report, _ = judge_pairs(sets, named, connection, checked, console_progress())
    title = f"{connection.judge} on pairs with a gold choice, {asking.mode}"
    figure = write_out(out, report, runs_svg(report.runs, title))
    print_runs(report)
    print_unanswered(report.calls)
    typer.echo(written(out, figure))
    check_answered(report.calls)
    track_runs(report, connection, out, figure, uri, "metaeval-llmbar", asking.mode)


def _strategies(asking: PairwiseOptions, judge: str, mode: Mode) -> Sequence[NamedStrategy]:
    from assay.judging.llmbar import make_strategies

    return make_strategies(
        asking.strategies,
        judge,
        mode,
        prompts=asking.prompts,
        patterns=asking.patterns,
        structured=asking.structured,
    )


def _note_patterns(patterns: Path | None, named: Sequence[NamedStrategy], judge: str) -> None:
    without = [strategy.spelled for strategy in named if not strategy.has_own_patterns]
    if patterns and without:
        typer.echo(f"{patterns}: none for {judge} with {', '.join(without)}; those of the strategy are used", err=True)


def recorded_pairs_command(
    data: Sequence[Path], out: Path, recorded: RecordedVerdicts, asking: PairwiseOptions
) -> None:
    """`assay metaeval pairs` over recorded verdicts.

    Raises:
        InputError: bad data or a flag that makes no sense.
    """
    from assay.judging.pairs import FORMS, read_pair_files, recorded_report
    from assay.judging.replies import parse_range
    from assay.reports.judge_plots import runs_svg

    checked, form = checked_mode(asking.mode), recorded.form
    if form is not None and form not in FORMS:
        raise ConfigError(f"--form {form}: expected one of {', '.join(FORMS)}")
    files = read_pair_files(
        data,
        replies=recorded.replies,
        on=recorded.keys,
        form=cast("Any", form),
        scale=parse_range(recorded.scale),
        limit=asking.limit,
    )
    report = recorded_report(files, checked)
    figure = write_out(out, report, runs_svg(report.runs, f"recorded verdicts on pairs, {asking.mode}"))
    print_pairs(report.runs)
    typer.echo(written(out, figure))


def asked_pairs_command(
    data: Sequence[Path],
    asking: PairwiseOptions,
    connection: JudgeConnection,
    out: Path,
    storage: str,
    tracking: str | None,
    preference: str | None = None,
) -> None:
    """`assay metaeval pairs` with a judge that is asked now; with `preference`, the layout of the files' preferences.

    Raises:
        InputError: pairs without texts, an unknown strategy, or an endpoint that cannot be used or never replies.
        LimitReached: the dollars are used up; the same command continues.
    """
    from assay.judging.given_pairs import read_given_pairs
    from assay.judging.llmbar import judge_pairs
    from assay.judging.pairs import read_pair_files
    from assay.reports.judge_plots import runs_svg
    from assay.tracking.track_report import tracking_uri

    uri = tracking_uri(tracking, storage)
    checked = checked_mode(asking.mode)
    named = _strategies(asking, connection.judge, checked)
    left_out: dict[str, Mapping[str, int]] = {}
    if preference is None:
        sets = _with_texts(read_pair_files(data, limit=asking.limit))
    else:
        given = read_given_pairs(data, preference, asking.limit)
        sets = [part.pairs for part in given]
        left_out = {part.pairs.name: part.left_out for part in given}
    check_writable(out)
    report, _ = judge_pairs(sets, named, connection, checked, console_progress())
    report = replace(report, runs=tuple(replace(run, left_out=left_out.get(run.subset, {})) for run in report.runs))
    figure = write_out(out, report, runs_svg(report.runs, f"{connection.judge} on pairs, {asking.mode}"))
    print_pairs(report.runs)
    for name, reasons in left_out.items():
        if reasons:
            told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
            typer.echo(f"{name}: rows that make no pair: {told}")
    print_unanswered(report.calls)
    typer.echo(written(out, figure))
    check_answered(report.calls)
    track_runs(report, connection, out, figure, uri, "metaeval-pairs", asking.mode)


def _with_texts(files: Sequence[PairFile]) -> list[PairSet]:
    for file in files:
        if not file.has_texts:
            raise DataError(
                f"--data {file.pairs.name}: saw pairs without both texts; expected output_1 and output_2 (or "
                "response_A and _B, or answer_1 and _2) to show to the judge; add them, leave --judge out, or say "
                "--preference where the files are preferences"
            )
    return [file.pairs for file in files]


def replies_command(
    replies: Path, items: Path, on: Sequence[str], human: str, scale: str, group: str | None, out: Path
) -> None:
    """`assay metaeval replies`.

    Raises:
        InputError: bad data, or a flag that makes no sense.
    """
    from assay.judging.replies import parse_range, replies_report

    report = replies_report(replies, items, on, human, *parse_range(scale), group)
    write_json(out, report)
    typer.echo(
        f"{report['replies']}: {report['n']:,} of {report['asked']:,} replies scored, {report['unscored']:,} unscored "
        f"({report['completions']['unscored']:,} of {report['completions']['asked']:,} texts could not be read)"
    )
    if report["items_without_reply"]:
        typer.echo(f"{report['items_without_reply']:,} items have no reply")
    for name in ("spearman", "pearson", "kendall", "spearman_within_group"):
        typer.echo(f"{name:<22} {estimate_text(report[name])}")
    typer.echo(f"all figures: {out}")


def print_pairs(runs: Sequence[RunReport]) -> None:
    """A line per run: accuracy where gold has a winner, agreement ties included, position consistency."""
    typer.echo(
        f"{'pairs':<34} {'judge':<34} {'n':>5}  {'accuracy, %':<19} {'agreement, %':<19} {'both orders same, %':<19} "
        f"{'unscored':>8}"
    )
    for run in runs:
        same = None if run.gold_agreement is None else run.gold_agreement.same
        cells = [run.rates["accuracy"], same, run.rates["positional_agreement"]]
        told = "".join(f"{_percent(cell) if cell is not None and cell.is_defined else '–':<20}" for cell in cells)
        label = run.judge if run.strategy == "recorded" else f"{run.judge} {run.strategy}"
        typer.echo(f"{run.subset:<34} {label:<34} {run.n:>5}  {told}{run.coverage.num_unscored:>8}")


def print_unanswered(calls: Mapping[str, Any]) -> None:
    """A line on standard error per run and reason: what the endpoint said where a call brought no reply.

    Runs without any reply are left to `check_answered`.
    """
    for row in calls["unanswered"]:
        if not row["is_unanswered"]:
            for reason, count in row["by_reason"].items():
                told = f"{row['of']}: {count:,} of {row['asked']:,} calls brought no reply, {reason}"
                typer.echo(plain_line(f"{told}: {row['details'][reason]}"), err=True)
    if calls["thinking"]["replies"]:
        typer.echo(thinking_text(**calls["thinking"]), err=True)


def thinking_text(replies: int, chars: int) -> str:
    """What was taken off before replies were read."""
    return f"{replies:,} replies held thinking ({chars:,} characters), which was taken off before they were read"


def check_writable(out: Path) -> None:
    """Find out before the first call whether the report can be written.

    Raises:
        StorageError: it cannot.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable path") from None
    if out.stat().st_size == 0:
        out.unlink()


def print_runs(report: PairsReport) -> None:
    """A line per run, then averages over subsets and differences between strategies."""
    typer.echo(
        f"{'subset':<20} {'strategy':<26} {'n':>5}  {'accuracy, %':<20} {'both orders same, %':<20} {'none':>6} "
        f"{'ties':>6} {'kappa':>6}"
    )
    for run in report.runs:
        rates, kappa = run.rates, run.kappa
        typer.echo(
            f"{run.subset:<20} {run.strategy:<26} {run.n:>5}  "
            f"{_percent(rates['accuracy']):<20} {_percent(rates['positional_agreement']):<20} "
            f"{_share(rates['none_rate']):>6} {_share(rates['tie_rate']):>6} "
            + (f"{kappa.value:>6.3f}" if kappa.is_defined else "     –")
        )
        if run.coverage.unscored:
            told = ", ".join(f"{count} {reason}" for reason, count in run.coverage.unscored.items())
            typer.echo(f"{'':<20} {run.coverage.scored} of {run.coverage.asked} pairs have both verdicts: {told}")
    for average in report.averages:
        if average.num_subsets > 1:
            typer.echo(
                f"{'mean of subsets':<20} {average.strategy:<26} {average.n:>5}  {_percent(average.macro_accuracy)}\n"
                f"{'all pairs':<20} {average.strategy:<26} {average.n:>5}  {_percent(average.micro_accuracy)}"
            )
    if report.comparisons:
        typer.echo("differences in accuracy, with p adjusted by Holm over all rows (permutation; McNemar)")
    for row in report.comparisons:
        tests = ", ".join(_p(test) for test in (row.permutation, row.mcnemar))
        difference = estimate_text(row.difference.as_json())
        typer.echo(f"{row.subset:<20} {row.first} - {row.second}: {difference}  p {tests}")

    if report.macro_comparisons:
        typer.echo("the same as means over subsets, each subset alike; a family of its own under Holm")
    for macro in report.macro_comparisons:
        pair, difference = f"{macro.first} - {macro.second}", estimate_text(macro.difference.as_json())
        typer.echo(f"{'mean of subsets':<20} {pair}: {difference}  p {_p(macro.test)}")


def _p(test: Tested) -> str:
    return "–" if test.p_holm is None else f"{test.p_holm:.3g}"


def track_runs(
    report: PairsReport,
    connection: JudgeConnection,
    out: Path,
    figure: Path,
    uri: str | None,
    experiment: str,
    mode: str,
) -> None:
    """A child run per run of the report."""
    from assay.tracking.track_report import track_report

    if uri is None:
        return
    params = {
        "judge": connection.judge,
        "endpoint": report.calls["endpoint"],
        "mode": mode,
        "subsets": ", ".join(dict.fromkeys(run.subset for run in report.runs)),
        "strategies": ", ".join(dict.fromkeys(run.strategy for run in report.runs)),
    }
    children = []
    for run in report.runs:
        told = run.as_json()
        numbers = {name: told[name] for name in run.rates} | {"kappa": told["kappa"]["value"], "n": run.n}
        for name in ("accuracy", "positional_agreement"):
            numbers |= {f"{name}.{end}": told["intervals"][name][end] for end in ("low", "high")}
        named = {"subset": run.subset, "judge": run.judge, "strategy": run.strategy, "mode": run.mode}
        children.append((f"{run.subset} {run.strategy} {run.mode}", named, numbers))
    files = {out.name: out.read_bytes(), figure.name: figure.read_bytes()}
    track_report(uri, experiment, f"{connection.judge} {mode}", params, children, files)
    typer.echo(f"MLflow: {uri}")


def _percent(estimate: Estimate) -> str:
    if not estimate.is_defined:
        return f"– ({estimate.reason or 'undefined'})"
    if math.isnan(estimate.low):
        return f"{100 * estimate.value:.1f}"
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f}" if estimate.is_defined else "–"
