"""From an example to the token ids that a model continues. Pure: the tokenizer is an argument.

The one rule, which training follows too, is `tasks.tokens.prompts`. In mode compat a prompt that is too long loses the
end of its input, in text, and data is read as the tokenizer reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from assay.records import Example
from assay.tasks.templates import (
    PromptSpec,
    messages,
    render_prompt,
    truncate_example,
)
from assay.tasks.tokens.chat import render_chat, uses_chat_template
from assay.tasks.tokens.prompts import PromptEncoder


class PromptIds(NamedTuple):
    """A prompt as a model reads it."""

    ids: list[int]
    is_cut: bool
    """Whether it was too long and lost some of its data."""


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
) -> list[PromptIds | ValueError]:
    """Token ids per example, each at most `max_tokens` long; in place of a row that has none, the reason.

    Raises nothing for what a row holds.
    """
    if spec.rules == "compat":
        return _encode_as_published(tokenizer, examples, spec, max_tokens)
    encoder = PromptEncoder(tokenizer, spec)
    found: list[PromptIds | ValueError] = []
    for example, encoded in zip(examples, encoder.prompts(examples), strict=True):
        if isinstance(encoded, ValueError):
            found.append(encoded)
        elif len(encoded.ids) <= max_tokens:
            found.append(PromptIds(encoded.ids, is_cut=False))
        else:
            try:
                found.append(PromptIds(encoder.fitted(example, max_tokens), is_cut=True))
            except ValueError as error:
                found.append(ValueError(f"no prompt of {max_tokens} tokens: {_one_line(error)}"))
    return found


def _encode_as_published(
    tokenizer: Tokenizer, examples: Sequence[Example], spec: PromptSpec, max_tokens: int
) -> list[PromptIds | ValueError]:
    """As the published study did: data is read with its marks, and a prompt that is too long loses its end."""
    uses_chat = uses_chat_template(tokenizer, spec)
    encoded: list[PromptIds | ValueError] = []
    texts: list[str] = []
    for example in examples:  # a row with an unreadable history is that row's trouble
        try:
            texts.append(_chat_text(tokenizer, example, spec) if uses_chat else render_prompt(example, spec))
            encoded.append(PromptIds([], is_cut=False))
        except Exception as error:
            texts.append("")
            encoded.append(ValueError(f"no prompt: {_one_line(error)}"))
    for index, ids in enumerate(_ids(tokenizer, texts, special=not uses_chat)):
        if isinstance(encoded[index], ValueError):
            continue
        if len(ids) <= max_tokens:
            encoded[index] = PromptIds(ids, is_cut=False)
            continue
        try:
            encoded[index] = PromptIds(_cut(tokenizer, examples[index], spec, max_tokens, uses_chat), is_cut=True)
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
        ids = _ids(tokenizer, [_chat_text(tokenizer, replace(example, **{field: text[:middle]}), spec)], special=False)[
            0
        ]
        if len(ids) <= max_tokens:
            low, best = middle + 1, ids
        else:
            high = middle - 1
    if best is None:
        raise ValueError(f"the chat template alone takes more than {max_tokens} tokens")
    return best


def _chat_text(tokenizer: Tokenizer, example: Example, spec: PromptSpec) -> str:
    return render_chat(tokenizer, messages(example), spec, ask=True)


def _ids(tokenizer: Tokenizer, texts: list[str], *, special: bool) -> list[list[int]]:
    """Ids of each text; some tokenizers add an end mark as well as a begin mark, and a prompt has no end."""
    rows = tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
    end = tokenizer.eos_token_id
    return [list(ids[:-1]) if special and ids and ids[-1] == end else list(ids) for ids in rows]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
