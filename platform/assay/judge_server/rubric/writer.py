"""The rubric server's answer to "write new examples of this task": rows spliced from those that the prompt shows.

A stand-in for a strong LLM where there is none: it knows no task and invents nothing. The first half of one shown row
is joined to the second half of another with the same answer, which keeps the answer right more often than not, and
the wording of people who wrote such rows. Pure; every choice is drawn from the request.
"""

from __future__ import annotations

import json
import re
from typing import Any

from assay.judge_server.rubric.draws import Draws
from assay.judge_server.rubric.shown_rows import shown_rows

_ASKED = re.compile(r"\bwrite (\d{1,2}) new examples\b", re.IGNORECASE)
_LABEL = re.compile(r'^.*\bthe output of each of them is ("(?:[^"\\]|\\.)*")\.', re.IGNORECASE | re.MULTILINE)
WRITER = "You write training examples"
"""How the system turn of such a prompt begins; nothing that stands in a judged text can take its place."""
MOST_ROWS = 20


def asks_for_rows(prompt: str) -> bool:
    """Whether a prompt asks for new rows of a task and shows some."""
    return _ASKED.search(prompt) is not None and bool(_shown(prompt))


def written_rows(prompt: str, draws: Draws, *, in_object: bool = False) -> str:
    """A JSON list of rows, or an object around it as a schema asks for."""
    match = _ASKED.search(prompt)
    count = min(MOST_ROWS, int(match.group(1))) if match else 1
    label = _LABEL.search(prompt)
    wanted = _literal_text(label.group(1)) if label else None
    shown = _shown(prompt)
    same = [row for row in shown if wanted is None or row["output"] == wanted] or shown
    rows = []
    for number in range(count):
        first = same[int(draws.uniform(f"first {number}") * len(same))]
        others = [row for row in same if row is not first] or same
        second = others[int(draws.uniform(f"second {number}") * len(others))]
        rows.append(_spliced(first, second, draws.uniform(f"cut {number}")))
    return json.dumps({"rows": rows} if in_object else rows, ensure_ascii=False)


def _literal_text(literal: str) -> str | None:
    try:
        return str(json.loads(literal))
    except ValueError:
        return None


def _shown(prompt: str) -> list[dict[str, Any]]:
    return [
        row for row in shown_rows(prompt) if isinstance(row.get("input"), str) and isinstance(row.get("output"), str)
    ]


def _spliced(first: dict[str, Any], second: dict[str, Any], where: float) -> dict[str, Any]:
    """Of lists of names both rows whole, with the names of both; else a half of each."""
    names = [_names(row["output"]) for row in (first, second)]
    if names[0] is not None and names[1] is not None and set(names[0]) == set(names[1]):
        merged = {key: names[0][key] + names[1][key] for key in names[0]}
        return {"input": f"{first['input']} {second['input']}", "output": json.dumps(merged, ensure_ascii=False)}
    head, tail = first["input"].split(" "), second["input"].split(" ")
    share = 0.35 + 0.3 * where
    words = head[: max(1, round(share * len(head)))] + tail[round(share * len(tail)) :]
    return {"input": " ".join(words), "output": first["output"]}


def _names(output: str) -> dict[str, list[Any]] | None:
    try:
        value = json.loads(output)
    except (ValueError, RecursionError):
        return None
    is_names = isinstance(value, dict) and value and all(isinstance(part, list) for part in value.values())
    return value if is_names else None
