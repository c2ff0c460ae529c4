"""From an example to the token ids that a model continues. Pure: the tokenizer is an argument.

The one rule, which training follows too: the ids are `tokenizer(prompt text)` with the model's own special tokens
in front and no end mark behind. A prompt that is too long loses the end of its input, in text, so that what remains
is tokenized as any other prompt is, and the marker that asks for the response is always whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from assay.records import Example
from assay.tasks.templates import (
    PromptSpec,
    messages,
    render_prompt,
    truncate_example,
)


class Tokenizer(Protocol):
    """What is needed of a Hugging Face tokenizer."""

    eos_token_id: int | None
    chat_template: Any

    def __call__(self, text: Any, *, add_special_tokens: bool, verbose: bool) -> Any:
        """`input_ids` of one text or of each text of a list."""
        ...

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> Any:
        """The conversation as the model's own prompt text."""
        ...


def encode_prompts(
    tokenizer: Tokenizer, examples: Sequence[Example], spec: PromptSpec, max_tokens: int
) -> list[list[int] | ValueError]:
    """Token ids per example, each at most `max_tokens` long; in place of a row that has none, the reason.

    Raises nothing for what a row holds.
    """
    uses_chat = spec.style == "chat" and bool(tokenizer.chat_template)
    encoded: list[list[int] | ValueError] = []
    texts: list[str] = []
    for example in examples:  # a row with an unreadable history is that row's trouble
        try:
            texts.append(_chat_text(tokenizer, example) if uses_chat else render_prompt(example, spec))
            encoded.append([])
        except Exception as error:
            texts.append("")
            encoded.append(ValueError(f"no prompt: {_one_line(error)}"))
    for index, ids in enumerate(_ids(tokenizer, texts, special=not uses_chat)):
        if isinstance(encoded[index], ValueError):
            continue
        if len(ids) <= max_tokens:
            encoded[index] = ids
            continue
        try:
            encoded[index] = _cut(tokenizer, examples[index], spec, max_tokens, uses_chat)
        except ValueError as error:
            encoded[index] = error
    return encoded


def _cut(tokenizer: Tokenizer, example: Example, spec: PromptSpec, max_tokens: int, uses_chat: bool) -> list[int]:
    if not uses_chat:

        def count(text: str) -> int:
            return len(_ids(tokenizer, [text], special=True)[0])

        return _ids(tokenizer, [truncate_example(example, max_tokens, count, spec)], special=True)[0]
    field = "input" if example.input else "instruction"
    text: str = getattr(example, field)
    low, high, best = 0, len(text), None
    while low <= high:  # a longer text has no fewer tokens, up to a token or two; what is kept was counted itself
        middle = (low + high) // 2
        ids = _ids(tokenizer, [_chat_text(tokenizer, replace(example, **{field: text[:middle]}))], special=False)[0]
        if len(ids) <= max_tokens:
            low, best = middle + 1, ids
        else:
            high = middle - 1
    if best is None:
        raise ValueError(f"the chat template alone takes more than {max_tokens} tokens")
    return best


def _chat_text(tokenizer: Tokenizer, example: Example) -> str:
    return str(tokenizer.apply_chat_template(messages(example), tokenize=False, add_generation_prompt=True))


def _ids(tokenizer: Tokenizer, texts: list[str], *, special: bool) -> list[list[int]]:
    """Ids of each text; some tokenizers add an end mark as well as a begin mark, and a prompt has no end."""
    rows = tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
    end = tokenizer.eos_token_id
    return [list(ids[:-1]) if special and ids and ids[-1] == end else list(ids) for ids in rows]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
