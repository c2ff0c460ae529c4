"""Which tokens of a conversation are trained, held against TRL's assistant-only masks.

`turns: each` trains every assistant's turn and `turns: last` the last one. TRL marks them in its training templates by
{% generation %}. What may differ is named in `same`. SmolLM2's tokenizer and template come from ASSAY_REAL_MODEL, TRL's
templates from the folder ASSAY_TRL (the package's own); the tests skip, saying so, where these are not.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from assay.records import Example
from assay.tasks.datasets.conversations import Turn, exchanges, turns_of
from assay.tasks.templates import PromptSpec
from assay.training.encoding import encode
from assay.training.spec import TrainSpec
from support.marked_tokenizers import marked_tokenizer

GENERATED, FEW = 1000, 60
CHAT = TrainSpec(prompt=PromptSpec(style="chat"), max_length=1 << 20)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OTHER_CONTENT = ("idefics3", "smolvlm", "llava_next")
"""Templates that print content in parts alone: rows of text are refused with that reason."""
ENDS_LAST_TURN_OTHERWISE = ("gptoss",)
"""The last turn ends in another mark than earlier ones, and each row's answer is a last turn."""


@pytest.fixture(scope="module")
def smollm2() -> Any:
    folder = os.environ.get("ASSAY_REAL_MODEL")
    if not folder:
        pytest.skip("no real model (set ASSAY_REAL_MODEL to SmolLM2's folder)")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def training_templates() -> dict[str, str]:
    folder = Path(os.environ.get("ASSAY_TRL", "/nowhere")) / "chat_templates"
    return {path.name.removesuffix("_training.jinja"): path.read_text() for path in folder.glob("*_training.jinja")}


def generated(seed: int = 0) -> list[list[Turn]]:
    """Conversations of 1 to 8 turns, with and without system text, tools and empty content."""
    draw, made = random.Random(seed), []
    for number in range(GENERATED):
        turns = [Turn("system", draw.choice(["Be brief.", "You know it all.\n\nSay so."]))] * (draw.random() < 0.4)
        for place in range(draw.randint(1, 8)):
            turns.append(Turn("user", f"Question {number}, {place}: why {draw.choice(['this', 'that', '2 + 2 = 4'])}?"))
            if draw.random() < 0.2:
                turns.append(Turn("assistant", '{"name": "look", "arguments": {}}', is_trained=False))
                turns.append(Turn("tool", draw.choice(["[]", '{"seen": 3}'])))
            turns.append(Turn("assistant", draw.choice(["", "Yes.", "Because of it,\n\n- one\n- two", f"{number}"])))
        made.append(turns)
    return made


def of_rows(tokenizer: Any, turns: Sequence[Turn], which: Any = "each") -> list[tuple[str, str]]:
    """Prompt and trained text of each row that a conversation gives."""
    examples = [
        Example(f"{place}", "instructions", "train", exchange.instruction, "", exchange.output,
                history_json=exchange.history_json)
        for place, exchange in enumerate(exchanges(turns, which))
    ]  # fmt: skip
    table = encode(examples, tokenizer, CHAT)
    if table.errors:
        raise ValueError(table.errors[0])
    found = []
    for place in range(len(table)):
        ids = table.tokens[table.starts[place] : table.starts[place + 1]]
        cut = int(table.answer_starts[place])
        found.append((tokenizer.decode(ids[:cut]), tokenizer.decode(ids[cut:])))
    return found


def of_trl(tokenizer: Any, turns: Sequence[Turn]) -> list[str]:
    """Text of each run of tokens that TRL trains; turns that call tools are left out, which it trains and we do not."""
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    told = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    runs: list[list[int]] = []
    before = 0
    for token, trained in zip(told["input_ids"], told["assistant_masks"], strict=True):
        if trained and not before:
            runs.append([])
        if trained:
            runs[-1].append(token)
        before = trained
    answers = [turn for turn in turns if turn.role == "assistant"]
    assert len(runs) == len(answers)
    return [tokenizer.decode(run) for run, turn in zip(runs, answers, strict=True) if turn.is_trained]


def same(ours: str, theirs: str, end: str) -> bool:
    """Whether both train the same text of a turn.

    The white space behind a turn's end is trained by TRL and not by us; the tokenizer's own end mark, where a template
    ends turns otherwise, by us and not by TRL.
    """
    return ours.removesuffix(end).rstrip() == theirs.rstrip().removesuffix(end).rstrip()


def check(tokenizer: Any, conversations: Sequence[Sequence[Turn]]) -> None:
    end = tokenizer.eos_token
    for turns in conversations:
        rows, marked = of_rows(tokenizer, turns), of_trl(tokenizer, turns)
        assert len(rows) == len(marked)
        for (_, ours), theirs in zip(rows, marked, strict=True):
            assert same(ours, theirs, end), (ours, theirs)
        assert of_rows(tokenizer, turns, "last") == rows[-1:]
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        whole = tokenizer.apply_chat_template(messages, tokenize=False)
        assert all(whole.startswith(prompt + trained) for prompt, trained in rows)  # and in the same context


def test_every_answer_or_the_last_is_trained_under_chatml() -> None:
    tokenizer = marked_tokenizer("chatml, bytes")
    tokenizer.chat_template = CHATML
    check(tokenizer, generated()[:FEW])


def real_chats(folder: Path) -> list[list[Turn]]:
    with gzip.open(folder / "chats" / "toolcall_en_demo.json.gz", "rt") as file:
        return [turns_of(row, "sharegpt", "chat") for row in json.load(file)]


def test_every_answer_of_real_chats_is_trained_under_smollm2s_template(smollm2: Any, shared_data: Path) -> None:
    own = smollm2.chat_template
    marked = own.replace(
        "message['content'] + '<|im_end|>' + '\n'}}",
        "}}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' + '\n' }}"
        "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' + '\n' }}{% endif %}",
    ).replace("'\n' + }}", "'\n' }}")
    assert marked != own
    chats = [turns for turns in real_chats(shared_data) if turns[-1].role == "assistant"]
    assert len(chats) > 250
    smollm2.chat_template = marked
    try:
        check(smollm2, [*chats, *generated()])
    finally:
        smollm2.chat_template = own


def test_trls_training_templates_train_the_same_answers(smollm2: Any) -> None:
    """But for what a template writes before the answer itself: TRL trains empty thinking and an assistant's heading."""
    templates = training_templates()
    if not templates:
        pytest.skip("no templates of TRL (set ASSAY_TRL to its package folder)")
    own, told = smollm2.chat_template, {}
    plain = [
        [turn for turn in turns if turn.role in ("user", "assistant") and turn.is_trained] for turns in generated()
    ]
    try:
        for name, template in sorted(templates.items()):
            smollm2.chat_template = template
            told[name] = _agreement(smollm2, [turns for turns in plain if all(turn.text for turn in turns)][:FEW])
    finally:
        smollm2.chat_template = own
    refused = sorted(name for name, said in told.items() if "prints no plain text" in said)
    assert refused == sorted(name for name in OTHER_CONTENT if name in templates)
    assert {name for name, said in told.items() if said and name not in refused} <= set(ENDS_LAST_TURN_OTHERWISE)


def _agreement(tokenizer: Any, conversations: Sequence[Sequence[Turn]]) -> str:
    """The first difference from TRL's mask, or why there are no rows; empty where they agree."""
    end = tokenizer.eos_token
    for turns in conversations:
        try:
            rows = of_rows(tokenizer, turns)
        except ValueError as error:
            return str(error)
        answers = [turn.text for turn in turns if turn.role == "assistant"]
        for (_, ours), theirs, answer in zip(rows, of_trl(tokenizer, turns), answers, strict=True):
            _, found, behind = theirs.rpartition(answer)
            ended = behind.rstrip().rstrip("<").removesuffix(end).rstrip()  # a mark that is no token here may share one
            if not found or ours.removeprefix(answer).removesuffix(end).rstrip() != ended:
                return f"{ours!r} and {theirs!r}"
    return ""
