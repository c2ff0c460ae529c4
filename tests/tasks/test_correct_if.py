from __future__ import annotations

import pytest
from pydantic import ValidationError

from assay.tasks.correct_if import CorrectIf


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("label_in_text", {"kind": "label_in_text"}),
        ("number(0.01)", {"kind": "number", "tolerance": 0.01}),
        ("number( tolerance = 2 , last )", {"kind": "number", "tolerance": 2, "take": "last"}),
        ("json_equal(ignore_order, keys=[a, 'b'])", {"kind": "json_equal", "ignore_order": True, "keys": ["a", "b"]}),
        ("span_f1(threshold=0.8)", {"kind": "span_f1", "threshold": 0.8}),
        ("span_f1(0.8)", {"kind": "span_f1", "threshold": 0.8}),
        (r'regex("^(yes|no)\b, (?:a)")', {"kind": "regex", "pattern": r"^(yes|no)\b, (?:a)"}),
        ("regex('\"')", {"kind": "regex", "pattern": '"'}),
    ],
)
def test_text_and_mapping_say_the_same(text: str, fields: dict[str, object]) -> None:
    assert CorrectIf.model_validate(text) == CorrectIf.model_validate(fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exact", "Input should be 'label_in_text'"),
        ("number(", "expected a name with what it takes in brackets"),
        ("label_in_text(3)", "Extra inputs"),
        ("choice_letter(threshold=.2)", "choice_letter has no threshold"),
        ("regex()", "expected the pattern in quotes"),
        ("regex(yes)", "expected the pattern in quotes"),
        ('regex("(")', "saw no regular expression"),
        ("span_f1(0)", "greater than 0"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("(", r"\(")):
        CorrectIf.model_validate(text)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", r"(\d+)*x$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y"])
def test_a_pattern_that_runs_away_is_refused_in_time(pattern: str) -> None:
    with pytest.raises(ValidationError, match="repeats inside repeats"):
        CorrectIf(kind="regex", pattern=pattern)


def test_ordinary_patterns_pass() -> None:
    for pattern in [r"^(yes|no)\b", r"[A-Z]{2}-\d{4}", r"(?i)answer:\s*(\w+)", r"^\s*\w+(?:\s+\w+)*\s*$"]:
        assert CorrectIf(kind="regex", pattern=pattern).pattern == pattern


@pytest.mark.parametrize(
    "text", ["label_in_text", "number(take=last, tolerance=0.01)", "json_equal(ignore_order, keys=[asks, about])"]
)
def test_a_rule_is_told_as_a_study_file_writes_it(text: str) -> None:
    rule = CorrectIf.model_validate(text)
    assert str(rule) == text
    assert CorrectIf.model_validate(str(rule)) == rule
