"""Agreement of two annotators: worked by hand, and beside scikit-learn where it has the same thing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.statistics.annotators import annotator_agreement, icc, plain_kappa, quadratic_kappa


def test_kappas_equal_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    x = rng.integers(1, 6, 200).astype(float)
    y = np.clip(x + rng.integers(-1, 2, 200), 1, 5)
    assert plain_kappa(x, y) == pytest.approx(metrics.cohen_kappa_score(x, y))
    assert quadratic_kappa(x, y) == pytest.approx(metrics.cohen_kappa_score(x, y, weights="quadratic"))


def test_icc_of_shrout_and_fleiss() -> None:
    # their table 2 (6 targets), raters 1 and 3; mean squares by hand: items 4.4167, raters 52.0833, rest 2.0833:
    # (4.4167 - 2.0833) / (4.4167 + 2.0833 + 2 (52.0833 - 2.0833) / 6) = 2.3333 / 23.1667
    first, third = np.array([9.0, 6, 8, 7, 10, 6]), np.array([5.0, 3, 6, 2, 6, 4])
    table = np.stack([first, third], axis=1)
    items = 2 * np.sum((table.mean(axis=1) - table.mean()) ** 2) / 5
    raters = 6 * np.sum((table.mean(axis=0) - table.mean()) ** 2)
    rest = (np.sum((table - table.mean()) ** 2) - 5 * items - raters) / 5
    assert icc(first, third) == pytest.approx((items - rest) / (items + rest + 2 * (raters - rest) / 6))
    assert icc(first, first) == 1.0


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=3, max_size=20))
def test_agreement_never_exceeds_one_and_does_not_depend_on_who_is_first(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    for measure in (plain_kappa, quadratic_kappa, icc):
        value, turned = measure(x, y), measure(y, x)
        assert np.isnan(value) or value <= 1 + 1e-12
        assert (np.isnan(value) and np.isnan(turned)) or value == pytest.approx(turned)


def test_rows_count_what_is_left_out_and_say_why_there_is_no_number() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(1, 6, 60).astype(float)
    y = np.clip(x + rng.integers(-1, 2, 60), 1, 5)
    y[:10] = np.nan
    scores = np.stack([x, y, np.full(60, 3.0)])
    rows = annotator_agreement(scores, ["a", "b", "c"], seed_key="t", resamples=300)
    assert [(row["first"], row["second"], row["n"], row["left_out"]) for row in rows] == [
        ("a", "b", 50, 10),
        ("a", "c", 60, 0),
        ("b", "c", 50, 10),
    ]
    for name in ("kappa", "kappa_quadratic", "icc", "spearman"):
        found = rows[0][name]
        assert found["low"] < found["value"] < found["high"]
    assert rows[1]["spearman"]["value"] is None
    assert "one rating throughout" in rows[1]["spearman"]["reason"]
    continuous = annotator_agreement(rng.normal(size=(2, 40)), ["a", "b"], seed_key="t", resamples=200)
    assert "no levels" in continuous[0]["kappa"]["reason"]
