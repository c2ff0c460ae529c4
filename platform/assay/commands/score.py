"""`assay score`: a file of predictions in, the same rows with a field per scorer out."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from assay.commands.known import registry_of, study_beside
from assay.commands.options import ScoreOptions
from assay.commands.prediction_rows import PredictionRow, prediction_rows
from assay.config import apply_overrides, validate
from assay.errors import ConfigError, DataError, StorageError, fitted
from assay.metaeval.statistics.rates import wilson
from assay.records import Outcome, Rating
from assay.scoring.jobs import CUT, MODEL_ROWS, RATING_DECIMALS
from assay.scoring.protocol import Cost, ScoreRequest, ScorerSpec
from assay.studies.prompt_file import with_prompt_read
from assay.studies.spec import JUDGE, JudgeConfig

if TYPE_CHECKING:
    from assay.judging.asking import Unanswered
    from assay.records import Mode
    from assay.scoring.judges.calls import JudgeReply
    from assay.studies.spec import Study

MODES = ("strict", "compat")
JUDGE_ROWS = 4096
"""Rows under judgement at a time: many, so that few wait for the last of their block."""
ASSAY = "assay"
"""Origin of what ships."""
COSTS: Mapping[Cost, str] = {
    "cpu": "arithmetic on the CPU",
    "model": "a model's forward pass, CPU or GPU",
    "call": "an LLM call, paid by the token",
}

Score = Callable[[Sequence[ScoreRequest]], list[Outcome]]


def score_command(predictions: Path, scorers: Sequence[str], out: Path, how: ScoreOptions) -> None:
    """Score every row and print a table of means with coverage. Rows stream through: memory does not grow with them.

    Raises:
        ConfigError: an unknown scorer, task or mode.
        DataError: a row that cannot be scored; names file and line, and nothing is written then.
        StorageError: `out` cannot be written.
        EndpointError: the judge gave no reply at all; what else was scored is written.
        StageError: none of its replies could be read; likewise.
        DataError: a scorer had nothing to score in any row; likewise.
    """
    mode = how.mode
    if mode not in MODES:
        raise ConfigError(f"--mode {mode}: expected strict or compat")
    study = study_beside(how.study)
    known = registry_of(study)
    names = list(dict.fromkeys(name.strip() for name in scorers if name.strip()))
    unknown = sorted(set(names) - {*known.scorers.names, JUDGE})
    if unknown or not names:
        listed = ", ".join([*known.scorers.names, JUDGE])
        raise ConfigError(f"--scorers: saw {unknown or 'none'}; expected some of {listed}")
    params = scorer_params(how.overrides or [], names)
    specs = {name: known.scorers.spec(name, mode, **params.get(name, {})) for name in names if name != JUDGE}  # type: ignore[arg-type]
    if out.is_dir():
        raise StorageError(f"--out {out}: saw a folder; expected a file; name a file in it")
    next(prediction_rows(predictions, how.task, known.tasks))  # refused before a model is loaded
    score_by: dict[str, Score] = {name: known.scorers.make(spec).score for name, spec in specs.items()}
    unanswered: Unanswered | None = None
    tallies = {name: Tally(*((specs[name].low, specs[name].high) if name in specs else (0.0, 1.0))) for name in names}
    for name, spec in specs.items():
        tallies[name].sees_beginnings = spec.cost == "model"
    with ExitStack() as stack:
        if JUDGE in names:
            told = {"retry_unreadable": how.retry_unreadable} if how.retry_unreadable else {}
            asked = with_prompt_read({"judge": params.get(JUDGE, {})}, Path.cwd())["judge"]
            judge = validate(JudgeConfig, {**asked, **told}, "--set judge")
            score_by[JUDGE], unanswered, endpoint = stack.enter_context(_asked_judge(judge, mode, how.storage, study))  # type: ignore[arg-type]
        kept = [JUDGE] if how.keep_replies else []
        lines = _scored_lines(
            prediction_rows(predictions, how.task, known.tasks),
            score_by,
            tallies,
            JUDGE_ROWS if JUDGE in names else MODEL_ROWS,
            kept,
        )
        _write_lines(out, lines)
    summary = [tallies[name].summary(name) for name in names]
    _write_text(out.with_suffix(".summary.json"), json.dumps(summary, indent=2) + "\n")
    _print_summary(summary)
    if unanswered is not None:
        from assay.commands.judges.reports import thinking_text
        from assay.judging.asking import check_answered

        if unanswered.with_thinking:
            typer.echo(thinking_text(unanswered.with_thinking, unanswered.thinking_chars), err=True)
        check_answered({"endpoint": endpoint, "unanswered": [unanswered.told()]})
    if not any(tally.scored for tally in tallies.values()):
        reasons = sum((Counter(tally.reasons) for tally in tallies.values()), Counter[str]())
        raise DataError(
            f"{predictions}: saw nothing to score in any of {max(t.asked for t in tallies.values()):,} rows "
            f"({', '.join(f'{reason}: {count:,}' for reason, count in reasons.most_common(3))}); expected what the "
            "scorers compare with; add the fields, or name other scorers"
        )


def list_command(as_json: bool, study: str | None = None) -> None:
    """Every scorer with what it is: kind, version, direction, range, what a row costs, who brings it, parameters."""
    judge = ScorerSpec(name=JUDGE, kind="judge", cost="call", params={"model": JudgeConfig().model})
    table = registry_of(study_beside(study)).scorers
    specs = [*(table.spec(name) for name in table.names), judge]
    origins = {name: table.origin(name) for name in table.names} | {JUDGE: ASSAY}
    if as_json:
        typer.echo(
            json.dumps([{**spec.model_dump(mode="json"), "origin": origins[spec.name]} for spec in specs], indent=2)
        )
        return
    typer.echo(f"{'scorer':<14}{'kind':<11}{'version':<9}{'better':<8}{'range':<13}a row costs")
    for spec in specs:
        low = "-inf" if spec.low is None else f"{spec.low:g}"
        high = "inf" if spec.high is None else f"{spec.high:g}"
        shown = ", ".join(f"{name}={'-' if value is None else value}" for name, value in spec.params.items())
        name = _in_column(spec.name)
        what = f"{name:<14}{spec.kind:<11}{spec.version:<9}{spec.direction:<8}{f'{low} .. {high}':<13}"
        typer.echo(f"{what}{COSTS[spec.cost]}")
        if origins[spec.name] != ASSAY:
            typer.echo(fitted(f"{'':<14}from {origins[spec.name]}", 14))
        if shown:
            typer.echo(fitted(f"{'':<14}{shown}", 14))


@dataclass
class Tally:
    """Running sums of one scorer's outcomes."""

    low: float | None
    high: float | None
    asked: int = 0
    scored: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared distances from the mean (Welford)."""
    is_binary: bool = True
    sees_beginnings: bool = False
    """Whether the scorer is an encoder, which cuts long texts and says so."""
    num_cut: int = 0
    """Scored rows of which it saw the beginning of a text alone."""
    reasons: dict[str, int] = field(default_factory=dict)

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Some more outcomes."""
        self.asked += len(outcomes)
        for outcome in outcomes:
            if isinstance(outcome, Rating):
                self.scored += 1
                distance = outcome.value - self.mean
                self.mean += distance / self.scored
                self.squares += distance * (outcome.value - self.mean)
                self.num_cut += self.sees_beginnings and outcome.detail.startswith(CUT)
                self.is_binary = self.is_binary and outcome.value in (0.0, 1.0)
            else:
                self.reasons[outcome.reason] = self.reasons.get(outcome.reason, 0) + 1

    def summary(self, name: str) -> dict[str, Any]:
        """Mean with its interval over items, and what is missing and why."""
        low, high = self._interval()
        return {
            "scorer": name,
            "mean": self.mean if self.scored else None,
            "low": low,
            "high": high,
            "asked": self.asked,
            "scored": self.scored,
            "reasons": dict(sorted(self.reasons.items())),
            **({"num_cut": self.num_cut} if self.num_cut else {}),
        }

    def _interval(self) -> tuple[float | None, float | None]:
        """Wilson's interval for scores of 0 and 1, Student's, kept in range, for others.

        None below two rows, and where all scores are equal: how far others would lie from them nothing shows.
        """
        if self.scored < 2:
            return None, None
        if self.is_binary:
            estimate = wilson(round(self.mean * self.scored), self.scored)
            return estimate.low, estimate.high
        if self.squares < 1e-18 * self.scored:
            return None, None
        from scipy.stats import t

        half = float(t.ppf(0.975, self.scored - 1)) * (self.squares / (self.scored - 1) / self.scored) ** 0.5
        low, high = self.mean - half, self.mean + half
        return (low if self.low is None else max(self.low, low)), (high if self.high is None else min(self.high, high))


def scorer_params(overrides: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """--set SCORER.PARAMETER=VALUE by scorer."""
    found: dict[str, dict[str, Any]] = {}
    for name, params in apply_overrides({}, overrides).items():
        if name not in names or not isinstance(params, dict):
            raise ConfigError(
                f"--set {name}: expected SCORER.PARAMETER=VALUE for one of --scorers, as in --set sbert.model=FOLDER"
            )
        found[name] = params
    return found


def _scored_lines(
    rows: Iterator[PredictionRow],
    score_by: Mapping[str, Score],
    tallies: Mapping[str, Tally],
    block_rows: int,
    kept: Sequence[str] = (),
) -> Iterator[str]:
    """Rows with their scores, block by block, as JSON lines; of the scorers `kept` with their raw replies."""
    while block := list(islice(rows, block_rows)):
        requests = [request for _, request in block]
        outcomes = {name: score(requests) for name, score in score_by.items()}
        for name, part in outcomes.items():
            tallies[name].take(part)
        for place, (row, _) in enumerate(block):
            yield json.dumps({**row, **_fields(place, outcomes, kept)}, ensure_ascii=False) + "\n"


def _write_lines(out: Path, lines: Iterator[str]) -> None:
    """All lines or no file: they go to a neighbour, which takes the name when it is whole."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        partial.replace(out)
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable path") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot write ({error.strerror}); expected a writable path") from error


def _print_summary(summary: Sequence[Mapping[str, Any]]) -> None:
    typer.echo(f"{'scorer':<14} {'mean':>9}  {'95 % interval':<24} {'asked':>11} {'scored':>11} {'unscored':>11}")
    for row in summary:
        mean = "–" if row["mean"] is None else f"{row['mean']:.4f}"
        interval = "–" if row["low"] is None else f"[{row['low']:.4f}, {row['high']:.4f}]"
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in row["reasons"].items())
        typer.echo(
            f"{_in_column(row['scorer']):<14} {mean:>9}  {interval:<24} {row['asked']:>11,} {row['scored']:>11,} "
            f"{row['asked'] - row['scored']:>11,}"
        )
        if reasons:
            typer.echo(fitted(f"{'':<14} unscored: {reasons}", 15))
        if row.get("num_cut"):
            typer.echo(f"{'':<14} {row['num_cut']:,} of {row['scored']:,} rows hold a text that the encoder saw cut")


def _in_column(name: str) -> str:
    """A name for a column of 14: a longer one takes a line of its own."""
    return name if len(name) < 14 else f"{name}\n{'':<14}"


def _fields(number: int, outcomes: Mapping[str, Sequence[Outcome]], kept: Sequence[str] = ()) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, part in outcomes.items():
        outcome = part[number]
        if isinstance(outcome, Rating):
            fields[name] = round(outcome.value, RATING_DECIMALS)
        else:
            fields[name] = None
            fields[f"{name}_unscored"] = outcome.reason
        if name in kept:
            fields[f"{name}_reply"] = outcome.detail
    return fields


@contextmanager
def _asked_judge(
    judge: JudgeConfig, mode: Mode, storage: str, study: Study | None
) -> Iterator[tuple[Score, Unanswered, str]]:
    """A function from requests to the judge's ratings, what it got no reply to, and the endpoint's name.

    In one process, without a cluster; the ledger keeps replies. Rows of tasks with criteria in the study are rated by
    these.
    """
    from assay.cluster.joining import cluster_of_this_job
    from assay.commands.study import embedded_judge
    from assay.judging.asking import Unanswered
    from assay.llm.ledger.tables import ledger_url
    from assay.llm.opening import open_gateway
    from assay.scoring.jobs import judge_instance
    from assay.scoring.judges.calls import JudgeCall, run_protocol, to_request
    from assay.stoppable import run_stoppable, settled
    from assay.studies.judge_endpoint import endpoint_of
    from assay.studies.scores import criteria_judges, judge_protocol

    own = {} if study is None else criteria_judges(study)
    protocol = judge_protocol(judge, mode, registry_of(study).protocols, own)
    with ExitStack() as stack:
        stack.enter_context(cluster_of_this_job())
        embedded = embedded_judge()
        url = stack.enter_context(embedded.start()) if judge.is_embedded else None
        endpoint = endpoint_of(judge, embedded_url=url, embedded_name=embedded.name)

        unanswered = Unanswered(protocol.name, mode)

        async def ask_all(requests: Sequence[ScoreRequest]) -> list[Outcome]:
            async with open_gateway(
                endpoint,
                ledger_url=ledger_url(storage),
                budget_usd=judge.max_usd,
                study="score",
                judge=judge.model,
            ) as gateway:
                room = asyncio.Semaphore(judge.kind.width(len(requests), judge.max_concurrency))

                async def ask(call: JudgeCall) -> JudgeReply:
                    reply = await gateway.ask(to_request(call, protocol.name))
                    unanswered.count(reply, unanswered.asked)
                    return reply

                async def rate(request: ScoreRequest) -> Outcome:
                    async with room:
                        instance = judge_instance(request.example, request.prediction)
                        one_leads = judge.kind.one_leads
                        judgement = await run_protocol(protocol, instance, ask, one_leads=one_leads)
                        unanswered.judged(judgement)
                        return judgement.outcome()

                return await settled((rate(request) for request in requests), gateway.settle)

        yield lambda requests: run_stoppable(ask_all(requests)), unanswered, endpoint.endpoint_name
