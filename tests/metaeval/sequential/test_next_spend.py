"""What an open difference would take: draws, items or repeats, and which of them is worth its price."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.metaeval.sequential.next_spend import Part, more_of, per_dollar, ways


def test_draws_alone_worked_by_hand() -> None:
    # the interval is twice as wide as the difference: a quarter of the variance may be left
    assert more_of(Part("draws", 1.0, 3), 0.25) == 9
    # a fifth of it is the items' and stays: .05 of .8 may be left of the draws', 16 times as many
    assert more_of(Part("draws", 0.8, 3), 0.25) == 45
    assert more_of(Part("draws", 0.7, 3), 0.25) is None
    assert more_of(Part("draws", 0.0, 3), 0.25) is None


def test_items_end_where_all_are_seen() -> None:
    # 1/50 - 1/200 = .015 is .6 of the variance; .2 may be left of it, a third: 1/n = 1/200 + .005
    assert more_of(Part("items", 0.6, 50, most=200), 0.6) == 50
    assert more_of(Part("items", 0.6, 50, most=200), 0.4) == 150
    assert more_of(Part("items", 0.6, 50, most=200), 0.39) is None


@given(st.floats(0.01, 1), st.integers(1, 50), st.floats(0.05, 0.95), st.integers(0, 100))
def test_as_many_are_enough_and_one_less_is_not(share: float, count: int, left: float, further: int) -> None:
    for most in (None, count + further):
        part = Part("x", share, count, most=most)
        more = more_of(part, left)
        if more is None or most == count:
            continue

        def variance(n: int, most: int | None = most) -> float:
            floor = 0.0 if most is None else 1 / most
            return 1 - share + share * (1 / n - floor) / (1 / count - floor)

        assert variance(count + more) <= left + 1e-9
        assert more == 1 or variance(count + more - 1) > left - 1e-9


def test_the_cheapest_way_comes_first_and_without_prices_the_order_stays() -> None:
    draws, items = Part("draws", 0.5, 3, 10.0), Part("items", 0.5, 50, 0.01)
    found = ways([draws, items], difference=0.08, half=0.1)  # .64 may be left
    assert [(way.what, way.more) for way in found] == [("items", 129), ("draws", 8)]
    assert found[0].price == pytest.approx(1.29)
    assert [way.what for way in ways([Part("draws", 0.5, 3), items], difference=0.08, half=0.1)] == ["draws", "items"]
    assert not ways([draws], difference=0.0, half=0.1) and not ways([draws], difference=0.1, half=math.inf)


def test_a_dollar_goes_where_it_lowers_the_variance_most() -> None:
    # .6 / (3 * 10) = .02 against .4 / (50 * .1) = .08 for a dollar
    assert per_dollar([Part("draws", 0.6, 3, 10.0), Part("items", 0.4, 50, 0.1)]) == "items"
    assert per_dollar([Part("draws", 0.6, 3, 1.0), Part("items", 0.4, 50, 0.1)]) == "draws"
    assert per_dollar([Part("draws", 0.6, 3, 1.0), Part("items", 0.4, 50, 0.1, most=50)]) == "draws"
    assert per_dollar([Part("draws", 0.6, 3, None), Part("items", 0.4, 50, 0.1)]) is None
    assert per_dollar([Part("draws", 0.6, 3, 0.0), Part("items", 0.4, 50, 0.0)]) is None
