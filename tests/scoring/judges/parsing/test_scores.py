"""The reader of one score: hand-read vectors, and laws that hold on any text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.scoring.judges.parsing import (
    compat_choice,
    compat_csv_pair,
    compat_first_line_pair,
    compat_integer,
    compat_last_lines_pair,
    looks_refused,
    parse_class,
    parse_option,
    parse_pair,
    parse_score,
    strict_bracket,
    strict_choice,
)
from support.linear_time import WORSE_THAN_LINEAR, growth

VECTORS: list[tuple[str, float, float, float | None]] = [
    ("7", 0, 10, 7),
    ("7.5", 0, 10, 7.5),
    ("**7**", 0, 10, 7),
    ("7/10", 0, 10, 7),
    ("4 out of 5", 1, 5, 4),
    ("Score: 7", 0, 10, 7),
    ("Score - 7", 0, 10, 7),
    ("**Score:** 7", 0, 10, 7),
    ("### Rating: 3/5 (good)", 1, 5, 3),
    ("Final score: 4 out of 5. It could be a perfect 5 out of 5.", 1, 5, 4),
    ("Score: 2\nFinal score: 4", 1, 5, 4),
    ("Final score: 4\nScore: 2", 1, 5, 4),
    ("Score: 2 ... no, Score: 3", 1, 5, 3),
    ("I'd give it a 7.", 0, 10, 7),
    ("I would rate this response 8 out of 10.", 0, 10, 8),
    ("The response earns a score of four.", 1, 5, 4),
    ("Four stars. It covers all.", 1, 5, 4),
    ("3 stars", 1, 5, 3),
    ("```\n7\n```", 0, 10, 7),
    ('```json\n{"score": 7}\n```', 0, 10, 7),
    ('{"score": 7, "reason": "gave 3 examples"}', 0, 10, 7),
    ('{"rating": "8/10"}', 0, 10, 8),
    ('Here it is: {"score": 6}. Hope it helps.', 0, 10, 6),
    ('{"score": 6, "reason": "cut off by the tok', 0, 10, 6),
    ("Rating: [[5]]", 1, 10, 5),
    ("Not [[3]] but [[4]]", 1, 10, 4),
    ("Rating:\n3", 1, 3, 3),
    ("1. Engagingness: 2", 1, 3, 2),
    ("The scale runs from 1 to 5. I choose 3/5.", 1, 5, 3),
    ("| Score | 4 |", 1, 5, 4),
    ("Score: ４", 1, 5, 4),
    ("B", 1, 5, 2),
    ("Answer: E", 1, 5, 5),
    ("D: The majority is consistent.", 1, 5, 4),
    ("\x1b[1mScore: 4\x1b[0m", 1, 5, 4),
    # a number off the scale is no rating, and no earlier one stands in for it
    ("11", 0, 10, None),
    ("-3", 0, 10, None),
    ("Score: 11", 0, 10, None),
    ("Score: 4. Score: 40", 1, 5, None),
    ("[[11]]", 1, 10, None),
    ('{"score": 11}', 0, 10, None),
    ('{"score": NaN}', 0, 10, None),
    ("Score: 8/10", 1, 5, None),
    ("80%", 0, 10, None),
    ("1e1", 0, 10, None),
    ("9" * 10_000, 0, 10, None),
    ("Score: " + "9" * 10_000, 0, 10, None),
    ("nan", 0, 10, None),
    ("Infinity", 0, 10, None),
    # prose with numbers rates nothing
    ("", 0, 10, None),
    ("The response names 3 of the 4 causes.", 0, 10, None),
    ("Kane scored 2 goals in 9 games.", 0, 10, None),
    ("The match ended 1-0.", 0, 10, None),
    ("Please rate from 1 to 5.", 1, 5, None),
    ("One of the best answers.", 1, 5, None),
    ("A good answer.", 1, 5, None),
    ("B", 0, 10, None),
    ("I cannot rate this.", 0, 10, None),
    ("[" * 10_000 + "7" + "]" * 10_000, 0, 10, 7),
    ('{"a":' * 10_000 + "7" + "}" * 10_000, 0, 10, None),
]


@pytest.mark.parametrize(("reply", "low", "high", "expected"), VECTORS, ids=range(len(VECTORS)))
def test_hand_read_scores(reply: str, low: float, high: float, expected: float | None) -> None:
    assert parse_score(reply, low, high) == expected


STRICT_VECTORS: list[tuple[str, float, float, float | None]] = [
    ("On a scale of 1-5: 4", 1, 5, 4),
    ("On a scale from 1 to 5, score: 4", 1, 5, 4),
    ("3,5/5", 1, 5, 3.5),
    ("I can't give this a rating of 7.", 0, 10, None),
    ("Rating: 8 -> revised to 6", 0, 10, 6),
    ("I was going to give a 9, but the date is wrong.", 0, 10, None),
    ("Accuracy: 9/10\nStyle: 6/10", 0, 10, None),
    ("Accuracy: 9/10\nStyle: 6/10\nOverall: 7/10", 0, 10, 7),
    ("[RESULT] 4", 1, 5, 4),
    ("Feedback: fine. [RESULT] 4", 1, 5, 4),
    ("Feedback: errors 2. So the score is (1 to 5) [RESULT] 4 [END]", 1, 5, 4),
    ("Overall: 7\nAccuracy: 9\nStyle: 6", 0, 10, 7),
    ("Accuracy score: 9\nStyle score: 6", 0, 10, None),
    ("$\\boxed{7}$", 0, 10, 7),
    ("Score: 7 or 8", 0, 10, None),
    ("Score: 7?", 0, 10, None),
    ("I would have given it an 8 if it were shorter.", 0, 10, None),
    ("I would give this a 7.", 0, 10, 7),
    ("The score is not 7.", 0, 10, None),
    ("I would not say the score is 7.", 0, 10, None),
    ("I give accuracy a 9 and style a 6.", 0, 10, None),
    ("It is not perfect and I give it a 3.", 1, 5, 3),
    ("Score: 8. On second thought, 6.", 0, 10, 6),
    ("Rating: 8, no wait, 6", 0, 10, 6),
    ("~~8~~ 6", 0, 10, 6),
    ("7~8", 0, 100, None),
    ("|9|6|", 0, 100, None),
    ("8,5", 0, 10, 8.5),
    ("Score: 1,000", 0, 10, None),
    ("1,2,3", 0, 10, None),
    ("I was asked to answer [[5]] or [[6]].", 1, 10, None),
    ("I was going to give [[9]], but the date is wrong.", 1, 10, None),
    ("[[9]] would be too high.", 1, 10, None),
    ("\\boxed{9}\nOn second thought, the date is wrong.", 1, 10, None),
    ("[[9]] -> [[6]]", 1, 10, 6),
    ("8\n9", 1, 10, None),
    ("8\nAs told.\n9", 1, 10, None),
    ("8\nAs told.\n8", 1, 10, 8),
    ("8\n-> 6", 1, 10, 6),
    ("4\nScore: 8", 1, 10, 8),
    ("Not [[3]] but [[4]]", 1, 10, 4),
    ("Initially I gave 9/10, but after checking I lowered it to 5.", 0, 10, 5),
    ("A 7? No.", 0, 10, None),
    ("It deserves neither a 7 nor an 8.", 0, 10, None),
    ("I don't think this deserves a 7.", 0, 10, None),
    ("I refuse to give it a 7", 0, 10, None),
    ("If it were shorter, I would give it a 9.", 0, 10, None),
    ("Score: 8. I withdraw this. I change my score", 0, 10, None),
    ("8 -> 6", 0, 10, 6),
    ("Coherence: 4", 1, 5, 4),
    ("Errors: 2\nScore: 4", 1, 5, 4),
    ("Accuracy: 3\nStyle: 4\nTotal: 7", 0, 10, None),
    ("Had it cited sources, this would be a 5.", 1, 5, None),
    ("I'd give it a 4, but only if you fix it.", 1, 5, None),
    ("Score: 4\nThe summary actually covers 3 points.", 1, 5, 4),
    ("I can't find any errors, so I give it a 5.", 1, 5, 5),
    ("I hesitate to give it a 5.", 1, 5, None),
    ("Rating: 4 (no 5 because of a typo)", 1, 5, 4),
    ("I cannot fault it. 5/5", 1, 5, 5),
    ("Rate: 4/5. The revised version adds 3 points.", 1, 5, 4),
]
"""Refused, negated, imagined, revised, parted by criteria: none of them is a guess."""


@pytest.mark.parametrize(("reply", "low", "high", "expected"), STRICT_VECTORS, ids=range(len(STRICT_VECTORS)))
def test_numbers_that_are_taken_back_are_no_scores(reply: str, low: float, high: float, expected: float | None) -> None:
    assert parse_score(reply, low, high) == expected


@pytest.mark.parametrize(
    ("reply", "listed", "expected"),
    [
        ("Response 1: 8,5\nResponse 2: 9,0", False, (8.5, 9)),
        ("8,5", False, None),
        ("8,5", True, (8, 5)),
        ("8.5,9", True, (8.5, 9)),
        ("8,5; 9", True, (8.5, 9)),
        ("8, 9", False, (8, 9)),
        ("8,5 9,0", False, (8.5, 9)),
        ("8,5,9,0", True, None),
        ("8,5,9,0", False, None),
        ("Output: **8**, **9**", True, (8, 9)),
        ("8/10,9/10", True, (8, 9)),
        ("I can't rate Response 1: 8 and Response 2: 9", False, None),
        ("Response 1: 8 -> 6\nResponse 2: 9", False, (6, 9)),
        ("Response 1: 8 or 9\nResponse 2: 9", False, None),
        ("10,7\n", True, (10, 7)),
        ("Output:\n10,7", True, (10, 7)),
        ("The score of Assistant 1: 8\nThe score of Assistant 2: 7,5", False, (8, 7.5)),
        ("scores are (8,9)", False, (8, 9)),
        ("1. 8\n2. 9", False, None),
        ("Response 1: 8\nResponse 2: 9\nOn reflection, Response 1: 6", False, (6, 9)),
        ("8,9\n\nI'd revise this: 7,9", True, (7, 9)),
    ],
)
def test_pairs_with_decimal_commas_and_second_thoughts(
    reply: str, listed: bool, expected: tuple[float, float] | None
) -> None:
    assert parse_pair(reply, comma_separates=listed) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("7", 7.0),
        (" 7\n", 7.0),
        ("12", 12.0),
        ("-1", -1.0),
        ("7.0", None),
        ("7/9", None),
        ("Score: 7", None),
        ("", None),
    ],
)
def test_published_ratings_are_int_of_the_reply(reply: str, expected: float | None) -> None:
    assert compat_integer(reply) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("8 9\nBoth fine.", (8, 9)),
        ("8.5, 9", None),
        ("8,9\n", (8, 9)),
        ("8 9 ", None),
        ("Scores: 8 9", None),
        ("", None),
    ],
)
def test_published_first_line_of_reviews(reply: str, expected: tuple[float, float] | None) -> None:
    assert compat_first_line_pair(reply) == expected


def test_published_last_lines_of_faireval() -> None:
    reply = "Evaluation evidence: fine\nThe score of Assistant 1: 8\nThe score of Assistant 2: 9.5"
    assert compat_last_lines_pair(reply) == (8, 9.5)
    assert compat_last_lines_pair(reply + "\n") is None


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("The scores are (8, 9) for Assistant 1 and 2.", (8, 9)),
        ("Scores:\nAssistant 1: 10 (right)\nAssistant 2: 4 (wrong)\n\nAssistant 1 is better.", (10, 4)),
        ("Here, (x1, y1) = (2, -2) and (x2, y2) = (10, 4).\nThe tuple is (10, 1).", (10, 1)),
        ("4 8\n\nBetter:\n```python\na, b = 0, 1\n```", (4, 8)),
        ("0 9", None),
    ],
)
def test_two_scores_from_1_to_10(reply: str, expected: tuple[float, float] | None) -> None:
    assert parse_pair(reply, 1, 10) == expected


def test_a_refusal_is_told_from_a_verdict_by_its_wording() -> None:
    assert looks_refused("I'm sorry, but I can't help with that.")
    assert not looks_refused("The answer says sorry to the reader.")


PIECES = (
    *("score:", "final", "rating", "7", "8/10", "out", "of", "[[", "]]", "{", "}", '"', ",", "\n", "*", "-", "(", ")"),
    *("1e9", "NaN", "-1", "A:", "Output (a)", "is better.", "Response 1:", "```", "\x1b[31m", "one", "five", "stars"),
)
ANY_TEXT = st.one_of(
    st.text(max_size=300),
    st.lists(
        st.sampled_from(PIECES),
        max_size=60,
    ).map(" ".join),
)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
def test_readers_never_raise_and_keep_to_the_scale(text: str) -> None:
    for low, high in ((0.0, 10.0), (1.0, 5.0)):
        score = parse_score(text, low, high)
        assert score is None or low <= score <= high
        pair = parse_pair(text, low, high)
        assert pair is None or all(low <= value <= high for value in pair)
    published = compat_csv_pair(text)
    assert published is None or all(0 <= value <= 10 for value in published)
    compat_integer(text), compat_first_line_pair(text), compat_last_lines_pair(text), looks_refused(text)
    assert compat_choice(text) in (1, 2, None)
    assert strict_choice(text) in (0, 1, 2, None)
    assert strict_bracket(text) in (0, 1, 2, None)
    assert parse_option(text, "ABC") in ("A", "B", "C", None)
    assert parse_class(text, ("Subjective", "Objective")) in ("Subjective", "Objective", None)


@given(st.integers(0, 10), st.integers(0, 10))
def test_both_modes_read_plain_csv_alike(first: int, second: int) -> None:
    reply = f"{first},{second}"
    assert compat_csv_pair(reply) == parse_pair(reply, comma_separates=True) == (first, second)


@given(st.decimals(1, 5, places=2), st.sampled_from(["{}", "Score: {}", "**{}**", "{}/5", "a score of {}."]))
def test_a_number_on_the_scale_is_read_in_every_usual_dress(value: object, dress: str) -> None:
    assert parse_score(dress.format(value), 1, 5) == float(str(value))


@pytest.mark.parametrize(
    "piece", ["9", "1/", "8,", "[[1", "score: ", '{"a":', "score of 4, ", "between 1 and ", "(1", "```"]
)
def test_hostile_replies_are_read_in_time_that_grows_with_their_length(piece: str) -> None:
    assert growth(lambda text: parse_score(text, 1, 5), piece, 40_000) < WORSE_THAN_LINEAR
    assert growth(parse_pair, piece, 40_000) < WORSE_THAN_LINEAR
    assert growth(strict_choice, piece, 40_000) < WORSE_THAN_LINEAR
    assert growth(lambda text: parse_option(text, "ABC"), piece, 40_000) < WORSE_THAN_LINEAR
