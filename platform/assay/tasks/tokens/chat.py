"""What a tokenizer's chat template makes of a conversation: the same text on every day, and where a turn ends."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from assay.tasks.templates import PromptSpec

FIXED_DATE = datetime.date(2024, 7, 26)
"""The day that a template is told where `prompt.date` names none: the one that Llama 3.1's template falls back to."""
_QUESTION, _ANSWER = "assayquestion", "assayanswer"


def uses_chat_template(tokenizer: Any, spec: PromptSpec) -> bool:
    """Whether prompts are made by the tokenizer's chat template; a model without one gets the plain headings."""
    return spec.style == "chat" and bool(getattr(tokenizer, "chat_template", None))


def tells_date(tokenizer: Any) -> bool:
    """Whether the template may print today's date."""
    return "strftime_now" in str(getattr(tokenizer, "chat_template", None) or "")


def render_chat(tokenizer: Any, turns: Sequence[Mapping[str, Any]], spec: PromptSpec, *, ask: bool) -> str:
    """The conversation as the model's own text.

    Args:
        tokenizer: its template is applied.
        turns: {role, content} in order.
        spec: `date` and `template_args` reach the template.
        ask: end with what asks the assistant to answer.
    """
    told: dict[str, Any] = dict(spec.template_args)
    if tells_date(tokenizer) and (spec.date is not None or spec.rules == "strict"):
        told["strftime_now"] = _clock(spec)
    return str(tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=ask, **told))


def turn_end(tokenizer: Any, spec: PromptSpec) -> str:
    """What the template puts after an assistant's turn, white space behind it left out; "" where it puts nothing."""
    if not uses_chat_template(tokenizer, spec):
        return ""
    turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
    _, found, after = render_chat(tokenizer, turns, spec, ask=False).rpartition(_ANSWER)
    return after.rstrip() if found else ""


def refusal(tokenizer: Any, spec: PromptSpec) -> str:
    """Why no row can be rendered by the tokenizer's chat template; empty where rows can, or none is used.

    Templates of models that read images may want content in parts, and then print nothing of a text, or raise.
    """
    if not uses_chat_template(tokenizer, spec):
        return ""
    turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
    try:
        rendered = render_chat(tokenizer, turns, spec, ask=False)
    except Exception as error:  # a template raises what it likes
        rendered, said = "", f" ({' '.join(str(error).split())[:100]})"
    else:
        said = ""
    if _QUESTION in rendered:
        return ""
    return (
        f"the tokenizer's chat template prints no plain text{said}; expected one that takes a turn's content as text; "
        "set another chat_template in the model's folder, or prompt.style: alpaca"
    )


def _clock(spec: PromptSpec) -> Callable[[str], str]:
    day = FIXED_DATE if spec.date is None else datetime.date.fromisoformat(spec.date)
    noon = datetime.datetime.combine(day, datetime.time(12))
    return noon.strftime
