"""From examples to token ids.

A row is its prompt's tokens, its answer's tokens and the end mark; `answer_start` says where the answer begins. An
example gives one row, or the rows of a group (`batching.py`). NumPy only; a tokenizer comes in as an argument.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.errors import DataError
from assay.fingerprint import fingerprint
from assay.records import Example
from assay.tasks.templates import PromptSpec, messages, render_prompt
from assay.tasks.tokens.chat import render_chat, uses_chat_template
from assay.tasks.tokens.prompts import PromptEncoder
from assay.training.batching import IntArray, RowGroup, TokenArray, TrainRow

if TYPE_CHECKING:
    from assay.training.spec import TrainSpec


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Token ids of many examples in flat arrays, which workers share without copies."""

    tokens: TokenArray
    """All rows' tokens, one after the other."""
    starts: IntArray
    """Row i is tokens[starts[i]:starts[i + 1]]; empty where the row was dropped. Shape (rows + 1,)."""
    answer_starts: IntArray
    """Place of the answer's first token within its row. Shape (rows,)."""
    example_ids: tuple[str, ...]
    num_dropped: int
    """Examples over the limit that were left out."""
    num_cut: int
    """Examples over the limit that were shortened."""
    errors: Mapping[int, str] = field(default_factory=dict)
    """Place of each example that has no prompt -> why; an error only where the example is used."""
    first_rows: IntArray | None = None
    """Example i has the rows first_rows[i]:first_rows[i + 1], shape (examples + 1,); None: each has one."""
    labels: IntArray | None = None
    """`TrainRow.label` of each row, shape (rows,); None: 0."""
    left_out: Mapping[int, str] = field(default_factory=dict)
    """Place of each example that its objective cannot train on -> why, in a word or two that can be counted."""

    def __len__(self) -> int:
        return len(self.example_ids)

    def rows_of(self, example: int) -> range:
        """Places of an example's rows."""
        if self.first_rows is None:
            return range(example, example + 1)
        return range(int(self.first_rows[example]), int(self.first_rows[example + 1]))


def encoding_key(spec: TrainSpec) -> str:
    """Names what an objective makes of equal examples with the same tokenizer: trainings that share it share rows."""
    identity = {"prompt": spec.prompt, "max_length": spec.max_length, "too_long": spec.too_long}
    return fingerprint({**identity, "rules": spec.prompt.rules, **spec.objective.encoding()})


def encode(examples: Sequence[Example], tokenizer: Any, spec: TrainSpec) -> EncodedRows:
    """Tokenize examples: prompt as generation renders it, then the answer and the end mark.

    Args:
        examples: any rows with a reference.
        tokenizer: a Hugging Face tokenizer.
        spec: prompt style, `max_length` and what to do with longer rows.

    Raises:
        DataError: the tokenizer has no end mark.
    """
    check_end_mark(tokenizer)
    made = _as_published if spec.prompt.rules == "compat" else _as_text
    rows: list[list[int]] = []
    answer_starts: list[int] = []
    errors: dict[int, str] = {}
    num_dropped = num_cut = 0
    for prompt, answer, what in made(examples, tokenizer, spec):
        num_dropped += what == "dropped"
        num_cut += what == "cut"
        if what not in ("", "dropped", "cut"):
            errors[len(rows)] = what
        rows.append(prompt + answer)
        answer_starts.append(len(prompt))
    return EncodedRows(
        tokens=flat_tokens(rows),
        starts=starts_of(rows),
        answer_starts=np.array(answer_starts, dtype=np.int64),
        example_ids=tuple(example.example_id for example in examples),
        num_dropped=num_dropped,
        num_cut=num_cut,
        errors=errors,
    )


Made = tuple[list[int], list[int], str]
"""Prompt and answer of a row, and "", "dropped", "cut" or why it has none."""


def _as_text(examples: Sequence[Example], tokenizer: Any, spec: TrainSpec) -> Iterator[Made]:
    """Rows whose data is text."""
    encoder = PromptEncoder(tokenizer, spec.prompt)
    prompts = encoder.prompts(examples)
    answers = encoder.answers([example.reference for example in examples])
    for example, prompt, answer in zip(examples, prompts, answers, strict=True):
        if isinstance(prompt, ValueError) or isinstance(answer, ValueError):
            yield [], [], str(prompt if isinstance(prompt, ValueError) else answer)
            continue
        ended = with_end(answer.ids, tokenizer)
        if len(prompt.ids) + len(ended) <= spec.max_length:
            yield prompt.ids, ended, ""
        elif spec.too_long == "drop":
            yield [], [], "dropped"
        else:
            kept = ended[: max(spec.max_length // 2, spec.max_length - len(prompt.ids))]
            room = spec.max_length - len(kept)  # an answer without its end teaches no stop in mid-sentence
            try:
                yield prompt.ids if len(prompt.ids) <= room else encoder.fitted(example, room), kept, "cut"
            except ValueError as error:
                yield [], [], f"no prompt of {room} tokens: {error}"


def check_end_mark(tokenizer: Any) -> None:
    """Refuse a tokenizer without an end mark.

    Raises:
        DataError: it has none.
    """
    if tokenizer.eos_token_id is None:
        raise DataError("tokenizer: saw no end-of-sequence token; expected one; set eos_token in tokenizer_config.json")


def with_end(answer: list[int], tokenizer: Any) -> list[int]:
    """An answer's ids with the tokenizer's end mark, once."""
    return answer if answer and answer[-1] == tokenizer.eos_token_id else [*answer, tokenizer.eos_token_id]


def _as_published(examples: Sequence[Example], tokenizer: Any, spec: TrainSpec) -> Iterator[Made]:
    """As the published study did: data is read with its marks, and a row that is too long loses its input's end."""
    use_chat = uses_chat_template(tokenizer, spec.prompt)
    texts = [_published_texts(example, tokenizer, spec) for example in examples]
    prompts = _tokenize(tokenizer, [prompt for prompt, _, _ in texts], special=not use_chat)
    answers = _tokenize(tokenizer, [answer for _, answer, _ in texts], special=False)
    for example, prompt, answer, (_, _, refused) in zip(examples, prompts, answers, texts, strict=True):
        ended = with_end(answer, tokenizer)
        if refused:
            yield [], [], refused
        elif len(prompt) + len(ended) <= spec.max_length:
            yield prompt, ended, ""
        elif spec.too_long == "drop":
            yield [], [], "dropped"
        else:
            yield (*_cut(example, prompt, ended, tokenizer, spec), "cut")


def _published_texts(example: Example, tokenizer: Any, spec: TrainSpec) -> tuple[str, str, str]:
    """Prompt and answer, or why the chat template refuses the row."""
    try:
        return prompt_text(example, tokenizer, spec), published_answer(example, tokenizer, spec.prompt), ""
    except Exception as error:  # a template raises what it likes
        return "", "", f"no prompt: {' '.join(str(error).split())[:200]}"


def prompt_text(example: Example, tokenizer: Any, spec: TrainSpec) -> str:
    """The prompt that the model is trained to continue, its response marker last."""
    if uses_chat_template(tokenizer, spec.prompt):
        return render_chat(tokenizer, messages(example), spec.prompt, ask=True)
    return render_prompt(example, spec.prompt)


def row_groups(encoded: Sequence[EncodedRows], sources: IntArray, indices: IntArray) -> list[RowGroup]:
    """The groups of a mixture in its order, dropped ones left out.

    Args:
        encoded: one table per dataset.
        sources: place in `encoded` of each wanted example, shape (examples,).
        indices: place within that table, shape (examples,).

    Raises:
        DataError: an example has no prompt.
    """
    groups, place = [], 0
    for source, index in zip(sources.tolist(), indices.tolist(), strict=True):
        table = encoded[source]
        if index in table.errors:
            raise DataError(
                f"training row {table.example_ids[index]}: {table.errors[index]}; expected one that the prompt style "
                "can render; fix or leave out the row, or choose another prompt.style"
            )
        rows = table.rows_of(index)
        group = tuple(_row(table, row, place + number) for number, row in enumerate(rows))
        if group and all(len(row.tokens) > 1 for row in group):
            groups.append(group)
        place += max(1, len(rows))
    return groups


def left_out(encoded: Sequence[EncodedRows], sources: IntArray, indices: IntArray) -> dict[str, int]:
    """Why examples of a mixture are not trained on -> how many; arguments as of `row_groups`."""
    reasons = Counter(
        reason
        for source, index in zip(sources.tolist(), indices.tolist(), strict=True)
        if (reason := encoded[source].left_out.get(index))
    )
    return dict(sorted(reasons.items()))


def flat_tokens(rows: Sequence[Sequence[int]]) -> TokenArray:
    """Token ids of rows one after the other."""
    return np.concatenate([np.empty(0, np.int32), *(np.array(row, np.int32) for row in rows)])


def starts_of(rows: Sequence[Sequence[object]]) -> IntArray:
    """Where each row begins, and where the last one ends, shape (rows + 1,)."""
    starts = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    return starts


def _row(table: EncodedRows, row: int, place: int) -> TrainRow:
    tokens = table.tokens[table.starts[row] : table.starts[row + 1]]
    label = 0 if table.labels is None else int(table.labels[row])
    return TrainRow(tokens, int(table.answer_starts[row]), place, label)


def _tokenize(tokenizer: Any, texts: list[str], *, special: bool) -> list[list[int]]:
    if not texts:
        return []
    encoded: list[list[int]] = tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
    if special:  # some tokenizers add an end mark to every text; a prompt has none
        return [ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids for ids in encoded]
    return encoded


def published_answer(example: Example, tokenizer: Any, spec: PromptSpec) -> str:
    """The reference; under a chat template with what the template puts behind it where it continues its prompt."""
    if not uses_chat_template(tokenizer, spec):
        return example.reference
    turns = messages(example)
    prompt = render_chat(tokenizer, turns, spec, ask=True)
    whole = render_chat(tokenizer, [*turns, {"role": "assistant", "content": example.reference}], spec, ask=False)
    if not whole.startswith(prompt) or not whole[len(prompt) :].startswith(example.reference):
        return example.reference
    return whole[len(prompt) :].rstrip("\n")


def _cut(
    example: Example, prompt: list[int], answer: list[int], tokenizer: Any, spec: TrainSpec
) -> tuple[list[int], list[int]]:
    """Prompt and answer within the limit: the input loses its end; an answer over half the limit loses its own."""
    room_for_answer = max(spec.max_length // 2, spec.max_length - len(prompt))
    answer = answer[:room_for_answer]  # without its end mark: nothing teaches to stop in mid-sentence
    room = spec.max_length - len(answer)
    use_chat = uses_chat_template(tokenizer, spec.prompt)

    def prompt_with(size: int) -> list[int]:
        shorter = dataclasses.replace(example, input=example.input[:size])
        return _tokenize(tokenizer, [prompt_text(shorter, tokenizer, spec)], special=not use_chat)[0]

    if len(prompt) <= room:
        return prompt, answer
    low, high = 0, max(0, len(example.input) - 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(prompt_with(middle)) <= room else (low, middle - 1)
    shortest = prompt_with(low) if example.input else prompt
    return shortest[max(0, len(shortest) - room) :], answer  # the beginning goes, the response marker stays
