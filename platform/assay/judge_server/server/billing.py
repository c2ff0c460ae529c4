"""What the server billed, by model and by what became of the call."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from assay.judge_server.config import SILENT_FAULTS
from assay.judge_server.server.tokens import STATEMENT

UNSEEN = (*SILENT_FAULTS, "no_usage", "gone")
"""Billed without the caller having seen the usage; "gone": the caller had hung up before the answer."""


class Invoice:
    """Calls and tokens by (model, status)."""

    def __init__(self) -> None:
        self._lines: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])

    def add(self, model: str, status: str, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """One call. Refused calls (429, 5xx, 404) come with no tokens."""
        line = self._lines[(model, status)]
        line[0] += 1
        line[1] += prompt_tokens
        line[2] += completion_tokens

    def as_json(self) -> dict[str, Any]:
        """Totals; `by_model`, `by_status`; `seen` (the caller had the usage) and `unseen` (it cannot have had it)."""
        lines = list(self._lines.items())
        billed = [(key, line) for key, line in lines if line[1] or line[2]]
        return {
            **_total([line for _, line in billed]),
            "requests": sum(line[0] for _, line in lines),
            "tokenizer": STATEMENT,
            "seen": _total([line for (_, status), line in billed if status not in UNSEEN]),
            "unseen": _total([line for (_, status), line in billed if status in UNSEEN]),
            "by_model": {model: _total([line for (name, _), line in billed if name == model])
                         for model in sorted({model for (model, _), _ in billed})},
            "by_status": {status: _total([line for (_, name), line in lines if name == status])
                          for status in sorted({status for (_, status), _ in lines})},
        }  # fmt: skip


def _total(lines: list[list[int]]) -> dict[str, int]:
    return {
        "calls": sum(line[0] for line in lines),
        "prompt_tokens": sum(line[1] for line in lines),
        "completion_tokens": sum(line[2] for line in lines),
    }
