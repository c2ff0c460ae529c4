"""`assay score`: a file of predictions in, the same rows with a field per scorer out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from assay.config import apply_overrides, validate
from assay.errors import ConfigError, DataError, StorageError
from assay.metaeval.rates import wilson
from assay.records import TEST, Example, Outcome, Rating
from assay.scoring.protocol import ScoreRequest
from assay.scoring.table import make_scorer, scorer_names
from assay.studies.spec import JUDGE, JudgeConfig
from assay.tasks.catalog import get_task

if TYPE_CHECKING:
    from assay.scoring.judges.calls import JudgeReply

MAX_LINE_CHARS = 10_000_000
MODES = ("strict", "compat")


def score_command(
    predictions: Path,
    scorers: Sequence[str],
    out: Path,
    task: str,
    mode: str,
    overrides: Sequence[str],
    storage: str,
) -> None:
    """Score every row and print a table of means with coverage.

    Raises:
        ConfigError: an unknown scorer, task or mode.
        DataError: a line that is no JSON object, or lacks `prediction`; nothing is written then.
    """
    if mode not in MODES:
        raise ConfigError(f"--mode {mode}: expected strict or compat")
    names = [name.strip() for name in scorers if name.strip()]
    unknown = sorted(set(names) - {*scorer_names(), JUDGE})
    if unknown or not names:
        raise ConfigError(f"--scorers: saw {unknown or 'none'}; expected some of {', '.join([*scorer_names(), JUDGE])}")
    rows = read_rows(predictions)
    requests = [request_of(row, number, task) for number, row in enumerate(rows, 1)]
    judge = validate(JudgeConfig, apply_overrides({}, overrides).get("judge", {}), "--set judge") if overrides else None
    outcomes: dict[str, list[Outcome]] = {}
    for name in names:
        if name == JUDGE:
            outcomes[name] = _ask_judge(requests, judge or JudgeConfig(), mode, storage)
        else:
            outcomes[name] = make_scorer(name, mode).score(requests)  # type: ignore[arg-type]
    summary = [summarise(name, part) for name, part in outcomes.items()]
    lines = [
        json.dumps({**row, **_fields(number, outcomes)}, ensure_ascii=False) + "\n" for number, row in enumerate(rows)
    ]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(lines), encoding="utf-8")
        out.with_suffix(".summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write ({error.strerror}); expected a writable path") from error
    typer.echo(f"{'scorer':<14} {'mean':>7}  {'95 % interval':<18} {'asked':>8} {'scored':>8} {'unscored':>8}")
    for row in summary:
        mean = "–" if row["mean"] is None else f"{row['mean']:.4f}"
        interval = "–" if row["low"] is None else f"[{row['low']:.4f}, {row['high']:.4f}]"
        typer.echo(
            f"{row['scorer']:<14} {mean:>7}  {interval:<18} {row['asked']:>8,} {row['scored']:>8,} "
            f"{row['asked'] - row['scored']:>8,}" + (f"  {row['reasons']}" if row["reasons"] else "")
        )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a JSONL file.

    Raises:
        DataError: no such file, no rows, or a line that is no object; names file and line.
    """
    if not path.is_file():
        raise DataError(f"--predictions {path}: saw no such file; expected JSONL; check the path")
    rows = []
    with path.open(encoding="utf-8", errors="strict") as file:
        try:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                if len(line) > MAX_LINE_CHARS:
                    raise DataError(
                        f"{path}:{number}: saw {len(line):,} characters; expected at most {MAX_LINE_CHARS:,}"
                    )
                rows.append(_object(line, path, number))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: saw a byte that is no UTF-8 ({error.reason}); expected UTF-8 text") from None
    if not rows:
        raise DataError(f"{path}: saw no rows; expected at least one JSON object")
    return rows


def request_of(row: Mapping[str, Any], number: int, task: str) -> ScoreRequest:
    """A row as scorers take it.

    Raises:
        DataError: `prediction` is missing or is no text.
    """
    if not isinstance(row.get("prediction"), str):
        raise DataError(f"row {number}: saw {row.get('prediction')!r} as prediction; expected text; mend the row")
    name = str(row.get("task") or task)
    example = Example(
        example_id=str(row.get("id", row.get("example_id", number))),
        task=name,
        split=TEST,
        instruction=str(row.get("instruction", "")),
        input=str(row.get("input", "")),
        reference=str(row.get("reference", row.get("output", ""))),
        meta_json=json.dumps(row["meta"]) if "meta" in row else "",
    )
    return ScoreRequest(example, get_task(name), row["prediction"])


def summarise(name: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Mean with its interval over items, and what is missing and why."""
    values = [outcome.value for outcome in outcomes if isinstance(outcome, Rating)]
    reasons: dict[str, int] = {}
    for outcome in outcomes:
        if not isinstance(outcome, Rating):
            reasons[outcome.reason] = reasons.get(outcome.reason, 0) + 1
    mean = sum(values) / len(values) if values else None
    low, high = _interval(values, 0.0, 1.0)
    return {
        "scorer": name,
        "mean": mean,
        "low": low,
        "high": high,
        "asked": len(outcomes),
        "scored": len(values),
        "reasons": dict(sorted(reasons.items())),
    }


def _interval(values: Sequence[float], low: float, high: float) -> tuple[float | None, float | None]:
    """Wilson's interval for scores of 0 and 1, the normal one, kept in range, for others; none below two rows."""
    count = len(values)
    if count < 2:
        return None, None
    mean = sum(values) / count
    if set(values) <= {0.0, 1.0}:
        estimate = wilson(sum(values), count)
        return estimate.low, estimate.high
    half = 1.959964 * (sum((value - mean) ** 2 for value in values) / (count - 1) / count) ** 0.5
    return max(low, mean - half), min(high, mean + half)


def _fields(number: int, outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, part in outcomes.items():
        outcome = part[number]
        if isinstance(outcome, Rating):
            fields[name] = outcome.value
        else:
            fields[name] = None
            fields[f"{name}_unscored"] = outcome.reason
    return fields


def _object(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(
            f"{path}:{number}: saw {line[:60]!r}; expected a JSON object; mend or remove the line"
        ) from None
    if not isinstance(value, dict):
        raise DataError(f"{path}:{number}: saw a {type(value).__name__}; expected a JSON object; mend the line")
    return value


def _ask_judge(requests: Sequence[ScoreRequest], judge: JudgeConfig, mode: str, storage: str) -> list[Outcome]:
    """The judge's ratings, in one process and without a cluster; replies are kept in the storage's ledger."""
    from assay.commands.study import embedded_judge
    from assay.llm.gateway import open_gateway
    from assay.llm.ledger_tables import default_ledger_url
    from assay.scoring.jobs import judge_instance
    from assay.scoring.judges.calls import JudgeCall, run_protocol, to_request
    from assay.studies.judge_endpoint import endpoint_of
    from assay.studies.scores import judge_protocol

    protocol = judge_protocol(judge, mode)  # type: ignore[arg-type]
    with ExitStack() as stack:
        embedded = embedded_judge()
        url = stack.enter_context(embedded.start()) if judge.is_embedded else None
        endpoint = endpoint_of(judge, embedded_url=url, embedded_name=embedded.name)

        async def ask_all() -> list[Outcome]:
            async with open_gateway(
                endpoint,
                ledger_url=default_ledger_url(storage),
                study="score",
                judge=judge.model,
                limiter="process",
            ) as gateway:
                room = asyncio.Semaphore(len(requests) if judge.transport == "batch" else judge.max_concurrency)

                async def ask(call: JudgeCall) -> JudgeReply:
                    return await gateway.ask(to_request(call, protocol.name))

                async def rate(request: ScoreRequest) -> Outcome:
                    async with room:
                        instance = judge_instance(request.example, request.prediction)
                        return (await run_protocol(protocol, instance, ask)).outcome()

                return await asyncio.gather(*(rate(request) for request in requests))

        return asyncio.run(ask_all())
