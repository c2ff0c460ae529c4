"""From an example to a prompt, and from a model's raw text to a prediction. Pure; text is data and is never formatted.

The response marker is what tells a model that it is its turn. Truncation cuts what stands before it, never the
marker itself. Two styles of prompt have less of it, to see what a model does by itself.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import SerializationInfo, SerializerFunctionWrapHandler, field_validator, model_serializer

from assay.config import NOT_IDENTITY, Config, Later
from assay.errors import DataError
from assay.records import Example, Mode

RESPONSE_MARKER = "### Response:\n"
STOP_SEQUENCE = "###"
ALPACA_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
)
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n"
)
"""Stanford Alpaca's two openings (tatsu-lab/stanford_alpaca, train.py)."""
T = TypeVar("T")


class PromptSpec(Config):
    """How an example becomes text."""

    style: Literal["alpaca", "chat", "alpaca_full", "suffix", "bare"] = "alpaca"
    """"alpaca": the headings of the IFTEval study. "chat": the model's own template, applied where its tokenizer is
    (see `messages`); a model without one gets "alpaca". "alpaca_full": Stanford Alpaca's wrapper, a sentence and the
    headings. "suffix": the question and the response heading alone. "bare": the question alone."""
    date: Annotated[str | None, Later(None)] = None
    """Day that a chat template which prints today's date is told (YYYY-MM-DD); None: 2024-07-26, the same on every
    day."""
    template_args: Annotated[tuple[tuple[str, str | int | float | bool | None], ...], Later(())] = ()
    """Further arguments of the chat template, written as in {enable_thinking: false}."""
    prefix: Annotated[str, Later("")] = ""
    """Stands before a row's question: a condition that the model was trained on (docs/preference.md). Strict rules
    alone know it."""
    rules: Annotated[Mode, NOT_IDENTITY] = "strict"
    """Set by the study's mode. "strict": what data spells is never a control token, and a prompt that is too long
    loses the middle of its longest field. "compat": as published, it is read as the tokenizer reads it and loses its
    end. No part of keys: where the two differ for a study's rows, the key says so."""

    @field_validator("date")
    @classmethod
    def _is_day(cls, day: str | None) -> str | None:
        if day is not None:
            datetime.date.fromisoformat(day)
        return day

    @field_validator("template_args", mode="before")
    @classmethod
    def _in_order(cls, given: Any) -> Any:
        return tuple(sorted(given.items())) if isinstance(given, Mapping) else given

    @model_serializer(mode="wrap")
    def _rules_are_not_stored(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """A stored study says its mode, which decides the rules again."""
        found: dict[str, Any] = handler(self)
        if info.mode == "json":
            del found["rules"]
        return found


HEADINGS = PromptSpec()
"""The default: the headings of the IFTEval study."""


def render_prompt(example: Example, spec: PromptSpec | None = None) -> str:
    """The prompt text of an example, up to and including the response marker.

    Earlier turns come first: users under "### Instruction:", assistants under "### Response:", system text plain.
    The input part is there only when there is an input. `spec.style` "chat" renders as "alpaca" does: the chat template
    needs a tokenizer and is applied by the engines to `messages(example)`. "suffix" and "bare" have no headings for
    question and input, and "bare" no response marker either: the model sees the text and goes on.

    Raises:
        DataError: `history_json` is no list of [role, text].
    """
    spec = spec or HEADINGS
    return prompt_before_input(example, spec) + example.input + prompt_after_input(example, spec)


def prompt_before_input(example: Example, spec: PromptSpec = HEADINGS) -> str:
    """The prompt up to where the input begins: history, instruction and the input's heading."""
    if spec.style in ("suffix", "bare"):
        parts = [f"{text}\n\n" for _, text in history(example)]
        parts.append(f"{example.instruction}\n\n" if example.input else example.instruction)
        return "".join(parts)
    parts = [_PAST_TURN[role](text) for role, text in history(example)]
    if spec.style == "alpaca_full":
        parts.insert(0, ALPACA_WITH_INPUT if example.input else ALPACA_WITHOUT_INPUT)
    if asks(example):
        parts.append(f"### Instruction:\n{example.instruction}\n\n")
    if example.input:
        parts.append("### Input:\n")
    return "".join(parts)


def prompt_after_input(example: Example, spec: PromptSpec = HEADINGS) -> str:
    """The prompt after the input: the response marker, where the style has one."""
    if spec.style == "bare":
        return ""
    return f"\n\n{RESPONSE_MARKER}" if example.input or spec.style == "suffix" else RESPONSE_MARKER


def messages(example: Example) -> list[dict[str, str]]:
    """The example as chat messages for a tokenizer's template: system and earlier turns, then the user's turn.

    Instruction and input are joined by an empty line, as the study concatenates them.
    """
    question = f"{example.instruction}\n\n{example.input}" if example.input else example.instruction
    turns = [{"role": role, "content": text} for role, text in history(example)]
    return [*turns, {"role": "user", "content": question}] if asks(example) else turns


def asks(example: Example) -> bool:
    """Whether the row has a question of its own; else its earlier turns (a tool's reply) wait for an answer."""
    return bool(example.instruction or example.input or not example.history_json)


def history(example: Example) -> list[tuple[str, str]]:
    """Earlier turns as (role, text), oldest first; roles are "system", "user", "assistant" and "tool".

    Raises:
        DataError: `history_json` is something else.
    """
    if not example.history_json:
        return []
    try:
        turns = json.loads(example.history_json)
        pairs = [(role, text) for role, text in turns]
    except (ValueError, TypeError):
        pairs = [("", None)]
    if not all(role in _PAST_TURN and isinstance(text, str) for role, text in pairs):
        raise DataError(
            f"example {example.example_id}: saw history {example.history_json[:60]!r}; expected a JSON list of "
            "[role, text] with role system, user, assistant or tool; fix the row"
        )
    return pairs


_PAST_TURN: dict[str, Callable[[str], str]] = {
    "system": lambda text: f"{text}\n\n",
    "user": lambda text: f"### Instruction:\n{text}\n\n",
    "assistant": lambda text: f"{RESPONSE_MARKER}{text}\n\n",
    "tool": lambda text: f"### Tool:\n{text}\n\n",
}


def truncate_example(
    example: Example, max_length: int, count_tokens: Callable[[str], int], spec: PromptSpec | None = None
) -> str:
    """The prompt text cut to `max_length` tokens by shortening the input, the response marker kept.

    Works on text, for engines that tokenize themselves. `count_tokens` must not fall when text grows (tokenizers may
    break this by a token or two; the result is checked against the count itself). Where an empty input does not
    suffice, the start of the text before it goes.

    Raises:
        ValueError: the response marker alone does not fit.
    """
    spec = spec or HEADINGS
    whole = render_prompt(example, spec)
    if count_tokens(whole) <= max_length:
        return whole
    before, after = prompt_before_input(example, spec), prompt_after_input(example, spec)

    def fits(text: str) -> bool:
        return count_tokens(text) <= max_length

    kept = _longest(len(example.input), lambda size: fits(before + example.input[:size] + after))
    if kept is not None:
        return before + example.input[:kept] + after
    start = _longest(len(before), lambda size: fits(before[len(before) - size :] + after))
    if start is None:
        raise ValueError(f"the response marker takes {count_tokens(after)} tokens and the limit is {max_length}")
    return before[len(before) - start :] + after


def _longest(most: int, fits: Callable[[int], bool]) -> int | None:
    """The largest size up to `most` that fits, by bisection; None when not even 0 does."""
    if not fits(0):
        return None
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def truncate_output(text: str, mode: Mode) -> str:
    """A model's raw text as a prediction: white space at both ends removed.

    `compat` also cuts at a further "###", as the published study did; that shortens answers that use markdown
    headings, which is why `strict` does not.
    """
    if mode == "compat":
        text = text.split(STOP_SEQUENCE, 1)[0]
    return text.strip()
