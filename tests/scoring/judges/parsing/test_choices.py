"""Readers of choices: LLMBar's patterns first or last, brackets, options, class names."""

from __future__ import annotations

import pytest

from assay.errors import ConfigError
from assay.scoring.judges.parsing import (
    COT,
    LABEL,
    Patterns,
    compat_bracket,
    compat_choice,
    parse_class,
    parse_option,
    strict_bracket,
    strict_choice,
)


@pytest.mark.parametrize(
    ("reply", "published", "right"),
    [
        ("Output (a)", 1, 1),
        (" Output (b)\n", 2, 2),
        ("Output (b)\nOutput (a)", 1, 1),
        ("Output (a)\nOutput (b)", 1, 2),  # the published reader takes (a) first, wherever it stands
        ("I prefer Output (b).", None, 2),
        ("output (b)", None, 2),
        ("(b)", None, 2),
        ("b", None, 2),
        ("**Output (b)**", None, 2),
        ("Output (a): terse.\nOutput (b): wordy.\nTherefore, Output (a) is better.", 1, 1),
        ("The better one is Output (b).", None, 2),
        ("Both are equally good.", None, 0),
        ("Neither.", None, 0),
        ("A good question.", None, None),
        ("", None, None),
    ],
)
def test_label_replies(reply: str, published: int | None, right: int | None) -> None:
    assert compat_choice(reply, LABEL) == published
    assert strict_choice(reply, LABEL) == right


@pytest.mark.parametrize(
    ("reply", "published", "right"),
    [
        ("Output (b) is longer. Therefore, Output (b) is better.", 2, 2),
        ("At first Output (a) is better. Yet it lies. Therefore, Output (b) is better.", 1, 2),
        ("Output (a) is better, in tone. Still, Output (b) is better.", 1, 2),
        ("Therefore, Output (a) is the better one.", None, 1),
        ("Therefore, neither Output (a) nor Output (b) follows the instruction.", None, 0),
        ("Output (a) is short. Output (b) is long.", None, None),
        ("Neither is perfect. Output (a) drops a word, while Output (b) adds on", None, None),  # cut off
        ("Neither is perfect. Output (b) adds one.", None, None),
    ],
)
def test_explained_replies_are_decided_by_their_last_verdict(
    reply: str, published: int | None, right: int | None
) -> None:
    assert compat_choice(reply, COT) == published
    assert strict_choice(reply, COT) == right


def test_patterns_of_a_user_replace_the_defaults() -> None:
    patterns = Patterns.from_config({"1": "WINNER=A", "2": "WINNER=B"}, "test")
    assert compat_choice("Output (a)\nWINNER=B", patterns) == 2
    assert strict_choice("WINNER=A, no, WINNER=B. Output (a) is better.", patterns) == 2
    assert strict_choice("Output (a)", patterns) is None


@pytest.mark.parametrize("config", [{"1": "x"}, {"1": "(", "2": "x"}, {"1": 3, "2": "x"}, ["a"]])
def test_bad_patterns_are_refused_in_one_line(config: object) -> None:
    with pytest.raises(ConfigError) as error:
        Patterns.from_config(config, "judge_configs.json")  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("reply", "published", "right"),
    [
        ("[[A]]", 1, 1),
        ("Final: [[B]]", 2, 2),
        ("[[C]]", 0, 0),
        ("Not [[A]] but [[B]]", 1, 2),
        ("[[ b ]]", None, 2),
        ("B", None, 2),
        ("[[D]]", None, None),
        ("A is better", None, None),
    ],
)
def test_bracket_replies(reply: str, published: int | None, right: int | None) -> None:
    assert compat_bracket(reply) == published
    assert strict_bracket(reply) == right


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("A", "A"),
        ("b", "B"),
        ("B: Summary #2 is more coherent.", "B"),
        ("Answer: C", "C"),
        ("(A)", "A"),
        ("I compared both.\nB", "B"),
        ("[[C]]", "C"),
        ("A summary of the two", None),
        ("D", None),
        ("", None),
    ],
)
def test_option_letters(reply: str, expected: str | None) -> None:
    assert parse_option(reply, "ABC") == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Objective", "Objective"),
        ("**subjective**", "Subjective"),
        ("Label: Objective.", "Objective"),
        ("The answer is clearly subjective, as it picks a side.", "Subjective"),
        ("It is objective in part.\nSubjective", "Subjective"),
        ("Objective or subjective", None),
        ("nonobjective", None),
        ("", None),
    ],
)
def test_class_names(reply: str, expected: str | None) -> None:
    assert parse_class(reply, ("Subjective", "Objective")) == expected


def test_of_names_that_contain_each_other_the_longest_counts() -> None:
    names = ("Summarize", "MemorySummarize", "Write", "Rewrite")
    assert parse_class("Category: MemorySummarize", names) == "MemorySummarize"
    assert parse_class("I would say Rewrite here", names) == "Rewrite"
