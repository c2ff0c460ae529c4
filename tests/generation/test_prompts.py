"""Prompts as token ids: the rule that training follows too, and truncation that keeps the response marker."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.errors import ConfigError, DataError
from assay.generation.prompts import PromptIds, encode_prompts
from assay.records import Example
from assay.tasks.templates import PromptSpec
from assay.training.encoding import encode, row_groups
from assay.training.spec import TrainSpec
from support.tiny_models import make_examples, make_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}Instruction : {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}Response :{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


def prompts(tokenizer: Any, examples: list[Example], spec: PromptSpec, max_tokens: int) -> list[PromptIds]:
    found = encode_prompts(tokenizer, examples, spec, max_tokens)
    return [row for row in found if isinstance(row, PromptIds)]


def long_example(num_words: int, *, field: str = "input") -> Example:
    example = Example("long", "toy", "test", "w1 w2 w3", "w4", "w5")
    return dataclasses.replace(example, **{field: " ".join(["w7"] * num_words)})


@pytest.mark.parametrize("style", ["alpaca", "chat"])
def test_prompt_ids_are_those_that_training_puts_before_the_answer(tokenizer: Any, style: str) -> None:
    examples = make_examples(12)
    tokenizer.chat_template = TEMPLATE if style == "chat" else None
    spec = TrainSpec(prompt=PromptSpec(style=style), max_length=512)
    rows = encode(examples, tokenizer, spec)
    trained = [
        rows.tokens[rows.starts[i] : rows.starts[i] + rows.answer_starts[i]].tolist() for i in range(len(examples))
    ]
    assert [prompt.ids for prompt in prompts(tokenizer, examples, spec.prompt, 512)] == trained
    tokenizer.chat_template = None


def test_prompt_begins_with_the_begin_mark_and_has_no_end_mark(tokenizer: Any) -> None:
    rows = prompts(tokenizer, make_examples(3), PromptSpec(), 512)
    assert all(row.ids[0] == tokenizer.bos_token_id and tokenizer.eos_token_id not in row.ids for row in rows)


@pytest.mark.parametrize("field", ["input", "instruction"])
def test_too_long_a_prompt_keeps_the_response_marker(tokenizer: Any, field: str) -> None:
    (cut,) = prompts(tokenizer, [long_example(400, field=field)], PromptSpec(), 40)
    assert 38 <= len(cut.ids) <= 40
    assert cut.is_cut
    assert cut.ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(cut.ids).endswith("### Response :")


def test_the_published_study_loses_the_end_of_the_input_alone(tokenizer: Any) -> None:
    rows = [long_example(10), long_example(400)]
    whole, cut = prompts(tokenizer, rows, PromptSpec(rules="compat"), 40)
    assert (whole.is_cut, cut.is_cut) == (False, True)
    head = len(whole.ids) - 3 - 10  # up to the input: all but "### Response :" and its ten words
    assert cut.ids[:head] == whole.ids[:head]
    assert len(cut.ids) == 40


def test_a_question_after_a_long_context_is_never_lost(tokenizer: Any) -> None:
    text = "Context: " + "w7 " * 400 + "\nQuestion: w8 w9 w10"
    (cut,) = prompts(tokenizer, [dataclasses.replace(long_example(1), input=text)], PromptSpec(), 60)
    assert 56 <= len(cut.ids) <= 60
    assert tokenizer.decode(cut.ids).endswith("w8 w9 w10 ### Response :")


def test_training_cuts_as_generation_does(tokenizer: Any) -> None:
    example = dataclasses.replace(long_example(400), reference="w5")
    rows = encode([example], tokenizer, TrainSpec(max_length=60, too_long="cut"))
    (asked,) = prompts(tokenizer, [example], PromptSpec(), 58)  # beside the answer and its end mark
    assert rows.tokens[: rows.answer_starts[0]].tolist() == asked.ids
    assert (rows.num_cut, len(rows.errors)) == (1, 0)


def test_chat_prompts_are_cut_in_the_users_text(tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATE
    (cut,) = prompts(tokenizer, [long_example(400)], PromptSpec(style="chat"), 40)
    tokenizer.chat_template = None
    assert 38 <= len(cut.ids) <= 40
    assert tokenizer.decode(cut.ids).endswith("Response :")


def test_a_row_without_a_prompt_says_why_and_spares_the_others(tokenizer: Any) -> None:
    broken = dataclasses.replace(long_example(3), history_json="[1]")
    first, second, third = encode_prompts(tokenizer, [long_example(2), broken, long_example(4)], PromptSpec(), 64)
    assert isinstance(second, ValueError)
    assert "history" in str(second)
    assert isinstance(first, PromptIds)
    assert isinstance(third, PromptIds)
    assert len(third.ids) == len(first.ids) + 2


def test_a_template_that_refuses_a_row_is_that_rows_error_and_names_it_where_it_is_trained(tokenizer: Any) -> None:
    refused = dataclasses.replace(long_example(3), example_id="r7", history_json='[["system", "w1"]]')
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    tokenizer.chat_template = refuses + TEMPLATE
    spec = TrainSpec(prompt=PromptSpec(style="chat"))
    first, second = encode_prompts(tokenizer, [long_example(2), refused], spec.prompt, 64)
    rows = encode([long_example(2), refused], tokenizer, spec)
    tokenizer.chat_template = None
    assert isinstance(first, PromptIds)
    assert "no system role" in str(second)
    zero = np.zeros(1, np.int64)
    assert len(row_groups([rows], zero, zero)) == 1  # a mixture without the row
    with pytest.raises(DataError, match=r"training row r7: no prompt: no system role"):
        row_groups([rows], zero, zero + 1)


def test_a_base_model_without_tokenizer_is_one_line(tmp_path: Path) -> None:
    from assay.generation.tokenizer_engine import load_tokenizer

    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match="no readable tokenizer"):
        load_tokenizer(str(tmp_path))


def test_a_template_that_refuses_a_row_is_that_rows_error_as_published_too(tokenizer: Any) -> None:
    spec = PromptSpec(style="chat", rules="compat")
    tokenizer.chat_template = (
        "{% if 'w9' in messages[0]['content'] %}{{ raise_exception('no w9') }}{% endif %}" + TEMPLATE
    )
    rows = [dataclasses.replace(long_example(1), instruction=word) for word in ("w1", "w9")]
    encoded = encode(rows, tokenizer, TrainSpec(prompt=spec, loss_on="all"))
    tokenizer.chat_template = None
    assert list(encoded.errors) == [1] and "no w9" in encoded.errors[1]
    assert encoded.starts[1] > 0


def test_arguments_reach_the_template_as_published_too(tokenizer: Any) -> None:
    spec = PromptSpec(style="chat", rules="compat", template_args={"more": "w7"})
    tokenizer.chat_template = TEMPLATE + "{{ more }}"
    (asked,) = prompts(tokenizer, [long_example(1)], spec, 200)
    row = encode([long_example(1)], tokenizer, TrainSpec(prompt=spec))
    tokenizer.chat_template = None
    assert asked.ids == row.tokens[: row.answer_starts[0]].tolist()
    assert tokenizer.decode(asked.ids).endswith("w7")
