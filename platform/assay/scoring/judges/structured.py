"""JSON schemas of judges' replies, for endpoints with structured output. The protocol's own parser reads the reply.

They are OpenAI's strict form: every property required, no others. A protocol asks for one only where its `structured`
is set, so that the keys of those without do not move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.llm.response_format import reply_format

MORE_TOKENS = 32
"""Room in a short reply for the braces and names around its numbers."""


def score_format(low: float, high: float, *, explained: bool = False) -> dict[str, Any]:
    """One score in low..high; with `explained` an explanation comes before it."""
    score = {"type": "number", "minimum": low, "maximum": high}
    return reply_format("score", {"explanation": {"type": "string"}, "score": score} if explained else {"score": score})


def pair_format(low: float, high: float) -> dict[str, Any]:
    """A score for each of two responses."""
    score = {"type": "number", "minimum": low, "maximum": high}
    return reply_format("scores", {"score_1": score, "score_2": score})


def choice_format(*, explained: bool = False) -> dict[str, Any]:
    """Which of two outputs, by the names that pairwise prompts give them; with `explained` an explanation before it."""
    verdict = {"type": "string", "enum": ["Output (a)", "Output (b)"]}
    return reply_format(
        "verdict", {"explanation": {"type": "string"}, "verdict": verdict} if explained else {"verdict": verdict}
    )


def class_format(classes: Sequence[str]) -> dict[str, Any]:
    """One of the classes."""
    return reply_format("label", {"label": {"type": "string", "enum": list(classes)}})
