"""What an undecided difference would take, in draws, items, GPU-hours and dollars."""

from __future__ import annotations

from typing import Any

from assay.studies.catalog import load_study
from assay.studies.deciding.prices import Cost, Prices, planned_prices, prices_of, would_take
from assay.studies.deciding.wording import decision_lines
from assay.studies.planning.estimate import plan

PRICES = Prices(0.5, 0.001, 0.01, rows=100, seeds=2, num_items={"sst2": 200}, gpu_hour_usd=2.0)


def finding(**changes: Any) -> dict[str, Any]:
    """An interval twice as wide as the difference: a quarter of the variance may be left."""
    plain = {"first": "a", "second": "b", "word": "undecided", "difference": 0.1, "low": -0.1, "high": 0.3}
    return {**plain, "items_share": 0.0, "more": 9, **changes}


def test_draws_are_priced_with_their_trainings_and_answers() -> None:
    # nine more draws of two arms, two trainings each: 36 trainings of half an hour and 100 answers
    assert would_take(finding(), 3, None, "sst2", PRICES) == "about 9 more draws (21.6 GPU-hours, 36.00 dollars)"
    assert would_take(finding(), 3, None, "sst2", None) == "about 9 more draws"
    unknown = Prices(None, None, None, 100, 2, {"sst2": 200})
    assert "(GPU-hours unknown, dollars unknown)" in would_take(finding(), 3, None, "sst2", unknown)


def test_items_come_first_where_they_are_the_cheaper_way() -> None:
    # .64 may be left, .14 of a part of .5: 1/n = 1/200 + .28 (1/50 - 1/200), n = 109; and 3 / .28 draws
    told = would_take(finding(items_share=0.5, difference=0.16, low=-0.04, high=0.36), 3, 50, "sst2", PRICES)
    first, _, rest = told.partition(" or ")
    assert first.startswith("about 59 more items (0.708 GPU-hours, 7.08 dollars)")
    assert rest.startswith("about 8 more draws (19.2 GPU-hours, 32.00 dollars)")
    assert told.endswith("the next dollar tells most as items")


def test_what_is_decided_or_not_seen_takes_nothing() -> None:
    assert not would_take(finding(word="better"), 3, None, "sst2", PRICES)
    assert not would_take(finding(low=None, high=None), 1, None, "sst2", PRICES)
    assert not would_take(finding(difference=0.0), 3, None, "sst2", PRICES)


def test_a_line_says_that_it_is_undecided_and_what_the_nearest_would_need() -> None:
    one = {"look": 3, "items": None, "leader": "a", "leader_mean": 0.6, "leader_low": 0.5, "leader_high": 0.7}
    findings = [finding(first="a", second="c", more=40, difference=0.05), finding()]
    family = {
        "task": "sst2", "base_model": "tiny",
        "rounds": [{**one, "dropped": {}, "kept": {}, "is_answered": False, "findings": findings}],
    }  # fmt: skip
    (line,) = decision_lines(family, PRICES)
    assert line.endswith(
        "undecided: 2 of 2 differences open; the nearest, a against b, would need about 9 more draws "
        "(21.6 GPU-hours, 36.00 dollars)"
    )


def test_prices_come_from_the_plan_and_survive_json() -> None:
    estimate = plan(load_study("s1", []))
    prices = planned_prices(estimate, 1, {"sst2": 500}, None)
    assert prices.training_gpu_hours is not None and estimate.train_gpu_hours is not None
    assert 0 < estimate.train_gpu_hours < (estimate.gpu_hours or 0)
    whole = Cost(prices.training_gpu_hours, 0.0).times(estimate.distinct_trainings)
    whole = whole.plus(Cost(prices.answer_gpu_hours, prices.answer_usd).times(estimate.predictions))
    assert whole.gpu_hours is not None and abs(whole.gpu_hours - (estimate.gpu_hours or 0)) < 1e-3
    assert prices_of({"prices": prices.as_dict()}) == prices and prices_of({}) is None
