"""Rows that a prompt shows as JSON objects, one a line. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def shown_rows(prompt: str) -> Iterator[dict[str, Any]]:
    """The objects in the prompt's order; lines that hold none are passed over."""
    for line in prompt.split("\n"):
        if not line.startswith("{"):
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row
