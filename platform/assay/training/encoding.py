"""From examples to token ids, and from a step's rows to the arrays of its forward passes.

A row is its prompt's tokens, its answer's tokens and the end mark; `answer_start` says where the answer begins.
Rows of an optimizer step are fixed by (seed, step) alone. How they are cut into micro-batches (sorted by length, or
packed) changes the speed and nothing else: the loss is a sum over trained tokens divided by the step's count, and
dropout masks follow the row and the position. NumPy only; a tokenizer comes in as an argument.

Axes: B sequences of a micro-batch, L positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.errors import DataError
from assay.fingerprint import fingerprint
from assay.records import Example
from assay.tasks.templates import PromptSpec, messages, render_prompt
from assay.tasks.tokens.chat import render_chat, uses_chat_template
from assay.tasks.tokens.prompts import PromptEncoder
from assay.training.spec import TrainSpec

IntArray = npt.NDArray[np.int64]
TokenArray = npt.NDArray[np.int32]
NO_TARGET = -100
"""Target of a position whose next token is not trained (torch's ignore_index)."""


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
    """Rows over the limit that were left out."""
    num_cut: int
    """Rows over the limit that were shortened."""
    errors: Mapping[int, str] = field(default_factory=dict)
    """Place of each row that has no prompt -> why; an error only where the row is used."""

    def __len__(self) -> int:
        return len(self.example_ids)


class TrainRow(NamedTuple):
    """One row of a training, ready to be batched."""

    tokens: TokenArray
    answer_start: int
    place: int
    """Place in the training set; dropout masks follow it."""


class MicroBatch(NamedTuple):
    """Arrays of one forward pass, all (B, L); targets are shifted: position t predicts the row's token t + 1."""

    input_ids: IntArray
    targets: IntArray
    """Next token where it is trained, else NO_TARGET."""
    rows: IntArray
    """`TrainRow.place` of each position's row, -1 on padding."""
    positions: IntArray
    """Position within the row, from 0."""
    is_packed: bool
    """Several rows per sequence: the model needs `positions` to keep attention inside each row."""

    @property
    def num_targets(self) -> int:
        """Trained tokens."""
        return int(np.count_nonzero(self.targets != NO_TARGET))


def encoding_key(spec: TrainSpec) -> str:
    """Names what `encode` makes of equal examples with the same tokenizer: trainings that share it share the rows."""
    identity = {"prompt": spec.prompt, "max_length": spec.max_length, "too_long": spec.too_long}
    return fingerprint({**identity, "rules": spec.prompt.rules})


def encode(examples: Sequence[Example], tokenizer: Any, spec: TrainSpec) -> EncodedRows:
    """Tokenize examples: prompt as generation renders it, then the answer and the end mark.

    Args:
        examples: any rows with a reference.
        tokenizer: a Hugging Face tokenizer.
        spec: prompt style, `max_length` and what to do with longer rows.

    Raises:
        DataError: the tokenizer has no end mark.
    """
    if tokenizer.eos_token_id is None:
        raise DataError("tokenizer: saw no end-of-sequence token; expected one; set eos_token in tokenizer_config.json")
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
    starts = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    return EncodedRows(
        tokens=np.concatenate([np.empty(0, np.int32), *(np.array(row, np.int32) for row in rows)]),
        starts=starts,
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


def train_rows(encoded: Sequence[EncodedRows], sources: IntArray, indices: IntArray) -> list[TrainRow]:
    """The rows of a mixture in its order, dropped ones left out.

    Args:
        encoded: one table per dataset.
        sources: place in `encoded` of each wanted row, shape (rows,).
        indices: place within that table, shape (rows,).

    Raises:
        DataError: a row has no prompt.
    """
    rows = []
    for place, (source, index) in enumerate(zip(sources.tolist(), indices.tolist(), strict=True)):
        table = encoded[source]
        tokens = table.tokens[table.starts[index] : table.starts[index + 1]]
        if index in table.errors:
            raise DataError(
                f"training row {table.example_ids[index]}: {table.errors[index]}; expected one that the prompt style "
                "can render; fix or leave out the row, or choose another prompt.style"
            )
        if len(tokens) > 1:
            rows.append(TrainRow(tokens, int(table.answer_starts[index]), place))
    return rows


def step_rows(num_rows: int, batch: int, step: int, *, seed: int, shuffled: bool) -> IntArray:
    """Places of the rows of optimizer step `step`, counted from 0: a function of its arguments alone.

    Each pass over the rows has an order of its own; its last batch may be smaller.
    """
    per_epoch = -(-num_rows // batch)
    epoch, within = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(num_rows) if shuffled else np.arange(num_rows)
    return order[within * batch : (within + 1) * batch].astype(np.int64)


def group_by_length(rows: Sequence[TrainRow], *, max_rows: int | None, max_tokens: int) -> list[list[TrainRow]]:
    """Rows in groups of similar length: longest first, each group within both limits once padded.

    A row over `max_tokens` passes alone. The first group is the largest in memory, so that what does not fit is
    seen at once.
    """
    groups: list[list[TrainRow]] = []
    width = 0
    for row in sorted(rows, key=lambda row: (-len(row.tokens), row.place)):
        size = len(groups[-1]) if groups else 0
        if not groups or (max_rows is not None and size >= max_rows) or (size + 1) * width > max_tokens:
            groups.append([])
            width = len(row.tokens) - 1
        groups[-1].append(row)
    return groups


def group_into_packs(
    rows: Sequence[TrainRow], *, pack_length: int, max_rows: int | None, max_tokens: int
) -> list[list[list[TrainRow]]]:
    """Micro-batches of packs of rows: first fit, longest first; a longer row is a pack of its own."""
    packs: list[list[TrainRow]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: (-len(row.tokens), row.place)):
        length = len(row.tokens) - 1
        place = next((i for i, free in enumerate(room) if free >= length), None)
        if place is None:
            packs.append([])
            room.append(max(pack_length, length))
            place = len(packs) - 1
        packs[place].append(row)
        room[place] -= length
    batches: list[list[list[TrainRow]]] = []
    width = num_rows = 0
    for pack in packs:
        length = sum(len(row.tokens) - 1 for row in pack)
        grown = max(width, length)
        too_many = max_rows is not None and num_rows + len(pack) > max_rows
        if not batches or too_many or (len(batches[-1]) + 1) * grown > max_tokens:
            batches.append([])
            grown, num_rows = length, 0
        batches[-1].append(pack)
        width, num_rows = grown, num_rows + len(pack)
    return batches


def pad(groups: Sequence[Sequence[TrainRow]], *, pad_id: int, loss_on: Literal["answer", "all"]) -> MicroBatch:
    """Arrays of one forward pass: one sequence per group, rows one after the other, padding at the end.

    Padding at the end needs no mask in a causal model: no row sees what stands after it. In a packed sequence the
    padding counts its positions from 0 again and so is a document of its own.
    """
    width = max(sum(len(row.tokens) - 1 for row in group) for group in groups)
    shape = (len(groups), width)
    input_ids, targets = np.full(shape, pad_id, np.int64), np.full(shape, NO_TARGET, np.int64)
    rows, positions = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    for line, group in enumerate(groups):
        begin = 0
        for row in group:
            length = len(row.tokens) - 1
            end = begin + length
            first = max(row.answer_start if loss_on == "answer" else 1, 1)
            input_ids[line, begin:end] = row.tokens[:-1]
            targets[line, begin + first - 1 : end] = row.tokens[first:]
            rows[line, begin:end] = row.place
            positions[line, begin:end] = np.arange(length)
            begin = end
        positions[line, begin:] = np.arange(width - begin)
    return MicroBatch(input_ids, targets, rows, positions, is_packed=any(len(group) > 1 for group in groups))


def micro_batches(
    rows: Sequence[TrainRow],
    *,
    pad_id: int,
    loss_on: Literal["answer", "all"],
    max_rows: int | None,
    max_tokens: int,
    pack_length: int | None = None,
) -> list[MicroBatch]:
    """A step's rows as forward passes; their order and shapes are a function of the arguments.

    Args:
        rows: the step's rows.
        pad_id: token that fills up sequences.
        loss_on: which tokens are trained.
        max_rows: rows per forward pass at most.
        max_tokens: tokens per forward pass at most, padding included.
        pack_length: tokens per packed sequence; None pads instead.
    """
    if pack_length is None:
        groups = group_by_length(rows, max_rows=max_rows, max_tokens=max_tokens)
        return [pad([[row] for row in group], pad_id=pad_id, loss_on=loss_on) for group in groups]
    packs = group_into_packs(rows, pack_length=pack_length, max_rows=max_rows, max_tokens=max_tokens)
    return [pad(batch, pad_id=pad_id, loss_on=loss_on) for batch in packs]


def share_of_worker(batches: Sequence[MicroBatch], rank: int, num_workers: int) -> Iterator[MicroBatch]:
    """The forward passes of one worker: as many as every other one's, as ZeRO's collectives need.

    Where the count does not divide, the last workers repeat the first pass with nothing to train.
    """
    if num_workers == 1:
        yield from batches
        return
    for start in range(0, len(batches), num_workers):
        if start + rank < len(batches):
            yield batches[start + rank]
        else:
            yield batches[0]._replace(targets=np.full_like(batches[0].targets, NO_TARGET))


def dropout_codes(batch: MicroBatch, *, seed: int, step: int) -> npt.NDArray[np.int32]:
    """One random 32-bit word per position, (B, L): a function of (seed, step, row, position) and of nothing else."""
    mixed = _splitmix(np.array([seed], np.uint64)) + np.uint64(step)
    rows = _splitmix(_splitmix(mixed) + batch.rows.astype(np.uint64))
    words = _splitmix(rows + batch.positions.astype(np.uint64))
    return (words >> np.uint64(32)).astype(np.uint32).view(np.int32)


def feature_codes(name: str, num_features: int) -> npt.NDArray[np.int32]:
    """One random 32-bit word per feature of the layer called `name`, (features,)."""
    seed = np.uint64(int(fingerprint(name)[:16], 16))
    words = _splitmix(np.arange(num_features, dtype=np.uint64) + seed)
    return (words >> np.uint64(32)).astype(np.uint32).view(np.int32)


def _splitmix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Steele et al. 2014, "Fast splittable pseudorandom number generators": the finalizer."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


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
