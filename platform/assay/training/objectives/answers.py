"""Rows of preference data as groups of token rows: the answers that a loss compares, after one prompt.

Prompts are masked and the same for all answers of a group, also where a prompt had to be shortened. An answer over
half the limit loses its end, never all of it. What is then no preference is left out and counted: an answer of
nothing, answers that are equal, or equal once cut, a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from assay.preference.rows import PreferenceRow
from assay.records import Example
from assay.tasks.tokens.prompts import Encoded, PromptEncoder
from assay.training.encoding import EncodedRows, check_end_mark, flat_tokens, starts_of, with_end

if TYPE_CHECKING:
    from assay.training.spec import TrainSpec

TOO_LONG, EMPTY, EQUAL, CUT_ALIKE, TIED, ONE = (
    "too long", "empty answer", "equal answers", "cut alike", "tied", "one answer",
)  # fmt: skip


class Wanted(NamedTuple):
    """One answer of a row as an objective wants it."""

    place: int
    """Of the answer in `PreferenceRow.answers`."""
    label: int = 0
    """`TrainRow.label`."""
    prefix: str = ""
    """Stands before the question, see `PromptSpec.prefix`."""


class Candidate(NamedTuple):
    """A tokenized answer after its prompt."""

    prompt: list[int]
    answer: list[int]
    label: int


class Group(NamedTuple):
    """What became of a row: its candidates, or why it has none."""

    candidates: list[Candidate]
    left_out: str = ""
    error: str = ""
    was_cut: bool = False


Choose = Callable[[PreferenceRow], Sequence[Wanted]]


def best_and_worst(row: PreferenceRow) -> list[Wanted]:
    """The pair of a row; of a list its ends."""
    return [Wanted(place, place) for place in sorted({0, len(row.answers) - 1})]


def all_ranked(row: PreferenceRow) -> list[Wanted]:
    """All answers, labelled by their rank from 0; answers of equal score share one."""
    scores = row.scores or [-float(place) for place in range(len(row.answers))]
    levels = sorted(set(scores), reverse=True)
    return [Wanted(place, levels.index(score)) for place, score in enumerate(scores)]


def encode_answers(
    rows: Sequence[PreferenceRow], tokenizer: Any, spec: TrainSpec, choose: Choose, *, singles: bool = False
) -> list[Group]:
    """Tokenize the chosen answers of each row.

    Args:
        rows: any.
        tokenizer: a Hugging Face tokenizer.
        spec: prompt style, `max_length` and what to do with longer rows: "drop" leaves out the whole row.
        choose: which answers of a row, best first.
        singles: whether a row of one answer is of use; of one with more, two at least must be left.

    Raises:
        DataError: the tokenizer has no end mark.
    """
    check_end_mark(tokenizer)
    chosen = [list(choose(row)) for row in rows]
    prefixes = sorted({wanted.prefix for group in chosen for wanted in group})
    before = spec.prompt.prefix
    encoders = {prefix: PromptEncoder(tokenizer, spec.prompt.replace(prefix=before + prefix)) for prefix in prefixes}
    prompts = {prefix: encoder.prompts([row.example() for row in rows]) for prefix, encoder in encoders.items()}
    texts = [row.answers[wanted.place] for row, group in zip(rows, chosen, strict=True) for wanted in group]
    answers = iter(encoders[prefixes[0]].answers(texts) if prefixes else [])
    groups = []
    for number, (row, wanted) in enumerate(zip(rows, chosen, strict=True)):
        ids = [next(answers) for _ in wanted]
        if len(wanted) < 2 and not singles:
            groups.append(Group([], ONE))
        elif row.scores is not None and len(row.scores) > 1 and row.scores[0] == row.scores[-1]:
            groups.append(Group([], TIED))
        else:
            asked = [prompts[one.prefix][number] for one in wanted]
            fit = _Fit(row.example(), [encoders[one.prefix] for one in wanted], spec)
            groups.append(_group(fit, wanted, asked, ids))
    return groups


def encoded(rows: Sequence[PreferenceRow], groups: Sequence[Group]) -> EncodedRows:
    """The table of groups."""
    flat = [candidate for group in groups for candidate in group.candidates]
    tokens = [candidate.prompt + candidate.answer for candidate in flat]
    return EncodedRows(
        tokens=flat_tokens(tokens),
        starts=starts_of(tokens),
        answer_starts=np.array([len(candidate.prompt) for candidate in flat], dtype=np.int64),
        example_ids=tuple(row.id for row in rows),
        num_dropped=sum(group.left_out == TOO_LONG for group in groups),
        num_cut=sum(group.was_cut for group in groups),
        errors={place: group.error for place, group in enumerate(groups) if group.error},
        first_rows=starts_of([group.candidates for group in groups]),
        labels=np.array([candidate.label for candidate in flat], dtype=np.int64),
        left_out={place: group.left_out for place, group in enumerate(groups) if group.left_out},
    )


class _Fit(NamedTuple):
    """What is needed to bring a row within the limit."""

    example: Example
    encoders: Sequence[PromptEncoder]
    spec: TrainSpec


def _group(
    fit: _Fit,
    wanted: Sequence[Wanted],
    prompts: Sequence[Encoded | ValueError],
    answers: Sequence[Encoded | ValueError],
) -> Group:
    refused = next((str(one) for one in (*prompts, *answers) if isinstance(one, ValueError)), "")
    if refused:
        return Group([], error=refused)
    asked = [one.ids for one in prompts if isinstance(one, Encoded)]
    whole = [one.ids for one in answers if isinstance(one, Encoded)]
    eos = fit.encoders[0].tokenizer.eos_token_id
    ended = [with_end(ids, fit.encoders[0].tokenizer) for ids in whole]
    is_long = max(map(len, asked)) + max(map(len, ended)) > fit.spec.max_length
    if is_long and fit.spec.too_long == "drop":
        return Group([], TOO_LONG)
    try:
        asked, kept = _cut(fit, asked, ended) if is_long else (asked, ended)
    except ValueError as error:
        return Group([], error=f"no prompt within max_length={fit.spec.max_length}: {error}")
    found: list[Candidate] = []
    reason = ""
    for one, prompt, answer, before in zip(wanted, asked, kept, ended, strict=True):
        if all(token == eos for token in answer):
            reason = EMPTY
        elif any(other.answer == answer for other in found):
            reason = EQUAL if answer == before else CUT_ALIKE
        else:
            found.append(Candidate(prompt, answer, one.label))
    return Group(found, was_cut=is_long) if len(found) >= min(2, len(wanted)) else Group([], reason)


def _cut(fit: _Fit, prompts: list[list[int]], answers: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and answers within the limit: answers over half of it lose their ends, then the prompt is shortened."""
    limit = fit.spec.max_length
    kept = [ids[: max(limit // 2, limit - max(map(len, prompts)))] for ids in answers]
    room = limit - max(map(len, kept))
    return [
        ids if len(ids) <= room else encoder.fitted(fit.example, room)
        for ids, encoder in zip(prompts, fit.encoders, strict=True)
    ], kept
