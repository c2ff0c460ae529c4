"""Rates and calibration of a binary classifier: by hand, and where calibration is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.statistics.bootstrap import seeded
from assay.metaeval.statistics.classifier import calibration, classifier_report

RNG = seeded("test")


def test_calibration_error_worked_by_hand() -> None:
    # bin .2-.3: mean .25, share 0/2: gap .25; bin .9-1: mean .95, share 1/2: gap .45; both weigh 1/2
    found = calibration([0.2, 0.3 - 1e-9, 0.95, 0.95], [False, False, True, False], RNG)
    assert found.ece.value == pytest.approx(0.5 * 0.25 + 0.5 * 0.45)
    assert found.brier.value == pytest.approx((0.04 + 0.09 + 0.0025 + 0.9025) / 4, abs=1e-6)
    assert [part.n for part in found.bins if part.n] == [2, 2]


def test_true_probabilities_are_calibrated_and_shifted_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(4000)
    labels = rng.random(4000) < truth
    honest = calibration(truth, labels, RNG)
    boasting = calibration(np.clip(truth + 0.2, 0, 1), labels, RNG)
    assert honest.ece.high < 0.05
    assert boasting.ece.low > 0.1
    inside = [part.positive.low <= part.mean_probability <= part.positive.high for part in honest.bins]
    assert sum(inside) >= 8


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_errors_stay_in_range(rows: list[tuple[float, bool]]) -> None:
    probabilities, labels = zip(*rows, strict=True)
    found = calibration(probabilities, labels, np.random.default_rng(0))
    assert 0 <= found.ece.value <= 1
    assert 0 <= found.brier.value <= 1
    assert sum(part.n for part in found.bins) == len(rows)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        calibration([1.2], [True], RNG)
    with pytest.raises(ValueError, match="expected as many"):
        calibration([0.2, 0.3], [True], RNG)


def test_a_rule_stands_beside_the_classifier() -> None:
    report = classifier_report(
        [0.9, 0.8, 0.1, 0.7], [True, True, False, False], [True, False, False, False], RNG, groups=["a", "a", "b", "c"]
    )
    assert report["classifier"]["sensitivity"]["value"] == 1.0
    assert report["classifier"]["specificity"]["value"] == 0.5
    assert report["rule"]["accuracy"]["value"] == 0.75
    assert report["classifier"]["by_group"]["c"]["value"] == 0.0
    assert report["versus_rule"] == {"only_classifier_right": 1, "only_rule_right": 1, "p": 1.0}
