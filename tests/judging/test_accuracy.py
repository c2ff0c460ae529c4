"""Statistics of verdicts on pairs, worked by hand, in both modes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.judging.accuracy import Judged, PairItem, Verdicts, run_report
from assay.judging.comparisons import averages, comparisons, macro_comparisons
from assay.metaeval.statistics.clustered import student_quantile
from assay.scoring.judges.calls import NOTHING

UNREAD = ("unparsable", "unparsable")


def judged(rows, mode="compat", subset="S", strategy="vanilla") -> Judged:
    """Rows of (gold, Verdicts) or (gold, original, swapped)."""
    items, verdicts = [], []
    for gold, *rest in rows:
        items.append(PairItem("q", "long answer" if gold == 1 else "x", "x" if gold == 1 else "long answer", gold))
        verdicts.append(rest[0] if isinstance(rest[0], Verdicts) else Verdicts(*rest, status=statuses(*rest)))
    return Judged(subset, "j", strategy, mode, items, verdicts)


def statuses(*winners) -> tuple[str, str]:
    first, second = ("unparsable" if winner is None else "ok" for winner in winners)
    return first, second


def test_labels_count_as_published_and_as_done_right() -> None:
    rows = [(1, 1, 1), (1, 1, 2), (2, None, None), (2, 2, None), (1, 0, 0)]
    compat, strict = run_report(judged(rows)).as_json(), run_report(judged(rows, "strict")).as_json()
    # right: 2 + 1 + 0 + 1 + 0 of 10 verdicts; both orders: the first pair alone
    for run in (compat, strict):
        assert (run["n"], run["accuracy"], run["accuracy_both_orders"]) == (5, 0.4, 0.2)
        assert (run["accuracy_original_order"], run["accuracy_swapped_order"]) == (0.6, 0.2)
        assert (run["none_rate"], run["tie_rate"]) == (0.3, 0.2)
        # 1 + 1/2 + 1/2 + 3/4 + 1/2 of 5
        assert run["accuracy_half_credit"] == pytest.approx(0.65)
        assert run["coverage"] == {"asked": 5, "scored": 3, "unscored": {"unparsable": 2}, "left_out": 0}
    # same verdict: pairs 1, 3 (None = None) and 5 of 5; strict leaves pairs 3 and 4 out: 1 and 5 of 3
    assert compat["positional_agreement"] == 0.6
    assert strict["positional_agreement"] == pytest.approx(2 / 3)


def test_rating_ties_and_unreadable_ratings_are_half_right_and_disagree_in_compat() -> None:
    tie, unread = Verdicts(0, 0, "rating"), Verdicts(None, None, "rating", UNREAD)
    rows = [(1, tie), (2, tie), (1, unread), (2, unread), (1, Verdicts(1, 1, "rating"))]
    run = run_report(judged(rows, strategy="rating")).as_json()
    assert run["accuracy"] == (4 * 0.5 + 1) / 5
    assert run["positional_agreement"] == 1 / 5 and run["accuracy_both_orders"] == 1 / 5
    # the published code names output 2 first for a tie and output 1 first for an unreadable rating
    assert run["accuracy_original_order"] == (0 + 1 + 1 + 0 + 1) / 5
    assert (run["none_rate"], run["tie_rate"], run["position"]) == (0.4, 0.4, None)
    strict = run_report(judged(rows, "strict", strategy="rating")).as_json()
    assert (strict["accuracy"], strict["accuracy_half_credit"]) == (0.2, 0.6)


def test_a_call_without_a_reply_is_missing_data_and_no_wrong_verdict() -> None:
    lost = Verdicts(1, None, "label", ("ok", "error: timeout"))
    run = run_report(judged([(1, 1, 1), (1, lost)], "strict")).as_json()
    assert (run["n"], run["accuracy"]) == (1, 1.0)
    assert run["coverage"] == {"asked": 2, "scored": 1, "unscored": {"error: timeout": 1}, "left_out": 1}
    # an empty reply is a reply to the published code
    empty = Verdicts(1, None, "label", ("ok", NOTHING))
    assert run_report(judged([(1, empty)])).as_json()["accuracy"] == 0.5
    assert run_report(judged([(1, empty)], "strict")).as_json()["n"] == 0


def test_kappa_is_on_the_true_labels() -> None:
    # 8 verdicts: gold 1: 3 x "1", 1 x "2"; gold 2: 1 x "1", 3 x "2": agreement 6/8, chance 1/2
    rows = [(1, 1, 1), (1, 1, 2), (2, 2, 2), (2, 2, 1)]
    found = run_report(judged(rows)).as_json()["kappa"]
    assert found["value"] == pytest.approx((6 / 8 - 1 / 2) / (1 - 1 / 2))
    assert run_report(judged([(1, 1, 1)])).as_json()["kappa"]["value"] is None


def test_strata_split_by_the_length_of_the_better_output() -> None:
    rows = [(1, 1, 1), (2, 1, 1), (2, 2, 2)]  # the better output is the longer one throughout
    strata = run_report(judged(rows)).as_json()["strata"]
    assert (strata["gold_longer"]["n"], strata["gold_longer"]["value"]) == (3, pytest.approx(2 / 3))
    assert strata["gold_shorter"]["n"] == 0 and strata["gold_shorter"]["value"] is None


def test_averages_weigh_subsets_or_pairs() -> None:
    runs = [judged([(1, 1, 1)] * 30, subset="A"), judged([(1, 2, 2)] * 10, subset="B")]
    (row,) = averages(runs)
    assert (row.macro_accuracy.value, row.micro_accuracy.value, row.n) == (0.5, 0.75, 40)


def test_strategies_are_compared_on_common_pairs_only() -> None:
    lost = Verdicts(None, None, "label", ("error: timeout", "error: timeout"))
    good = judged([(1, 1, 1)] * 11 + [(1, lost)], "strict", strategy="cot")
    bad = judged([(1, 2, 2)] * 9 + [(1, 1, 1)] * 3, "strict", strategy="vanilla")
    (row,) = comparisons([good, bad])
    assert (row.n, row.difference.value) == (11, pytest.approx(9 / 11))
    # nine pairs differ, all one way: 2 * (1/2)^9
    assert row.mcnemar.p == pytest.approx(2 / 2**9) == row.mcnemar.p_holm
    assert row.permutation.p == pytest.approx(2 / 2**9)


def test_macro_differences_weigh_subsets_alike_and_are_a_family_of_their_own() -> None:
    # A: 1 against 1/2 of 40 pairs, B: 1/4 against 3/4 of 4 pairs: mean of +.5 and -.5; over all pairs 0.41
    right, wrong = (1, 1, 1), (1, 2, 2)
    first = [judged([right] * 40, strategy="p", subset="A"), judged([right] + [wrong] * 3, strategy="p", subset="B")]
    second = [
        judged([right] * 20 + [wrong] * 20, strategy="q", subset="A"),
        judged([wrong] + [right] * 3, strategy="q", subset="B"),
    ]
    (row,) = macro_comparisons([*first, *second])
    assert row.difference.value == pytest.approx(0.0)
    assert (row.num_subsets, row.n, row.verdict) == (2, 44, "undecided")
    # differences: A 20 of 0 and 20 of 1, variance .25 x 40 / 39; B (1, -1, -1, -1), variance 1; error of their mean
    variances = 0.25 * 40 / 39 / 40 / 4, 1 / 4 / 4
    dof = sum(variances) ** 2 / (variances[0] ** 2 / 39 + variances[1] ** 2 / 3)
    assert row.difference.high == pytest.approx(student_quantile(0.975, dof) * sum(variances) ** 0.5)
    assert row.test.p == pytest.approx(1.0) == row.test.p_holm
    assert row.difference != comparisons([*first, *second])[-1].difference
    assert macro_comparisons([first[0], second[0]]) == []


def test_strata_that_are_all_right_differ_by_an_interval_with_a_width() -> None:
    shorter = PairItem("q", "x", "long answer", 1)
    run = judged([(1, 1, 1)] * 10)
    found = run_report(replace(run, items=[*run.items[:5], *[shorter] * 5])).as_json()["strata"]["difference"]
    # 5 of 5 in both: Newcombe's ends are the widths of Wilson's interval, 1 - .5655
    assert (found["low"], found["high"]) == pytest.approx((-0.4345, 0.4345), abs=1e-4)


VERDICT = st.sampled_from([1, 2, 0, None])


@given(st.lists(st.tuples(st.sampled_from([1, 2]), VERDICT, VERDICT), min_size=1, max_size=12), st.booleans())
def test_everything_asked_is_accounted_for_and_rates_are_fractions(rows, is_strict) -> None:
    run = run_report(judged(rows, "strict" if is_strict else "compat")).as_json()
    assert run["coverage"]["asked"] == run["coverage"]["scored"] + sum(run["coverage"]["unscored"].values())
    assert run["accuracy"] == pytest.approx((run["accuracy_original_order"] + run["accuracy_swapped_order"]) / 2)
    for name, row in run["intervals"].items():
        if row["value"] is not None:
            assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1, name
