from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.records import Example
from assay.tasks.templates import PromptSpec
from assay.training.encoding import (
    NO_TARGET,
    TrainRow,
    dropout_codes,
    encode,
    encoding_key,
    feature_codes,
    group_by_length,
    group_into_packs,
    micro_batches,
    pad,
    share_of_worker,
    step_rows,
    train_rows,
)
from assay.training.spec import TrainSpec

EOS = 1


class CharTokenizer:
    """One token per character; 0 begins a text that asks for special tokens, 1 ends an answer."""

    eos_token_id = EOS
    chat_template: str | None = None

    def __call__(self, texts: list[str], *, add_special_tokens: bool, verbose: bool) -> dict[str, list[list[int]]]:
        begin = [0] if add_special_tokens else []
        return {"input_ids": [begin + [EOS if char == "$" else ord(char) for char in text] for text in texts]}

    def apply_chat_template(
        self, turns: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool = False
    ) -> str:
        text = "".join(f"<{turn['role']}>{turn['content']}$\n" for turn in turns)
        return text + ("<assistant>" if add_generation_prompt else "")


def text_of(tokens: Any) -> str:
    return "".join({0: "^", EOS: "$"}.get(token, chr(token)) for token in tokens)


def example(number: int = 0, *, instruction: str = "Add.", given: str = "", reference: str = "7") -> Example:
    return Example(f"e{number}", "toy", "train", instruction, given, reference)


def rows_of(lengths: list[int]) -> list[TrainRow]:
    return [TrainRow(np.arange(10, 10 + n, dtype=np.int32), n // 2, place) for place, n in enumerate(lengths)]


def test_a_row_is_prompt_answer_and_end_mark() -> None:
    encoded = encode([example(given="3 and 4")], CharTokenizer(), TrainSpec())
    prompt = "^### Instruction:\nAdd.\n\n### Input:\n3 and 4\n\n### Response:\n"
    assert text_of(encoded.tokens) == prompt + "7$"
    assert encoded.answer_starts.tolist() == [len(prompt)]


def test_a_chat_model_gets_its_own_template_and_its_own_end() -> None:
    tokenizer = CharTokenizer()
    tokenizer.chat_template = "yes"
    spec = TrainSpec(prompt=PromptSpec(style="chat"))
    encoded = encode([example()], tokenizer, spec)
    assert text_of(encoded.tokens) == "<user>Add.$\n<assistant>7$"
    assert encoded.answer_starts.tolist() == [len("<user>Add.$\n<assistant>")]
    tokenizer.chat_template = None
    assert text_of(encode([example()], tokenizer, spec).tokens).startswith("^### Instruction:")


def test_the_loss_is_on_answer_and_end_mark_or_on_all_but_the_first_token() -> None:
    encoded = encode([example(reference="ab")], CharTokenizer(), TrainSpec())
    rows = train_rows([encoded], np.zeros(1, np.int64), np.zeros(1, np.int64))
    answer = pad([rows], pad_id=9, loss_on="answer")
    assert text_of(answer.targets[answer.targets != NO_TARGET]) == "ab$"
    everything = pad([rows], pad_id=9, loss_on="all")
    assert everything.num_targets == len(encoded.tokens) - 1
    assert text_of(everything.input_ids[0]) == text_of(encoded.tokens[:-1])


def test_long_rows_are_dropped_and_counted() -> None:
    examples = [example(0), example(1, given="x" * 100), example(2)]
    encoded = encode(examples, CharTokenizer(), TrainSpec(max_length=80))
    assert (encoded.num_dropped, encoded.num_cut) == (1, 0)
    rows = train_rows([encoded], np.zeros(3, np.int64), np.arange(3))
    assert [row.place for row in rows] == [0, 2]


@pytest.mark.parametrize(
    ("given_text", "instruction", "reference"),
    [("x" * 300, "Add.", "7"), ("", "y" * 300, "7"), ("x" * 300, "Add.", "z" * 300), ("", "Add.", "z" * 300)],
)
def test_a_cut_row_keeps_its_response_marker(given_text: str, instruction: str, reference: str) -> None:
    encoded = encode(
        [example(given=given_text, instruction=instruction, reference=reference)],
        CharTokenizer(),
        TrainSpec(max_length=120, too_long="cut"),
    )
    prompt = text_of(encoded.tokens[: encoded.answer_starts[0]])
    answer = text_of(encoded.tokens[encoded.answer_starts[0] :])
    assert len(encoded.tokens) <= 120
    assert prompt.endswith("### Response:\n")
    assert encoded.num_cut == 1
    assert answer == "7$" if reference == "7" else set(answer) == {"z"}  # no end mark in mid-sentence


def test_encodings_are_shared_by_trainings_that_differ_elsewhere() -> None:
    assert encoding_key(TrainSpec()) == encoding_key(TrainSpec(seed=3, learning_rate=1e-3, loss_on="all"))
    assert encoding_key(TrainSpec()) != encoding_key(TrainSpec(max_length=256))


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 5))
def test_each_pass_uses_every_row_once(num_rows: int, batch: int, seed: int) -> None:
    per_epoch = -(-num_rows // batch)
    for epoch in range(2):
        steps = [
            step_rows(num_rows, batch, epoch * per_epoch + step, seed=seed, shuffled=True) for step in range(per_epoch)
        ]
        assert sorted(np.concatenate(steps).tolist()) == list(range(num_rows))


def test_a_curriculum_keeps_its_order() -> None:
    assert step_rows(5, 2, 1, seed=9, shuffled=False).tolist() == [2, 3]


lengths = st.lists(st.integers(2, 40), min_size=1, max_size=30)


@given(lengths, st.one_of(st.none(), st.integers(1, 8)), st.integers(16, 120))
def test_micro_batches_hold_each_row_once_within_the_limits(
    sizes: list[int], max_rows: int | None, max_tokens: int
) -> None:
    groups = group_by_length(rows_of(sizes), max_rows=max_rows, max_tokens=max_tokens)
    assert sorted(row.place for group in groups for row in group) == list(range(len(sizes)))
    for group in groups:
        width = max(len(row.tokens) for row in group) - 1
        assert len(group) == 1 or len(group) * width <= max_tokens
        assert max_rows is None or len(group) <= max_rows


@given(lengths, st.integers(16, 60), st.integers(16, 120))
def test_packs_hold_each_row_once_within_their_length(sizes: list[int], pack_length: int, max_tokens: int) -> None:
    batches = group_into_packs(rows_of(sizes), pack_length=pack_length, max_rows=None, max_tokens=max_tokens)
    packs = [pack for batch in batches for pack in batch]
    assert sorted(row.place for pack in packs for row in pack) == list(range(len(sizes)))
    assert all(len(pack) == 1 or sum(len(row.tokens) - 1 for row in pack) <= pack_length for pack in packs)
    for batch in batches:
        width = max(sum(len(row.tokens) - 1 for row in pack) for pack in batch)
        assert len(batch) == 1 or len(batch) * width <= max_tokens


@given(lengths, st.sampled_from([None, 50]))
def test_trained_tokens_do_not_depend_on_the_cut(sizes: list[int], pack_length: int | None) -> None:
    rows = rows_of(sizes)
    batches = micro_batches(rows, pad_id=0, loss_on="answer", max_rows=4, max_tokens=64, pack_length=pack_length)
    trained = sorted(token for batch in batches for token in batch.targets[batch.targets != NO_TARGET].tolist())
    assert trained == sorted(token for row in rows for token in row.tokens[max(1, row.answer_start) :].tolist())


def test_dropout_follows_the_row_and_not_the_batch() -> None:
    rows = rows_of([6, 9, 4])
    together = pad([rows], pad_id=0, loss_on="all")
    alone = pad([[rows[1]]], pad_id=0, loss_on="all")
    codes = dropout_codes(together, seed=3, step=5)[0]
    np.testing.assert_array_equal(codes[5 : 5 + 8], dropout_codes(alone, seed=3, step=5)[0])
    assert not np.array_equal(dropout_codes(alone, seed=3, step=6), dropout_codes(alone, seed=3, step=5))
    assert not np.array_equal(dropout_codes(alone, seed=4, step=5), dropout_codes(alone, seed=3, step=5))
    assert len(set(feature_codes("layer", 512).tolist())) == 512
    assert not np.array_equal(feature_codes("layer", 8), feature_codes("other", 8))


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_workers_share_the_passes_and_all_take_as_many(num_workers: int) -> None:
    batches = [pad([[row]], pad_id=0, loss_on="all") for row in rows_of([5, 6, 7, 8])]
    shares = [list(share_of_worker(batches, rank, num_workers)) for rank in range(num_workers)]
    assert len({len(share) for share in shares}) == 1
    assert sum(batch.num_targets for share in shares for batch in share) == sum(b.num_targets for b in batches)
