from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations

import pytest

from assay.errors import ConfigError, InputError
from assay.records import SPLITS, Example
from assay.tasks.toyworld.instructions import CATEGORY_MAKERS
from assay.tasks.toyworld.items import Item, is_for_pretraining
from assay.tasks.toyworld.vocabulary import FIRST_NAMES, ORGS, PLACES, POSITIVE
from assay.tasks.toyworld.world import (
    TOY_TASKS,
    _distinct,
    lexicon,
    pretraining_documents,
    toy_instruction_examples,
    toy_task_examples,
    toy_truth,
)

COUNTS = {"train": 240, "validation": 60, "test": 120}
NAMES = {*FIRST_NAMES, *PLACES, *ORGS}


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    rows = toy_instruction_examples(COUNTS, seed=0)
    for task in TOY_TASKS:
        rows += toy_task_examples(task, COUNTS, seed=0)
    return rows


def of_split(examples: list[Example], split: str) -> list[Example]:
    return [example for example in examples if example.split == split]


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def test_counts_are_met_and_ids_are_unique(examples: list[Example]) -> None:
    assert len({example.example_id for example in examples}) == len(examples) == 5 * sum(COUNTS.values())
    for task in (*TOY_TASKS, "instructions"):
        for split in SPLITS:
            assert sum(e.task == task and e.split == split for e in examples) == COUNTS[split]


def test_instruction_set_has_the_twelve_categories_in_equal_shares(examples: list[Example]) -> None:
    rows = [e for e in examples if e.task == "instructions" and e.split == "test"]
    first, second = "Classify Code ContextAnswer Create Extract Logic", "MemoryAnswer MemorySummarize Rewrite"
    assert list(CATEGORY_MAKERS) == f"{first} {second} Summarize Translate Write".split()
    assert {c: sum(e.category == c for e in rows) for c in CATEGORY_MAKERS} == dict.fromkeys(CATEGORY_MAKERS, 10)


def test_no_text_is_shared_between_splits(examples: list[Example]) -> None:
    for one, other in combinations(SPLITS, 2):
        texts = [{e.input or e.instruction for e in of_split(examples, split)} for split in (one, other)]
        assert not texts[0] & texts[1]


def test_names_of_one_split_never_appear_in_another(examples: list[Example]) -> None:
    named = {s: NAMES & {w for e in of_split(examples, s) for w in words(f"{e.instruction} {e.input}")} for s in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not named[one] & named[other]
    assert sum(map(len, named.values())) > 0.9 * len(NAMES)


def test_half_of_the_test_rows_use_sentence_patterns_that_train_rows_never_use(examples: list[Example]) -> None:
    held_out = [json.loads(e.meta_json)["patterns"] == "held_out" for e in of_split(examples, "test")]
    assert 0.4 < sum(held_out) / len(held_out) < 0.6
    assert not any("held_out" in e.meta_json for e in examples if e.split != "test")


def test_most_adjectives_of_test_reviews_are_new(examples: list[Example]) -> None:
    used = {
        s: set(POSITIVE) & {w for e in examples if (e.task, e.split) == ("toy_sentiment", s) for w in words(e.input)}
        for s in ("train", "test")
    }
    assert len(used["test"] - used["train"]) > len(used["test"] & used["train"])


def sentences_in_a_row(text: str) -> set[str]:
    """Every run of up to three sentences."""
    plain = " ".join(re.sub(r"### \w+:|(Teacher|Student|Question|Answer|Quiz|Data):", " ", text).split())
    sentences = [sentence.strip() for sentence in re.findall(r"[^.?!]+[.?!]", plain)]
    return {" ".join(sentences[i:j]) for i in range(len(sentences)) for j in range(i + 1, i + 4)}


def test_no_fine_tuning_text_stands_in_pretraining_text(examples: list[Example]) -> None:
    read = set().union(*(sentences_in_a_row(d.text) for d in pretraining_documents(20_000, seed=0)))
    asked = {e.input if e.task != "toy_question" else e.input.rpartition(".")[0] + "." for e in examples if e.input}
    asked |= {e.instruction for e in examples if not e.input}
    assert len(read) > 10_000
    assert not asked & read


def test_every_word_of_every_example_is_in_the_lexicon(examples: list[Example]) -> None:
    known = {word for text in lexicon() for word in words(text)}
    assert {w for e in examples for w in words(f"{e.instruction} {e.input} {e.reference}")} <= known
    assert {w for d in pretraining_documents(5000, seed=1) for w in words(d.text)} <= known


def test_rows_depend_on_the_seed_alone_and_more_rows_keep_the_first() -> None:
    few = toy_task_examples("toy_entities", {"train": 10}, seed=3)
    assert toy_task_examples("toy_entities", {"train": 40}, seed=3)[:10] == few
    assert toy_task_examples("toy_entities", {"train": 10}, seed=4) != few
    assert toy_instruction_examples({"test": 60}, seed=3)[:24] == toy_instruction_examples({"test": 24}, seed=3)
    assert pretraining_documents(50, seed=1) == pretraining_documents(50, seed=1) != pretraining_documents(50, seed=2)


def test_references_are_true_and_target_references_are_terse(examples: list[Example]) -> None:
    assert all(toy_truth(e, e.reference) == 1.0 for e in examples)
    longest = {task: max(len(e.reference.split()) for e in examples if e.task == task) for task in TOY_TASKS}
    assert longest["toy_sentiment"] == longest["toy_arithmetic"] == longest["toy_question"] == 1
    assert all(json.loads(e.reference).keys() == {"LOC", "PER", "ORG"} for e in examples if e.task == "toy_entities")
    assert min(len(e.reference.split()) for e in examples if e.task == "instructions") > 3


def row(truth: dict[str, object]) -> Example:
    return Example("x", "t", "test", "", "", "", meta_json=json.dumps(truth))


LABEL = {"kind": "label", "answer": "positive", "others": ["negative"]}
SPAN = {"kind": "span", "answer": "Anna Moss", "others": ["Bruno"]}
ENTITIES = {"kind": "entities", "answer": {"LOC": ["Lirona"], "PER": ["Anna Moss"], "ORG": []}}
ORDERED = {"kind": "ordered", "answer": ["Anna", "vido", "lo", "rano"], "others": ["hundo"]}
MEMBERS = {"kind": "members", "answer": ["cat", "dog", "horse"], "number": 2}


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        (LABEL, "Positive", 1.0),
        (LABEL, "The review is positive, as it calls the film lovely.", 1.0),
        (LABEL, "positive or negative", 0.0),
        (LABEL, "", 0.0),
        (SPAN, "The text says that Anna Moss has a cat.", 1.0),
        (SPAN, "Anna Moss and Bruno", 0.5),
        (SPAN, "Anna", 0.0),
        ({"kind": "number", "answer": 7}, "After this Anna has 7 pears.", 1.0),
        ({"kind": "number", "answer": 7}, "5 and 2 make 17", 0.0),
        ({"kind": "number", "answer": 7}, "seven", 0.0),
        (ENTITIES, '{"LOC": ["Lirona"], "PER": ["Anna Moss"], "ORG": []}', 1.0),
        (ENTITIES, "The text names the person Anna Moss, the place Lirona and no company.", 1.0),
        # found: the place alone of two wanted: precision 1, recall 1/2, F1 2/3
        (ENTITIES, '{"LOC": ["Lirona"]}', 2 / 3),
        # the right place, a person as a company: 1 of 2 found, 1 of 2 wanted
        (ENTITIES, "The place Lirona and the company Anna Moss.", 0.5),
        (ENTITIES, "[1, 2]", 0.0),
        # all four in order, one forbidden word: 1 - .25
        (ORDERED, "In Zeta: Anna vido lo rano hundo.", 0.75),
        (ORDERED, "rano lo vido Anna", 0.25),
        (MEMBERS, "A list for Anna is: cat and horse.", 1.0),
        # one right of two, one wrong at half a point: (1 - .5) / 2
        (MEMBERS, "A list is: cat and hammer.", 0.25),
        ({"kind": "words", "answer": ["Lirona", "Norland"], "others": []}, "It is in Norland.", 0.5),
    ],
)
def test_truth_grades_content_whatever_the_format(truth: dict[str, object], prediction: str, expected: float) -> None:
    assert toy_truth(row(truth), prediction) == pytest.approx(expected)


def test_truth_refuses_an_example_from_elsewhere() -> None:
    with pytest.raises(ValueError, match="carries no truth"):
        toy_truth(Example("x", "t", "test", "", "", ""), "anything")


def test_requests_that_cannot_be_met_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="saw task 'mnli'; expected one of toy_sentiment"):
        toy_task_examples("mnli", {"train": 1}, seed=0)
    with pytest.raises(ConfigError, match="expected counts >= 0 of train, validation, test"):
        toy_instruction_examples({"dev": 3}, seed=0)


def test_a_grammar_that_has_no_more_rows_says_how_many_it_made() -> None:
    item = next(i for i in (Item(f"Ask {n}", "", "", {}) for n in range(99)) if not is_for_pretraining(i))
    with pytest.raises(InputError, match=r"a request for 2 'train' rows; expected at most about 1, .* ask for fewer"):
        _distinct([lambda *_: item], lambda i: Example("x", "t", "train", i.instruction, "", ""), "t", "train", 2, 0)


def test_answers_of_documents_are_ranges_of_their_text() -> None:
    for document in pretraining_documents(500, seed=0):
        assert all(0 <= start < end <= len(document.text) for start, end in document.answers)


def test_importing_the_toy_world_loads_no_numeric_library() -> None:
    code = "import sys, assay.tasks.toyworld.world; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "ray", "transformers"} & set(run.stdout.split())
