"""What ends an answer, what a template puts behind it, and a template that tells the date."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import processors

from assay.records import Example
from assay.tasks.templates import PromptSpec
from assay.tasks.tokens.control import ControlTokens
from assay.tasks.tokens.prompts import Encoded, PromptEncoder
from assay.tasks.tokens.stops import stop_ids
from assay.training.encoding import encode
from assay.training.spec import TrainSpec
from support.marked_tokenizers import marked_tokenizer

CHAT = PromptSpec(style="chat")


def chatml(end: str = "<|endoftext|>") -> Any:
    tokenizer = marked_tokenizer("chatml, bytes")
    tokenizer.eos_token = end
    return tokenizer


def example(reference: str = "yes") -> Example:
    return Example("e", "toy", "train", "Well?", "", reference)


def test_the_end_of_a_turn_ends_an_answer_too() -> None:
    tokenizer = chatml()
    text, turn = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    assert stop_ids(tokenizer, [text, [text]], CHAT) == [text, turn]
    assert stop_ids(tokenizer, [None, text]) == [text]
    assert stop_ids(tokenizer, [text], PromptSpec(style="alpaca")) == [text]
    assert stop_ids(tokenizer, [text], PromptSpec(style="chat", rules="compat")) == [text]


@pytest.mark.parametrize("reference", ["yes", "yes\n", "yes  ", " yes", "", "yes\n\n"])
@pytest.mark.parametrize("trims", [False, True])
def test_the_end_of_a_turn_is_trained_once_whatever_white_space_the_answer_ends_with(
    reference: str, trims: bool
) -> None:
    tokenizer = chatml()
    if trims:
        tokenizer.chat_template = tokenizer.chat_template.replace("m.content", "m.content | trim")
    rows = encode([example(reference)], tokenizer, TrainSpec(prompt=CHAT))
    answer = rows.tokens[rows.answer_starts[0] :].tolist()
    text, turn = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    assert answer[-2:] == [turn, text]
    assert (answer.count(turn), answer.count(text)) == (1, 1)


def test_a_tokenizer_that_puts_an_end_mark_behind_texts_puts_none_behind_prompts() -> None:
    tokenizer = marked_tokenizer("bert, word pieces")
    begin, end = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", begin), ("[SEP]", end)]
    )
    control = ControlTokens(tokenizer)
    for text in ("the tag", "the tag [SEP] [CLS]"):
        (ids,) = control.of_data([text], special=True)
        assert ids[0] == begin
        assert end not in ids
        assert ids.count(begin) == 1


DATED = (
    "{% set today = strftime_now('%d %b %Y') %}Today is {{ today }}. {{ messages[0].content }}"
    "{% if x %}{{ x }}{% endif %}"
)


def test_a_template_that_tells_the_date_is_told_the_same_one_every_day() -> None:
    tokenizer = chatml()
    tokenizer.chat_template = DATED

    def text(spec: PromptSpec) -> str:
        (found,) = PromptEncoder(tokenizer, spec).prompts([example()])
        assert isinstance(found, Encoded)
        return str(tokenizer.decode(found.ids))

    assert text(CHAT) == "Today is 26 Jul 2024. Well?"
    assert text(CHAT.replace(date="2026-01-02")) == "Today is 02 Jan 2026. Well?"
    assert text(CHAT.replace(template_args={"x": "!"})) == "Today is 26 Jul 2024. Well?!"


def test_date_and_arguments_are_part_of_keys_where_they_are_given_and_rules_never() -> None:
    assert CHAT.identity() == {"style": "chat"}
    assert CHAT.replace(rules="compat").identity() == {"style": "chat"}
    given = CHAT.replace(date="2026-01-02", template_args={"x": True})
    assert given.identity() == {"style": "chat", "date": "2026-01-02", "template_args": [["x", True]]}
    assert "rules" not in given.model_dump(mode="json")  # a stored study's mode decides them
    assert PromptSpec.model_validate(given.model_dump(mode="json")) == given
    with pytest.raises(ValueError, match="Invalid isoformat"):
        PromptSpec(date="tomorrow")
