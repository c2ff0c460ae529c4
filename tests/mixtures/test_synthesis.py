"""Rows that an LLM writes: what is asked, what is kept, and rows with answers at random."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.mixtures.synthesis import (
    RandomLabels,
    RowFilter,
    SyntheticRows,
    parse_rows,
    randomly_labelled,
    shown_pool,
    valid_answer,
    wanted_label,
    write_request,
)
from assay.records import Example
from support.shipped import get_task

SST2, CONLL, SQUAD, XSUM = (get_task(name) for name in ("sst2", "conll", "squadv2", "xsum"))
SPEC = SyntheticRows(of="sst2", rows=6, pool=8, shown=4, per_call=2)


def human(count: int, split: str = "train") -> list[Example]:
    return [
        Example(f"{split}{n}", "sst2", split, SST2.instruction, f"a film numbered {n} of many", SST2.labels[n % 2])
        for n in range(count)
    ]


def test_the_writer_sees_few_rows_of_the_train_split_and_asks_for_labels_in_turn() -> None:
    rows = human(40) + human(20, "test")
    pool = shown_pool(SPEC, rows)
    assert len(pool) == 8
    assert {row.split for row in pool} == {"train"}
    seen = set()
    for call in range(12):
        text = write_request(SPEC, SST2, pool, call).messages[-1].content
        assert f'The output of each of them is "{SST2.labels[call % 2]}"' in text
        shown = [json.loads(line) for line in text.split("\n") if line.startswith("{")]
        assert len(shown) == 4
        assert sum(row["output"] == wanted_label(SST2, call) for row in shown) == 2
        seen |= {row["input"] for row in shown}
    assert seen <= {row.input for row in pool}


def test_equal_specifications_ask_equal_questions() -> None:
    pool = shown_pool(SPEC, human(40))
    assert write_request(SPEC, SST2, pool, 3) == write_request(SPEC, SST2, pool, 3)
    assert write_request(SPEC, SST2, pool, 3) != write_request(SPEC.replace(seed=1), SST2, pool, 3)


def test_a_schema_names_the_label_that_a_call_asks_for_and_any_text_where_a_task_has_none() -> None:
    structured = SPEC.replace(structured=True)
    request = write_request(structured, SST2, shown_pool(SPEC, human(40)), 1)
    rows = request.sampling.response_format["json_schema"]["schema"]["properties"]["rows"]
    assert rows["minItems"] == rows["maxItems"] == SPEC.per_call
    assert rows["items"]["properties"]["output"] == {"type": "string", "enum": [SST2.labels[1]]}
    assert [message.content.count("JSON object") for message in request.messages] == [1, 2]
    free = write_request(structured, XSUM, [], 0).sampling.response_format["json_schema"]["schema"]
    assert free["properties"]["rows"]["items"]["properties"]["output"] == {"type": "string"}
    assert write_request(SPEC, SST2, [], 0).sampling.response_format is None

    kept = RowFilter(structured, SST2)
    kept.read(json.dumps({"rows": [{"input": "a list] in the text", "output": SST2.labels[1]}]}), call=1)
    assert [row.input for row in kept.kept] == ["a list] in the text"]


def test_rows_are_kept_or_counted_with_a_reason() -> None:
    kept = RowFilter(SPEC, SST2)
    kept.show([Example("h", "sst2", "train", "", "the very film that was shown to the writer", "positive")])
    reply = [
        {"input": "a warm and funny story about two old friends", "output": "Negative"},
        {"input": "a warm and funny story about two old friends !", "output": "negative"},  # the same words
        {"input": "so a warm and funny story about two old friends", "output": "negative"},  # 8 of 9 pairs
        {"input": "the very film that was shown to the writer", "output": "negative"},
        {"input": "dull from the first minute to the last", "output": "positive"},  # call 0 asks for negative
        {"input": "dull from the first minute to the last", "output": "so-so"},
        {"input": "   ", "output": "negative"},
        "no object",
    ]
    kept.read("Here you are:\n```json\n" + json.dumps(reply) + "\n```", call=0)
    kept.read("I would rather not.", call=2)
    assert [(row.input, row.reference, row.split) for row in kept.kept] == [
        ("a warm and funny story about two old friends", "negative", "train")
    ]
    assert kept.rejected == {
        "repeats another row": 3,
        "another label than asked for": 1,
        "no answer of the task": 1,
        "no row": 2,
        "no JSON list": 1,
    }


@pytest.mark.parametrize(
    ("task", "output", "expected"),
    [
        (SST2, " POSITIVE ", "positive"),
        (SST2, 1, None),
        (get_task("stsb"), 4, "4"),
        (get_task("stsb"), "4.5", None),
        (CONLL, {"PER": ["Ada"], "LOC": [], "ORG": []}, '{"LOC": [], "PER": ["Ada"], "ORG": []}'),
        (CONLL, '{"LOC": [], "PER": ["Ada"], "ORG": []}', '{"LOC": [], "PER": ["Ada"], "ORG": []}'),
        (CONLL, {"PER": ["Ada"]}, None),
        (CONLL, {"PER": [1], "LOC": [], "ORG": []}, None),
        (SQUAD, "ada", "ada"),
        (SQUAD, "unanswerable", "unanswerable"),
        (SQUAD, "Grace", None),
        (XSUM, "Ada wins.", "Ada wins."),
        (XSUM, "  ", None),
        (XSUM, None, None),
    ],
)
def test_answers_are_those_of_the_task(task: object, output: object, expected: str | None) -> None:
    assert valid_answer(task, output, "Context: Ada wrote it.") == expected  # type: ignore[arg-type]


@given(st.text())
def test_any_reply_is_read_or_refused(text: str) -> None:
    found = parse_rows(text)
    assert found is None or isinstance(found, list)


def test_random_labels_keep_the_inputs_and_know_nothing_of_them() -> None:
    rows = human(600)
    made = randomly_labelled(RandomLabels(of="sst2"), rows + human(9, "test"), SST2)
    assert [row.input for row in made] == [row.input for row in rows]
    agreement = sum(a.reference == b.reference for a, b in zip(made, rows, strict=True)) / 600
    assert abs(agreement - 0.5) < 0.08  # four standard errors
    assert made[:100] == randomly_labelled(RandomLabels(of="sst2"), rows[:100], SST2)


def test_random_answers_of_a_task_without_labels_are_those_of_other_rows() -> None:
    rows = [Example(f"{n}", "xsum", "train", "", f"article {n}", f"summary {n}") for n in range(20)]
    made = randomly_labelled(RandomLabels(of="xsum"), rows, XSUM)
    assert Counter(row.reference for row in made) == Counter(row.reference for row in rows)
    assert all(a.reference != b.reference for a, b in zip(made, rows, strict=True))
