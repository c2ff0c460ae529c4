"""Readers of choices: LLMBar's patterns first or last, brackets, options, class names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from assay.scoring.judges.parsing.choices import is_contested
from support.linear_time import WORSE_THAN_LINEAR, growth


@pytest.mark.parametrize(
    ("reply", "published", "right"),
    [
        ("Output (a)", 1, 1),
        (" Output (b)\n", 2, 2),
        ("Output (b)\nOutput (a)", 1, None),
        ("Output (a)\nOutput (b)", 1, None),  # the published reader takes (a) first, wherever it stands
        ("Output (a)\nOutput (b)\nOutput (a)", 1, None),
        ("Output (a)\nFinal answer: Output (b)", 1, 2),
        ("Output (a)\nOutput (a)", 1, 1),
        ("Output (a):\nterse\nOutput (b):\nwordy", 1, None),
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


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("Output (a) is better written, but it ignores the constraint.\n\nOutput (b)", 2),
        ("Output (a) is not better. Output (b)", 2),
        ("Output (a) is worse than Output (b).", None),
        ("Neither is perfect, Output (b) is slightly better than Output (a).", 2),
        ("Output (a): x.\nOutput (b): y.", None),
        ("Output (b) is better. However, Output (b) is worse at style.", None),
        ("Although Output (a) is better, Output (b) is preferred.", 2),
        ("If Output (a) were complete it would win. Output (b)", 2),
        ("Therefore, neither Output (a) nor Output (b) is better.", 0),
        ("Which is better, Output (a) or Output (b)?", None),
        ("I don't think Output (a) is better.", None),
        ("I prefer Output (b) over Output (a).", 2),
        ("Output (b)\n\nExplanation: Output (a) fails.", 2),
        ("Feedback: dull. [RESULT] A", 1),
        ("[[A>>B]]", 1),
        ("Output (a) is better, Output (b) is better.", None),
        ("One might argue that Output (a) is better. But I'd pick Output (b).", 2),
        ("This is not a tie.", None),
        ("Output (a) is better in style.", None),
        ("\\boxed{B}", 2),
        ("Output (a) would be better if it were short.", None),
        ("I cannot choose Output (a).", None),
        ("Output (a) is better in accuracy.", None),
        ("Both outputs are good, but Output (a) edges out Output (b).", None),
        ("Output (a) is better in tone and style.", None),
        ("Output (a) is the better choice for short answers.", None),
        ("Output (b) wins on clarity.", None),
        ("Output (a) is better than expected.", None),
        ("Output (b) is better in this case.", 2),
        ("Output (b) is better in terms of following the instruction.", 2),
        ("Output (b) is better because it is right in all respects.", 2),
        ("It is tempting to choose Output (a).", None),
        ("I was tempted to prefer Output (a), but Output (b) is better.", 2),
        ("I was going to pick Output (a).", None),
        ("Many users would prefer Output (a).", None),
        ("I would choose Output (b).", 2),
        ("[[A]] would be wrong: (b) follows the instruction.", None),
        ("[[A]] is not right. Output (b) is better.", 2),
        ("[[A]]\n\nOn reflection, Output (b) is better.", None),
        ("[[A]]\n\nActually, Output (a) is worse.", None),
        ("[[A]]\n\nOutput (a) is better written, and it is right.", 1),
    ],
)
def test_the_last_word_decides_and_nothing_is_guessed(reply: str, right: int | None) -> None:
    for patterns in (LABEL, COT):
        assert strict_choice(reply, patterns) == right


def test_a_contested_reply_is_told_from_one_that_says_nothing() -> None:
    assert is_contested("Output (a) is worse than Output (b).")
    assert is_contested("I was asked to answer [[A]] or [[B]].")
    assert not is_contested("A good question.")


VERDICT_PIECES = (
    "Output (a)",
    "Output (b)",
    "is better",
    "is not",
    "worse",
    "than",
    ".",
    "\n",
    "[[A]]",
    "[[A>B]]",
    "tie",
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(VERDICT_PIECES), max_size=30).map(" ".join))
def test_a_reply_in_which_both_outputs_change_names_has_the_other_verdict(reply: str) -> None:
    swapped = reply.replace("(a)", "(x)").replace("(b)", "(a)").replace("(x)", "(b)")
    swapped = swapped.replace("[[A]]", "[[B]]").replace("[[A>B]]", "[[B>A]]")
    assert strict_choice(swapped) == {1: 2, 2: 1}.get(strict_choice(reply) or 0, strict_choice(reply))


@pytest.mark.parametrize("piece", ["Output (a) is better ", "[[A]] ", "not Output (a) ", "is the better one ", "(a)\n"])
def test_hostile_verdicts_are_read_in_linear_time(piece: str) -> None:
    assert growth(strict_choice, piece, 40_000) < WORSE_THAN_LINEAR
    assert growth(strict_bracket, piece, 40_000) < WORSE_THAN_LINEAR


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
        ("I was asked to answer [[A]], [[B]] or [[C]].", 1, None),
        ("[[A]] at first. [[B]]", 1, 2),
        ("[[A]] or [[C]]", 1, None),
        ("[[A]]?", 1, None),
        ("My final verdict is: [[A>>B]]", None, 1),
        ("[[A<B]]", None, 2),
        ("[[A=B]]", None, 0),
        ("[[tie]]", None, 0),
        ("Something like, for example: [[A]]", 1, None),
        ("[[A]] is wrong.", 1, None),
        ("[[A]] if assistant A is better.", 1, None),
        ("[[A]] isn't fair. [[B]]", 1, 2),
        ("I was tempted to say [[A]].", 1, None),
        ("I would say [[A]].", 1, 1),
        ("The better one is [[B]], since it is not wrong.", 2, 2),
        ("[[B]] is my final verdict.", 2, 2),
        ("[[A]]. Scratch that, it lies.", 1, None),
        ("[[A]]. On reflection, [[B]]", 1, 2),
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
        ("A: Summary #1 is fluent.\nB: Summary #2 is dull.", None),
        ("A: Summary #1 is fluent.\nB: Summary #2 is dull.\nAnswer: A", "A"),
        ("[[A]] or [[B]]", None),
        ("A\nB", None),
        ("A\nB\nAnswer: B", "B"),
        ("A\nit is fluent\nA", "A"),
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
        ("It is not objective.", None),
        ("Not subjective but objective.", "Objective"),
        ("I can't call this objective.", None),
        ("Is it subjective?", None),
        ("Subjective\nObjective", None),
        ("Subjective\nObjective\nLabel: Objective", "Objective"),
        ("", None),
    ],
)
def test_class_names(reply: str, expected: str | None) -> None:
    assert parse_class(reply, ("Subjective", "Objective")) == expected


def test_of_names_that_contain_each_other_the_longest_counts() -> None:
    names = ("Summarize", "MemorySummarize", "Write", "Rewrite")
    assert parse_class("Category: MemorySummarize", names) == "MemorySummarize"
    assert parse_class("I would say Rewrite here", names) == "Rewrite"
