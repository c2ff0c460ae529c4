"""Measures of arms against their start, by hand: means, divergence, win rates, and best of n at equal divergence."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from assay.metaeval.preference.answers import ArmAnswers, Label, RunAnswers
from assay.metaeval.preference.columns import COLUMNS
from assay.metaeval.preference.frontier import Frontier, frontier_rows
from assay.metaeval.preference.measures import KL, LABEL, WIN, WORDS, Reported, measure_rows
from assay.metaeval.statistics.best_of_n import kl_of_best_of_n
from assay.metaeval.study_tables.columns import make_table
from assay.metaeval.study_tables.frame import ScorerInfo
from assay.preference.comparing import OrderedVerdicts

EXAMPLES = [f"e{number:02d}" for number in range(40)]
TRUTH = ScorerInfo("truth", 1, "higher", 0.0, 1.0, "human")


def test_a_referees_win_rate_counts_both_orders_and_says_how_often_they_agree() -> None:
    given = reported(0.1, 0.2)
    # of every four prompts: won in both orders, lost in both, always what stands first, unread
    kinds = [OrderedVerdicts(1, 1), OrderedVerdicts(2, 2), OrderedVerdicts(1, 2), OrderedVerdicts(None, 1)]
    verdicts = {name: kinds[place % 4] for place, name in enumerate(EXAMPLES)}
    arm = given.arms[0]
    runs = tuple(replace(one, verdicts=verdicts) for one in arm.runs)
    rows = by_measure(replace(given, arms=[replace(arm, runs=runs)], referee="other"))
    row = rows["judged_win_rate"]
    counts = [sum(place % 4 == kind for place in range(len(EXAMPLES))) for kind in range(4)]
    read = sum(counts[:3])
    assert row["value"] == pytest.approx((counts[0] + counts[2] / 2) / read)
    assert (row["num_items"], row["num_missing"]) == (read, counts[3])
    assert row["unit"] == (
        f"prompts, by other in both orders, the same verdict in both orders in {(counts[0] + counts[1]) / read:.0%} of "
        f"{3 * read} pairs"
    )
    assert rows["win_rate"]["value"] == 1.0  # by the human column it is always better
    assert {"judged_win_rate_equal_length", "judged_win_rate_equal_style"} <= rows.keys()
    assert "judged_win_rate" not in by_measure(given)


def run(seed: int, scores: list[float], words: int, ratio: float = 0.0) -> RunAnswers:
    texts = dict.fromkeys(EXAMPLES, "word " * words)
    return RunAnswers(seed, texts, {"truth": dict(zip(EXAMPLES, scores, strict=True))}, dict.fromkeys(EXAMPLES, ratio))


def reported(gain: float, ratio: float, *, bias: float = 0.0, frontier: Frontier | None = None) -> Reported:
    rng = np.random.default_rng(1)
    base = rng.uniform(0.2, 0.6, size=len(EXAMPLES))
    start = ArmAnswers("tiny", "", "start", "start", (run(0, base.tolist(), 3),), is_start=True)
    runs = tuple(
        run(seed, (base + gain + rng.normal(0, 0.01, base.size)).tolist(), 5, ratio + 0.01 * seed) for seed in range(3)
    )
    arm = ArmAnswers("tiny", "plain", "dpo", "dpo on plain", runs)
    return Reported(start, start, [arm], Label("truth", bias), [TRUTH], "truth", EXAMPLES, {}, frontier)


def by_measure(given: Reported) -> dict[str, dict[str, object]]:
    return {row["measure"]: row for row in measure_rows(given)}


def test_a_gain_is_found_and_its_cost_stands_beside_it() -> None:
    rows = by_measure(reported(0.2, 0.5))
    truth = rows["truth"]
    assert truth["difference"] == pytest.approx(0.2, abs=0.01)
    assert truth["difference_low"] < 0.2 < truth["difference_high"]
    assert (truth["verdict"], truth["family_size"], truth["num_runs"]) == ("better", 1, 3)
    assert rows[KL]["value"] == pytest.approx(0.51)  # the mean of .50, .51 and .52
    assert rows[WORDS]["difference"] == 2.0
    assert rows[WIN]["value"] == 1.0


def test_a_planted_bias_shows_as_the_gap_of_label_and_truth() -> None:
    rows = by_measure(reported(0.0, 0.5, bias=0.1))
    # two words more at .1 each, and nothing gained in truth
    assert rows[LABEL]["difference"] == pytest.approx(0.2, abs=0.02)
    assert rows["truth"]["difference"] == pytest.approx(0.0, abs=0.02)
    assert rows[WIN]["value"] == pytest.approx(0.5, abs=0.15)


def flat_frontier(value: float) -> Frontier:
    table = np.full((len(EXAMPLES), 4), value)
    return Frontier(EXAMPLES, table, {"truth": table, LABEL: table, WORDS: table})


def test_best_of_n_is_the_rival_at_equal_divergence() -> None:
    rows = by_measure(reported(0.2, 0.4, frontier=flat_frontier(0.1)))
    row = rows["truth at equal divergence"]
    assert row["start"] == pytest.approx(0.1)
    assert row["verdict"] == "better"
    beyond = by_measure(reported(0.2, 3.0, frontier=flat_frontier(0.1)))["truth at equal divergence"]
    assert math.isnan(beyond["value"])
    assert "beyond best of 4" in beyond["reason"]


def test_between_two_n_the_frontier_goes_by_divergence() -> None:
    scores = np.tile(np.array([0.0, 1.0, 2.0, 3.0]), (len(EXAMPLES), 1))
    frontier = Frontier(EXAMPLES, scores, {"truth": scores})
    ends = [kl_of_best_of_n(n) for n in (1, 2, 4)]
    # means of best of 1, 2, 4 of these: 1.5; (1x1 + 2x2 + 3x3)/6 = 7/3; 3
    for divergence, wanted in (
        (0.0, 1.5),
        (ends[1], 7 / 3),
        ((ends[1] + ends[2]) / 2, (7 / 3 + 3) / 2),
        (ends[2], 3.0),
    ):
        block, reason = frontier.at("truth", divergence)
        assert block is not None and not reason
        assert block.mean == pytest.approx(wanted)
    rows = frontier_rows("tiny", "plain", frontier)
    assert [row["n"] for row in rows] == [1, 2, 4]
    assert [row["value"] for row in rows] == pytest.approx([1.5, 7 / 3, 3.0])
    make_table("preference_frontier", rows, COLUMNS)


def test_rows_fit_their_table() -> None:
    table = make_table("preference_measures", measure_rows(reported(0.1, 0.2, frontier=flat_frontier(0.3))), COLUMNS)
    assert table.num_rows == 9
