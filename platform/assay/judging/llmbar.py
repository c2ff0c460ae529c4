"""Judging LLMBar-format data: files in, one report out.

A file is a list of {input, output_1, output_2, label}; a folder holds one file per subset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.errors import ConfigError, DataError
from assay.hooks import Progress
from assay.judging.accuracy import Judged, PairItem, RunReport, Verdicts, run_report
from assay.judging.asking import JudgeConnection, Unanswered, Work, ask_judge, calls_of
from assay.judging.comparisons import PairsReport, averages, comparisons, macro_comparisons
from assay.records import Mode
from assay.row_files import expand, read_rows, subset_names, text_field
from assay.scoring.judges.calls import JudgeProtocol
from assay.scoring.judges.judgements import PairVerdict
from assay.scoring.judges.parsing.choices import Patterns
from assay.scoring.judges.protocols.pairwise import (
    STRATEGIES,
    PairInstance,
    PairwiseJudge,
    get_strategy,
    patterns_from_configs,
)
from assay.scoring.judges.table import SHIPPED_PROTOCOLS


@dataclass(frozen=True)
class PairSet:
    """The pairs of one subset."""

    name: str
    items: tuple[PairItem, ...]


@dataclass(frozen=True)
class NamedStrategy:
    """A strategy as the user spelled it, ready to judge."""

    spelled: str
    protocol: JudgeProtocol[PairInstance, PairVerdict]
    has_own_patterns: bool = False
    """Whether the user's patterns name it."""


def read_llmbar(paths: Sequence[Path], limit: int | None = None) -> list[PairSet]:
    """The subsets of all files, at most `limit` pairs of each.

    Raises:
        DataError: a file is missing or a row is no such pair; names file and row.
    """
    files = expand(paths)
    return [
        PairSet(name, tuple(_item(row, f"{file}: row {number}") for number, row in enumerate(read_rows(file)[:limit])))
        for name, file in zip(subset_names(files), files, strict=True)
    ]


def make_strategies(
    names: Sequence[str],
    judge: str,
    mode: Mode,
    *,
    prompts: Path | None = None,
    patterns: Path | None = None,
    structured: bool = False,
) -> list[NamedStrategy]:
    """The strategies by name, either spelling, each once.

    Args:
        names: as the user gave them.
        judge: whose patterns are looked up in `patterns`.
        mode: as published, or done right.
        prompts: a folder of prompts in place of ours.
        patterns: a file of patterns per (judge, strategy), in the form of LLMBar's evaluator configurations.
        structured: ask for a JSON schema.

    Raises:
        ConfigError: an unknown strategy, a prompt or pattern that cannot be used.
    """
    configs = read_patterns(patterns) if patterns else {}
    made: dict[str, NamedStrategy] = {}
    for name in names:
        spelled = name.strip()
        if spelled.lower() == "chateval":
            found: dict[str, Patterns] = {}
        else:
            get_strategy(spelled)
            found = patterns_from_configs(configs, judge, spelled)
        protocol = SHIPPED_PROTOCOLS.pairwise(spelled, mode, prompts_dir=prompts, patterns=found)
        if structured:
            protocol = _structured(protocol, spelled)
        protocol.identity()  # reads every prompt file, so that a missing one is told before the first call
        made.setdefault(protocol.name, NamedStrategy(spelled, protocol, bool(found)))
    if not made:
        raise ConfigError(f"--strategy: saw none; expected some of {', '.join([*STRATEGIES, 'chateval'])}")
    return list(made.values())


def _structured(
    protocol: JudgeProtocol[PairInstance, PairVerdict], spelled: str
) -> JudgeProtocol[PairInstance, PairVerdict]:
    if not isinstance(protocol, PairwiseJudge):
        raise ConfigError(
            f"--structured with --strategy {spelled}: saw a protocol without a schema; expected one of "
            f"{', '.join(STRATEGIES)}; leave out one of them"
        )
    return replace(protocol, structured=True)


def read_patterns(path: Path) -> Mapping[str, object]:
    """A patterns file.

    Raises:
        ConfigError: it cannot be read or holds no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"--patterns {path}: cannot be read ({reason}); expected JSON of judge/strategy to calls"
        ) from None
    if not isinstance(value, dict):
        raise ConfigError(
            f"--patterns {path}: saw a {type(value).__name__}; expected an object of judge/strategy to calls"
        )
    return value


def judge_pairs(
    sets: Sequence[PairSet],
    strategies: Sequence[NamedStrategy],
    connection: JudgeConnection,
    mode: Mode,
    progress: Progress,
) -> tuple[PairsReport, list[Judged]]:
    """Ask about every pair with every strategy.

    Returns:
        The report, and the verdicts behind it.

    Raises:
        EndpointError: nothing answers, or key or model are refused.
        LimitReached: the dollars are used up.
    """
    places = [(part, strategy) for part in sets for strategy in strategies]
    works = [
        Work(
            strategy.protocol,
            [PairInstance(item.input, item.output_1, item.output_2) for item in part.items],
            f"{part.name} with {strategy.spelled}",
        )
        for part, strategy in places
    ]
    asked = ask_judge(connection, works, mode, progress)
    runs = [
        Judged(part.name, connection.judge, strategy.spelled, mode, part.items, [Verdicts.of(v) for v in verdicts])
        for (part, strategy), verdicts in zip(places, asked.judgements, strict=True)
    ]
    reports = [
        _asked_report(run, missing, strategy.protocol)
        for run, missing, (_, strategy) in zip(runs, asked.unanswered, places, strict=True)
    ]
    compared = tuple(averages(runs)), tuple(comparisons(runs)), tuple(macro_comparisons(runs))
    return PairsReport(tuple(reports), *compared, calls_of(asked)), runs


def _asked_report(run: Judged, missing: Unanswered, protocol: JudgeProtocol[Any, Any]) -> RunReport:
    report = run_report(run)
    return replace(report, coverage=report.coverage.with_details(missing), protocol=protocol.identity())


def _item(row: Mapping[str, Any], where: str) -> PairItem:
    question, first, second = (text_field(row, (name,), where) for name in ("input", "output_1", "output_2"))
    label = row.get("label")
    if str(label) not in ("1", "2"):
        raise DataError(f"{where}: saw label {label!r}; expected 1 or 2, the better output; fix the row")
    return PairItem(question, first, second, int(str(label)))
