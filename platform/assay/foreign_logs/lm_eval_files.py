"""lm-evaluation-harness's sample files, `samples_<task>_<date>.jsonl`: one row per item and filter."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

from assay.errors import ConfigError
from assay.foreign_logs.logs import ForeignLog, Scores, as_number

_NAME = re.compile(r"samples_(?P<task>.+?)(?:_\d{4}-\d\d-\d\dT[\d.:-]+)?$")


def read_lm_eval_samples(path: Path) -> ForeignLog:
    """The log. An item is known by `doc_hash`, else by `doc_id`; metrics of several filters keep the filter's name.

    Raises:
        ConfigError: a row that is no JSON object of this form, with its line.
    """
    lines = path.read_bytes().split(b"\n")
    rows = [_row(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]
    filters = {str(row.get("filter", "none")) for row in rows}
    scores: Scores = {}
    unscored: Counter[str] = Counter()
    for row in rows:
        item = str(row.get("doc_hash") or row["doc_id"])
        suffix = f" ({row.get('filter', 'none')})" if len(filters) > 1 else ""
        for metric in row.get("metrics") or _numeric(row):
            number = as_number(row.get(metric))
            if math.isnan(number):
                unscored[f"{metric}: no number"] += 1
            scores.setdefault(f"{metric}{suffix}", {}).setdefault(item, []).append(number)
    match = _NAME.match(path.stem)
    task = match["task"] if match else path.stem
    return ForeignLog(str(path), "lm-evaluation-harness", task, path.parent.name, scores, len(rows), dict(unscored))


_KNOWN = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}


def _numeric(row: dict[str, Any]) -> list[str]:
    """Metrics of files from before the field `metrics`."""
    return [name for name, value in row.items() if name not in _KNOWN and isinstance(value, (bool, int, float))]


def _row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, or no UTF-8
        row = None
    if not isinstance(row, dict) or "doc_id" not in row or "resps" not in row:
        raise ConfigError(
            f"{path}, line {number}: saw no sample of lm-evaluation-harness; expected doc_id, resps and its metrics; "
            "check the file"
        )
    return row
