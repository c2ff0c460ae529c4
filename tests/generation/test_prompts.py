"""Prompts as token ids: the rule that training follows too, and truncation that keeps the response marker."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ConfigError
from assay.generation.prompts import encode_prompts
from assay.records import Example
from assay.tasks.templates import PromptSpec
from assay.training.encoding import encode
from assay.training.spec import TrainSpec
from support.tiny_models import make_examples, make_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}Instruction : {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}Response :{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


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
    assert encode_prompts(tokenizer, examples, spec.prompt, 512) == trained
    tokenizer.chat_template = None


def test_prompt_begins_with_the_begin_mark_and_has_no_end_mark(tokenizer: Any) -> None:
    ids = encode_prompts(tokenizer, make_examples(3), PromptSpec(), 512)
    assert all(row[0] == tokenizer.bos_token_id and tokenizer.eos_token_id not in row for row in ids)


@pytest.mark.parametrize("field", ["input", "instruction"])
def test_too_long_a_prompt_keeps_the_response_marker(tokenizer: Any, field: str) -> None:
    (ids,) = encode_prompts(tokenizer, [long_example(400, field=field)], PromptSpec(), 40)
    assert len(ids) == 40
    assert tokenizer.decode(ids).endswith("### Response :")


def test_only_the_end_of_the_input_is_lost(tokenizer: Any) -> None:
    whole, cut = encode_prompts(tokenizer, [long_example(10), long_example(400)], PromptSpec(), 40)
    head = len(whole) - 3 - 10  # up to the input: all but "### Response :" and its ten words
    assert cut[:head] == whole[:head]


def test_chat_prompts_are_cut_in_the_users_text(tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATE
    (ids,) = encode_prompts(tokenizer, [long_example(400)], PromptSpec(style="chat"), 40)
    tokenizer.chat_template = None
    assert len(ids) == 40
    assert tokenizer.decode(ids).endswith("Response :")


def test_a_row_without_a_prompt_says_why_and_spares_the_others(tokenizer: Any) -> None:
    broken = dataclasses.replace(long_example(3), history_json="[1]")
    first, second, third = encode_prompts(tokenizer, [long_example(2), broken, long_example(4)], PromptSpec(), 64)
    assert isinstance(second, ValueError)
    assert "history" in str(second)
    assert len(third) == len(first) + 2


def test_a_base_model_without_tokenizer_is_one_line(tmp_path: Path) -> None:
    from assay.generation.tokenizer_engine import load_tokenizer

    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match="no readable tokenizer"):
        load_tokenizer(str(tmp_path))
