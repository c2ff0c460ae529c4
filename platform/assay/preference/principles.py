"""Critique and revision by principles (constitutional AI): what a model is asked about its own answer. Pure.

Source: the supervised stage of Bai et al. 2022 (arXiv 2212.08073), one principle and one revision for each answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from assay.errors import DataError
from assay.records import Example

CRITIQUE = "Say in what your answer falls short of this principle: {principle}"
REVISION = "Write your answer once more, so that it keeps to the principle. Write nothing but the answer."


def read_principles(text: str, where: str) -> tuple[str, ...]:
    """One principle a line; blank lines and those that begin with # are left out.

    Raises:
        DataError: there is none.
    """
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if not found:
        raise DataError(f"{where}: saw no principle; expected one a line; write some")
    return found


def principle_for(example_id: str, principles: Sequence[str]) -> str:
    """The principle that an answer is held to: by the prompt's id, so that it stays its own."""
    place = int.from_bytes(hashlib.sha256(example_id.encode()).digest()[:8], "big")
    return principles[place % len(principles)]


def ask_critique(prompt: Example, answer: str, principles: Sequence[str]) -> Example:
    """The prompt and its answer as earlier turns, and the request to criticise it."""
    asked = CRITIQUE.replace("{principle}", principle_for(prompt.example_id, principles))
    return _after(prompt, [["user", _question(prompt)], ["assistant", answer]], asked)


def ask_revision(prompt: Example, answer: str, critique: str, principles: Sequence[str]) -> Example:
    """The same with the critique, and the request to write the answer anew."""
    first = ask_critique(prompt, answer, principles)
    turns = [["user", _question(prompt)], ["assistant", answer], ["user", first.instruction], ["assistant", critique]]
    return _after(prompt, turns, REVISION)


def _question(prompt: Example) -> str:
    return f"{prompt.instruction}\n\n{prompt.input}" if prompt.input else prompt.instruction


def _after(prompt: Example, turns: list[list[str]], asked: str) -> Example:
    earlier = json.loads(prompt.history_json) if prompt.history_json else []
    history = json.dumps([*earlier, *turns], ensure_ascii=False)
    return replace(prompt, instruction=asked, input="", history_json=history)
