from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from assay.config import validate
from assay.errors import ConfigError
from assay.tasks.catalog import SHIPPED_TASKS, Task
from assay.tasks.own import OwnTask, with_own

TRIAGE: dict[str, Any] = {
    "instruction": "Which team should answer this ticket?",
    "answer": {"format": "label", "labels": ["billing", "shipping", "technical"]},
    "max_new_tokens": 8,
}


def task(name: str, **fields: Any) -> Task:
    return with_own(SHIPPED_TASKS, {name: validate(OwnTask, fields, f"tasks.{name}")}).get(name)


def test_a_label_task_has_its_chance_level_and_rule() -> None:
    made = task("triage", **TRIAGE)
    assert made.chance == pytest.approx(1 / 3)
    assert (made.reference_scorer, str(made.correct_if)) == ("exact_match", "label_in_text")
    assert task("triage", **TRIAGE, chance=0.6).chance == 0.6


@pytest.mark.parametrize(
    ("shape", "rule", "scorer"),
    [
        ("integer", "number", "exact_match"),
        ("json", "json_equal", "exact_match"),
        ("span", "contains_reference", "token_f1"),
        ("code_block", "none", "exact_match"),
        ("free", "none", "rouge1"),
    ],
)
def test_a_format_brings_its_rule_and_scorer(shape: str, rule: str, scorer: str) -> None:
    made = task("mine", answer={"format": shape})
    assert (str(made.correct_if), made.reference_scorer, made.chance) == (rule, scorer, None)


def test_a_catalogued_task_keeps_what_is_not_said() -> None:
    shipped = SHIPPED_TASKS.get("sst2")
    made = task("sst2", max_new_tokens=4)
    assert made == shipped.replace(max_new_tokens=4, is_own=True)
    other = task("sst2", answer={"format": "label", "labels": ["bad", "so-so", "good"]})
    assert (other.instruction, other.chance) == (shipped.instruction, pytest.approx(1 / 3))
    assert str(other.correct_if) == "label_in_text"  # the catalogue's rule knows the catalogue's labels alone
    assert SHIPPED_TASKS.get("sst2") == shipped


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"answer": {"format": "label"}}, "labels: saw 0; expected two or more"),
        ({"answer": {"format": "label", "labels": ["Yes", "yes "]}}, "differ in more than case"),
        ({"answer": {"format": "json", "labels": ["a", "b"]}}, "labels are for the format label"),
        ({"answer": {"format": "xml"}}, "answer.format"),
        ({"scale": [5, 1]}, "lowest rating before the highest"),
        ({"instructions": "x"}, "unknown field 'instructions'"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_what_hangs_not_together_is_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        task("mine", **fields)
    assert "\n" not in str(caught.value)


def test_labels_in_text_need_labels() -> None:
    with pytest.raises(ValueError, match=r"tasks\.mine: correct_if label_in_text needs answer"):
        task("mine", correct_if="label_in_text")


def test_what_a_task_does_not_say_is_no_identity() -> None:
    assert OwnTask().identity() == {}
    with pytest.raises(ValidationError):
        OwnTask.model_validate({"heuristic": "sst2", "correct_if": "none"})
