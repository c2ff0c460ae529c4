"""Recorded raw replies against human scores: our own parser reads them, whatever score the file may hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.errors import ConfigError, DataError
from assay.fingerprint import file_hash
from assay.metaeval.score_table.report import agreement
from assay.metaeval.statistics.estimate import Estimate
from assay.row_files import Row, finite, join_key, lookup, read_rows
from assay.scoring.judges.parsing import parse_score
from assay.scoring.judges.parsing.thinking import mean_spoken

SINGLE, SEVERAL = "completion", "completions"


def replies_report(
    replies: Path, items: Path, on: Sequence[str], human: str, low: float, high: float, group: str | None = None
) -> dict[str, Any]:
    """How a judge's recorded replies agree with human scores.

    Args:
        replies: rows with `completion` (a raw reply) or `completions` (several: the mean of those that parse).
        items: rows with the human score; one per key.
        on: fields that a reply and its item share.
        human: field of the human score, at the top of an item or inside its `human`.
        low: lower end of the judge's scale.
        high: upper end.
        group: field of the document or dialogue that items are about: unit of the intervals, and what
            `spearman_within_group` looks inside.

    Returns:
        `asked` (replies whose item has a human score) = `n` + `unscored`; `spearman`, `pearson`, `kendall` and
        `spearman_within_group`, each with `value`, `low`, `high`; what was left out, and why.

    Raises:
        ConfigError: no key field, or an empty scale.
        DataError: a file cannot be read, a field is missing, an item comes twice or a reply has no item.
    """
    if not on:
        raise ConfigError(
            "--on: saw no field; expected those that a reply and its item share, as in --on doc_id,system"
        )
    if not low < high:
        raise ConfigError(f"--range {low:g},{high:g}: expected LO,HI with LO below HI, as in --range 1,5")
    rows = read_rows(replies)
    by_key = _by_key(read_rows(items), on, items)
    _check_field(by_key, human, items)
    scores, gold, groups = [], [], []
    used: set[tuple[str, ...]] = set()
    num_texts = num_unread = 0
    for number, row in enumerate(rows):
        key = join_key(row, on, f"{replies}: row {number}")
        if key not in by_key:
            raise DataError(f"{replies}: row {number}: saw no item with {_named(on, key)} in {items}; check --on")
        item = by_key[key]
        used.add(key)
        texts = _texts(row, replies, number)
        read = mean_spoken(texts, lambda text: parse_score(text, low, high))
        num_texts += len(texts)
        num_unread += len(texts) - read.num_read
        scores.append(read.value)
        gold.append(finite(lookup(item, human)))
        if group is not None:
            value = lookup(item, group)
            value = lookup(row, group) if value is None else value
            if value is None:
                raise ConfigError(f"--group {group}: saw no such field; expected one of {', '.join(map(str, item))}")
            groups.append(str(value))
    seed = f"{file_hash(replies)}\0{file_hash(items)}\0{human}"
    report = agreement(scores, gold, groups if group is not None else None, seed_key=seed)
    if group is None:
        report["spearman_within_group"] = Estimate.undefined("no --group").as_json()
    return {
        "replies": replies.name,
        "human": human,
        "range": [low, high],
        "group": group,
        **report,
        "without_human": sum(math.isnan(value) for value in gold),
        "items_without_reply": len(by_key) - len(used),
        "completions": {"asked": num_texts, "scored": num_texts - num_unread, "unscored": num_unread},
    }


def parse_range(text: str) -> tuple[float, float]:
    """LO,HI.

    Raises:
        ConfigError: no two numbers.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--range {text}: expected LO,HI, as in --range 1,5") from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"--range {text}: expected two finite numbers, as in --range 1,5")
    return low, high


def _texts(row: Mapping[str, Any], path: Path, number: int) -> list[str | None]:
    if isinstance(row.get(SEVERAL), list):
        return [text if isinstance(text, str) else None for text in row[SEVERAL]]
    if SINGLE in row and (row[SINGLE] is None or isinstance(row[SINGLE], str)):
        return [row[SINGLE]]
    raise DataError(
        f"{path}: row {number}: saw fields {', '.join(map(str, row))}; expected `completion` with a raw reply, or "
        "`completions` with several; rename the field"
    )


def _by_key(rows: Sequence[Row], on: Sequence[str], path: Path) -> dict[tuple[str, ...], Row]:
    found: dict[tuple[str, ...], Row] = {}
    for number, row in enumerate(rows):
        key = join_key(row, on, f"{path}: row {number}")
        if key in found:
            raise DataError(f"{path}: row {number}: saw {_named(on, key)} a second time; add a field to --on")
        found[key] = row
    return found


def _check_field(by_key: Mapping[tuple[str, ...], Row], human: str, path: Path) -> None:
    if any(not math.isnan(finite(lookup(row, human))) for row in by_key.values()):
        return
    first = next(iter(by_key.values()))
    inner = first["human"] if isinstance(first.get("human"), Mapping) else {}
    known = ", ".join(map(str, [*first, *inner]))
    raise DataError(f"--human {human}: saw no number under it in {path}; expected one of the fields {known}")


def _named(on: Sequence[str], key: Sequence[str]) -> str:
    return ", ".join(f"{field}={value}" for field, value in zip(on, key, strict=True))
