"""IFS, its correction and paired differences: worked by hand, laws, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.statistics.ifs import (
    MISFIT,
    corrected_difference,
    corrected_ifs,
    ifs,
    ifs_report,
    paired_difference,
)


@st.composite
def counts(draw: st.DrawFn, least: int = 1) -> tuple[int, int]:
    n = draw(st.integers(least, 2000))
    return draw(st.integers(0, n)), n


def test_correction_worked_by_hand() -> None:
    # (0.70 + 0.95 - 1) / (0.90 + 0.95 - 1) = 0.65 / 0.85
    found = corrected_ifs((210, 300), (900, 1000), (950, 1000))
    assert found.value == pytest.approx(0.65 / 0.85)
    assert found.low < found.value < found.high
    # wider than Wilson's interval over the same responses, scaled: two more proportions are uncertain
    raw = ifs(np.arange(300) < 210)
    assert found.high - found.low > (raw.high - raw.low) / 0.85 * 0.99


def test_a_perfect_classifier_corrects_nothing_but_the_interval() -> None:
    found = corrected_ifs((210, 300), (10**7, 10**7), (10**7, 10**7))
    raw = ifs(np.arange(300) < 210)
    assert found.value == raw.value
    assert (found.low, found.high) == pytest.approx((raw.low, raw.high), abs=2e-3)


@given(counts(), counts(), counts())
def test_correction_stays_in_range_and_holds_its_value(
    score: tuple[int, int], sensitivity: tuple[int, int], specificity: tuple[int, int]
) -> None:
    found = corrected_ifs(score, sensitivity, specificity)
    if not found.is_defined:
        assert "no better than chance" in found.reason
        return
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(counts(200), counts(200))
def test_correction_rises_with_the_score(sensitivity: tuple[int, int], specificity: tuple[int, int]) -> None:
    values = [corrected_ifs((k, 100), sensitivity, specificity).value for k in (0, 25, 50, 75, 100)]
    assert values == sorted(values) or np.isnan(values).all()


def test_a_rate_that_the_classifier_cannot_give_says_so() -> None:
    assert corrected_ifs((299, 300), (600, 1000), (900, 1000)).reason == MISFIT
    assert corrected_ifs((270, 300), (900, 1000), (900, 1000)).reason == ""


@pytest.mark.parametrize("truth", [0.0, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("num_held_out", [100, 1000])
def test_the_corrected_interval_covers_the_truth(truth: float, num_held_out: int) -> None:
    """truth 1.0 is the perfect model: raw IFS is then about the sensitivity, and the corrected one covers 1."""
    sensitivity, specificity, n, repeats = 0.9, 0.95, 300, 1000
    rng = np.random.default_rng(7)
    rate = truth * sensitivity + (1 - truth) * (1 - specificity)
    covered = 0
    for _ in range(repeats):
        found = corrected_ifs(
            (int(rng.binomial(n, rate)), n),
            (int(rng.binomial(num_held_out, sensitivity)), num_held_out),
            (int(rng.binomial(num_held_out, specificity)), num_held_out),
        )
        covered += found.low <= truth <= found.high
    assert covered / repeats >= 0.935  # 95 % less two standard errors; at the edges clipping makes it more


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_paired_difference_is_the_difference_of_rates_and_antisymmetric(pairs: list[tuple[bool, bool]]) -> None:
    later, earlier = zip(*pairs, strict=True)
    there, back = paired_difference(later, earlier), paired_difference(earlier, later)
    assert there.value == pytest.approx(ifs(later).value - ifs(earlier).value)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert -1 <= there.low <= there.value <= there.high <= 1


def test_pairing_is_narrower_than_two_samples() -> None:
    rng = np.random.default_rng(1)
    earlier = rng.random(300) < 0.9
    later = earlier ^ (rng.random(300) < 0.03)
    paired = paired_difference(later, earlier)
    alone = ifs(later)
    assert paired.high - paired.low < alone.high - alone.low


def test_an_unchanged_model_has_gained_less_than_two_points() -> None:
    labels = np.arange(300) < 270
    assert paired_difference(labels, labels).high < 0.02
    assert corrected_difference(labels, labels, (900, 1000), (950, 1000)).high < 0.02


@pytest.mark.parametrize("gain", [0.0, 0.05, 0.3])
def test_the_corrected_difference_covers_the_truth(gain: float) -> None:
    sensitivity, specificity, n, num_held_out, repeats = 0.9, 0.95, 300, 1000, 800
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(repeats):
        first = rng.random(n) < 0.5
        second = first | (rng.random(n) < gain / 0.5)  # half of the prompts can still be gained
        noise = rng.random(n)  # the classifier sees much the same text on both sides

        def labels(truth: np.ndarray, noise: np.ndarray = noise) -> np.ndarray:
            return np.where(truth, noise < sensitivity, noise > specificity)

        found = corrected_difference(
            labels(second),
            labels(first),
            (int(rng.binomial(num_held_out, sensitivity)), num_held_out),
            (int(rng.binomial(num_held_out, specificity)), num_held_out),
        )
        covered += found.low <= gain <= found.high
    assert covered / repeats >= 0.93


def test_report_splits_fragments_from_whole_prompts_and_counts_what_is_missing() -> None:
    report = ifs_report([True, False, True, True], [True, True, False, False], (90, 100), (90, 100), {"timeout": 2})
    assert (report.overall.num_answer_like, report.partial.num_answer_like, report.full.num_answer_like) == (3, 1, 2)
    assert report.partial.raw.value == 0.5
    assert report.num_prompts == 6
    assert report.as_json()["missing"] == {"timeout": 2}
