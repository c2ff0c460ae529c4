"""From an example to the token ids of its prompt and of its answer: one rule for training and generation.

The ids are the tokenizer's own, with its begin mark in front and no end mark behind. Data is text: what a row spells
never becomes a control token (control.py). A prompt that is too long is shortened in its data (shorten.py). Errors are
those of one row: a template that refuses its turns, a history that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from assay.records import Example
from assay.tasks.templates import PromptSpec, history, messages, render_prompt
from assay.tasks.tokens.chat import refusal, render_chat, turn_end, uses_chat_template
from assay.tasks.tokens.control import ControlTokens, Guard
from assay.tasks.tokens.shorten import shorten


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one text."""

    ids: list[int]
    differs: bool
    """Whether reading data as text changed them."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text to be read: as it is, or with renamed marks where its data spells some."""

    plain: str
    data: tuple[str, ...]
    named: Callable[[Guard], str]


class PromptEncoder:
    """Prompts and answers of examples as a model is trained on them and asked them."""

    def __init__(self, tokenizer: Any, spec: PromptSpec) -> None:
        self.tokenizer, self.spec = tokenizer, spec
        self.control = ControlTokens(tokenizer)
        self.uses_chat = uses_chat_template(tokenizer, spec)

    @cached_property
    def turn_end(self) -> str:
        """What stands after an answer, before the tokenizer's end mark."""
        return "" if self.refusal else turn_end(self.tokenizer, self.spec)

    @cached_property
    def refusal(self) -> str:
        """Why the chat template renders no row at all; empty where it does."""
        return refusal(self.tokenizer, self.spec)

    @cached_property
    def stop_id(self) -> int | None:
        """The control token that the template ends an assistant's turn with; None where it is none."""
        ids = self.control.batch([self.turn_end], special=False)[0] if self.turn_end else []
        return ids[0] if ids and ids[0] in self.control.ids else None

    def prompts(self, examples: Sequence[Example]) -> list[Encoded | ValueError]:
        """Ids of each prompt, uncut; in place of one that cannot be had, the reason."""
        return self._encode([self._prompt(example) for example in examples], special=not self.uses_chat)

    def answers(self, references: Sequence[str]) -> list[Encoded | ValueError]:
        """Ids of each reference with what the template puts behind it, the tokenizer's end mark not among them."""
        end = self.turn_end

        def text(reference: str) -> _Text:
            return _Text(reference + end, (reference,), lambda guard: reference + self.control.rename(end, guard))

        return self._encode([text(reference) for reference in references], special=False)

    def fitted(self, example: Example, max_tokens: int) -> list[int]:
        """Ids of a prompt that was too long, of at most `max_tokens`.

        Raises:
            ValueError: it has none; one line.
        """

        def ids(shorter: Example) -> list[int]:
            (found,) = self.prompts([shorter])
            if isinstance(found, ValueError):
                raise found
            return found.ids

        return ids(shorten(example, lambda shorter: len(ids(shorter)) <= max_tokens))

    def marks_in(self, example: Example) -> list[str]:
        """Marks of the tokenizer that the row's texts spell, its reference among them."""
        return self.control.spelled_in((*_data(example), example.reference))

    def _prompt(self, example: Example) -> _Text | ValueError:
        if self.spec.prefix:
            example = replace(example, instruction=self.spec.prefix + example.instruction)
        try:
            if not self.uses_chat:
                plain = render_prompt(example, self.spec)
                return _Text(plain, (plain,), lambda guard: plain)
            if self.refusal:
                return ValueError(f"no prompt: {self.refusal}")
            turns = messages(example)
            plain = render_chat(self.tokenizer, turns, self.spec, ask=True)
        except Exception as error:  # templates raise what they like, and a history may be unreadable
            return ValueError(f"no prompt: {' '.join(str(error).split())[:200]}")

        def named(guard: Guard) -> str:
            hidden = [{**turn, "content": self.control.hide(turn["content"], guard)} for turn in turns]
            return self.control.reveal(render_chat(self.tokenizer, hidden, self.spec, ask=True), guard)

        return _Text(plain, _data(example), named)

    def _encode(self, texts: Sequence[_Text | ValueError], *, special: bool) -> list[Encoded | ValueError]:
        plain = ["" if isinstance(text, ValueError) else text.plain for text in texts]
        found: list[Encoded | ValueError] = []
        for text, ids in zip(texts, self.control.batch(plain, special=special), strict=True):
            if isinstance(text, ValueError):
                found.append(text)
            elif self.control.is_plain(text.plain, text.data, ids, special=special):
                found.append(Encoded(ids, differs=False))
            else:
                found.append(self._guarded(text, ids, special=special))
        return found

    def _guarded(self, text: _Text, plain_ids: list[int], *, special: bool) -> Encoded | ValueError:
        try:
            guard = self.control.guard((text.plain,))
            ids = self.control.read(text.named(guard), guard, special=special)
        except Exception as error:
            return ValueError(f"no prompt: {' '.join(str(error).split())[:200]}")
        return Encoded(ids, differs=ids != plain_ids)


def _data(example: Example) -> tuple[str, ...]:
    return (example.instruction, example.input, *(text for _, text in history(example)))
