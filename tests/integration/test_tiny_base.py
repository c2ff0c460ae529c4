from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from assay.errors import InputError
from assay.records import Example
from assay.tasks.templates import render_prompt
from assay.tasks.toyworld.world import (
    TOY_TASKS,
    PretrainingDocument,
    lexicon,
    pretraining_documents,
    toy_instruction_examples,
    toy_task_examples,
)
from assay.training.tiny_base.spec import TinyBaseSpec, text_documents
from assay.training.tiny_base.tiny_base_engine import BaseReport, bpe_tokenizer, build_tiny_base, word_tokenizer

SHORT = TinyBaseSpec(num_documents=1000, num_steps=100, batch_size=16, warmup_steps=10)
TEXT = TinyBaseSpec(flavour="text", num_steps=20, batch_size=4, block_length=32, vocabulary_size=400, other_weight=1.0)


class Recorder:
    def __init__(self) -> None:
        self.total, self.done, self.losses = 0, 0, []

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        self.total = total

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        self.done += count
        self.losses.append(info["loss"])

    def finish(self, stage: str, note: str = "") -> None:
        self.note = note


@pytest.fixture(scope="module")
def documents() -> list[PretrainingDocument]:
    return pretraining_documents(SHORT.num_documents, SHORT.seed)


@pytest.fixture(scope="module")
def built(
    documents: list[PretrainingDocument], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, BaseReport, Recorder]:
    out, recorder = tmp_path_factory.mktemp("base") / "toy", Recorder()
    return out, build_tiny_base(SHORT, out, documents, recorder, num_threads=1), recorder


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    counts = {"train": 24, "test": 24}
    return [e for t in TOY_TASKS for e in toy_task_examples(t, counts, 0)] + toy_instruction_examples(counts, 0)


def folder_hash(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_folder_holds_safetensors_and_json_and_no_chat_template(built: tuple[Path, BaseReport, Recorder]) -> None:
    folder = built[0]
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors"}
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"] // config["num_attention_heads"]) == ("llama", 32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.is_fast
    assert tokenizer.chat_template is None
    assert config["eos_token_id"] == tokenizer.eos_token_id != tokenizer.pad_token_id == config["pad_token_id"]


def test_pretraining_lowers_the_loss_and_reports_every_step(built: tuple[Path, BaseReport, Recorder]) -> None:
    _, report, recorder = built
    assert report.last_loss < report.first_loss - 0.3
    assert recorder.done == recorder.total == SHORT.num_steps
    assert 300_000 < report.num_parameters < 500_000


def test_the_same_spec_builds_the_same_bytes(
    built: tuple[Path, BaseReport, Recorder], documents: list[PretrainingDocument], tmp_path: Path
) -> None:
    torch.manual_seed(99)  # the caller's random state is neither used nor changed
    state = torch.random.get_rng_state()
    build_tiny_base(SHORT, tmp_path, documents, num_threads=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert folder_hash(tmp_path) == folder_hash(built[0])


def test_prompts_and_answers_come_back_from_the_word_tokenizer(
    built: tuple[Path, BaseReport, Recorder], examples: list[Example]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(built[0])
    for example in examples:
        prompt = render_prompt(example)
        ids = tokenizer(prompt).input_ids
        assert tokenizer.decode(ids).split() == prompt.split()
        assert tokenizer.decode(tokenizer(example.reference).input_ids, skip_special_tokens=True) == example.reference
        # a prompt is a prefix of prompt + answer: the answer mask of training may count on it
        assert tokenizer(prompt + example.reference).input_ids[: len(ids)] == ids


def test_no_word_of_the_toy_world_is_unknown(examples: list[Example]) -> None:
    tokenizer = word_tokenizer(lexicon())
    unknown = tokenizer.token_to_id("<unk>")
    assert not [e for e in examples if unknown in tokenizer.encode(render_prompt(e) + e.reference).ids]


def test_prompt_markers_are_one_token_each() -> None:
    tokens = word_tokenizer(lexicon()).encode("### Instruction:\nGive.\n\n### Input:\nAnna\n\n### Response:\n").tokens
    assert tokens == ["### Instruction:", "Give", ".", "### Input:", "Anna", "### Response:"]


def test_answers_fit_the_new_tokens_of_their_task(examples: list[Example]) -> None:
    tokenizer = word_tokenizer(lexicon())
    for example in examples:
        if example.task in TOY_TASKS:
            assert len(tokenizer.encode(example.reference).ids) < TOY_TASKS[example.task].max_new_tokens


def test_text_flavour_packs_any_text_and_loses_no_character(tmp_path: Path) -> None:
    rows = [
        Example(str(n), "t", "train", f"Say {n}.", "été — 日本" if n % 2 else "", f"Number {n}, said twice: {n}.")
        for n in range(200)
    ]
    documents = text_documents(rows)
    report = build_tiny_base(TEXT, tmp_path, documents, num_threads=1)
    assert report.num_tokens == 20 * 4 * 31  # steps x blocks x (block length - 1)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for document in documents[:5]:
        assert tokenizer.decode(tokenizer(document.text).input_ids) == document.text
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    inputs = tokenizer("Say 5.", return_tensors="pt", return_token_type_ids=False)
    assert model.generate(**inputs, max_new_tokens=4, do_sample=False).shape[1] > inputs.input_ids.shape[1]


def test_bpe_vocabulary_has_the_size_that_was_asked_for() -> None:
    assert bpe_tokenizer([f"word{n} and {n}" for n in range(2000)], 400).get_vocab_size() == 400


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "saw no documents"),
        ([PretrainingDocument("a b", ())], "saw .* tokens of text; expected at least one block"),
    ],
)
def test_too_little_text_is_refused_in_one_line(
    documents: list[PretrainingDocument], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        build_tiny_base(TEXT, tmp_path, documents)
