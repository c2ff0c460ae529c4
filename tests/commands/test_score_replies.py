"""`assay score --keep-replies`: what the judge said stands beside its score, read or not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from assay.commands.score import Tally, _fields
from assay.records import Rating, Unscored


def test_raw_replies_stand_beside_scores_where_they_are_asked_for() -> None:
    outcomes = {
        "judge": [Rating(0.5, "Score: 5"), Unscored("unparsable", "<p>?</p>")],
        "bleu": [Rating(1.0), Rating(0.0)],
    }
    assert _fields(0, outcomes, ["judge"]) == {"judge": 0.5, "judge_reply": "Score: 5", "bleu": 1.0}
    assert _fields(1, outcomes, ["judge"])["judge_reply"] == "<p>?</p>"
    assert "judge_reply" not in _fields(1, outcomes)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0.5, 0.5, 0.5], None, None),
        ([0.1] * 50, None, None),
        ([0.4], None, None),
        ([0.4, 0.6], 0.0, 1.0),  # t(1) = 12.7 standard errors of .1, kept in range
        ([1.0, 1.0, 1.0], 0.4385, 1.0),
        ([0.2, 0.4, 0.9], 0.0, 1.0),
    ],
)
def test_the_mean_of_few_or_equal_scores_has_no_narrow_interval(
    values: list[float], low: float | None, high: float | None
) -> None:
    tally = Tally(0.0, 1.0)
    tally.take([Rating(value) for value in values])
    found = tally.summary("judge")
    assert found["low"] == (None if low is None else pytest.approx(low, abs=1e-4))
    assert found["high"] == (None if high is None else pytest.approx(high, abs=1e-4))


def test_the_interval_of_many_scores_is_students() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 30)
    tally = Tally(0.0, 1.0)
    tally.take([Rating(float(value)) for value in values])
    oracle = ttest_1samp(values, 0).confidence_interval()
    found = tally.summary("judge")
    assert (found["low"], found["high"]) == (pytest.approx(oracle.low), pytest.approx(oracle.high))
