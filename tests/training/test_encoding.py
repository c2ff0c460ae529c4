from __future__ import annotations

import numpy as np
import pytest

from assay.records import Example
from assay.tasks.templates import PromptSpec
from assay.training.batching import NO_TARGET, pad
from assay.training.encoding import encode, encoding_key, row_groups
from assay.training.spec import TrainSpec
from support.char_tokenizer import CharTokenizer, text_of


def example(number: int = 0, *, instruction: str = "Add.", given: str = "", reference: str = "7") -> Example:
    return Example(f"e{number}", "toy", "train", instruction, given, reference)


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
    (rows,) = row_groups([encoded], np.zeros(1, np.int64), np.zeros(1, np.int64))
    answer = pad([rows], pad_id=9, loss_on="answer")
    assert text_of(answer.targets[answer.targets != NO_TARGET]) == "ab$"
    everything = pad([rows], pad_id=9, loss_on="all")
    assert everything.num_targets == len(encoded.tokens) - 1
    assert text_of(everything.input_ids[0]) == text_of(encoded.tokens[:-1])


def test_long_rows_are_dropped_and_counted() -> None:
    examples = [example(0), example(1, given="x" * 100), example(2)]
    encoded = encode(examples, CharTokenizer(), TrainSpec(max_length=80))
    assert (encoded.num_dropped, encoded.num_cut) == (1, 0)
    groups = row_groups([encoded], np.zeros(3, np.int64), np.arange(3))
    assert [row.place for (row,) in groups] == [0, 2]


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
