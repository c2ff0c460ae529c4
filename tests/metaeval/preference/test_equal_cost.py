"""Methods against best of n for the same calls, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from assay.metaeval.preference.answers import ArmAnswers, Label, RunAnswers
from assay.metaeval.preference.columns import COLUMNS
from assay.metaeval.preference.equal_cost import GIVEN, Spent, equal_cost_rows
from assay.metaeval.preference.frontier import Frontier
from assay.metaeval.preference.measures import Reported
from assay.metaeval.study_tables.columns import make_table
from assay.metaeval.study_tables.frame import ScorerInfo

EXAMPLES = [f"e{number:02d}" for number in range(30)]
TRUTH = ScorerInfo("truth", 1, "higher", 0.0, 1.0, "human")


def each(num: int) -> int:
    return num


def both_orders(num: int) -> int:
    return num * (num - 1)


def none(num: int) -> int:
    return 0


@pytest.mark.parametrize(
    ("answers", "verdicts", "of", "n"),
    [
        (8, 8, each, 8),  # 8 answers and 8 ratings are what best of 8 costs
        (24, 24, each, 24),  # three rounds of it
        (4, 12, both_orders, 4),  # 4 + 4 x 3 = 16; best of 5 would be 5 + 20
        (12, 36, both_orders, 6),  # three rounds: 48 calls; best of 6 is 36, of 7 is 49
        (2, 0, none, 2),  # nobody is asked about pairs of a better prompt
    ],
)
def test_the_same_calls_buy_the_largest_n_that_costs_no_more(
    answers: int, verdicts: int, of: Callable[[int], int], n: int
) -> None:
    spent = Spent(100, answers, verdicts, of)
    assert spent.same() == n
    assert spent.price(n) <= spent.calls < spent.price(n + 1)


def reported(value: float, steps: list[float], num_runs: int = 3) -> Reported:
    """An arm that always has this value, up to noise; the start's answers to each prompt have those of `steps`."""
    rng = np.random.default_rng(0)
    runs = tuple(
        RunAnswers(seed, {}, {"truth": {name: value + rng.normal(0, 1e-3) for name in EXAMPLES}})
        for seed in range(num_runs)
    )
    start = ArmAnswers("tiny", "", "start", "start", runs[:1], is_start=True)
    table = np.tile(np.array(steps), (len(EXAMPLES), 1))
    frontier = Frontier(EXAMPLES, table, {"truth": table})
    arm = ArmAnswers("tiny", "plain", "dpo", "dpo on plain", runs)
    return Reported(start, start, [arm], Label("truth"), [TRUTH], "truth", EXAMPLES, {}, frontier)


def test_a_method_is_held_against_the_best_of_n_of_its_own_cost() -> None:
    # of four answers worth 0, .2, .4, .6 the best of 2 is worth (1 x .2 + 2 x .4 + 3 x .6) / 6 = .4667, the mean .3
    given = reported(0.5, [0.0, 0.2, 0.4, 0.6])
    (row,) = equal_cost_rows(given, {"dpo": Spent(100, 2, 2, each)})
    assert row["n"] == 2
    assert row["best_of_n"] == pytest.approx(0.4667, abs=1e-3)
    assert row["difference"] == pytest.approx(0.5 - 0.4667, abs=2e-3)
    assert (row["verdict"], row["family_size"]) == ("better", 1)
    # best of 3 is worth (1 x .4 + 3 x .6) / 4 = .55, as good as the method, and costs 6 calls against its one:
    # 100 prompts x 4 calls are saved, 5 at a time, after 80
    assert (row["equal_n"], row["break_even_prompts"]) == (3, 80)
    make_table("preference_equal_cost", [row], COLUMNS)


def test_what_nothing_buys_and_what_nobody_priced_say_so() -> None:
    given = reported(0.9, [0.0, 0.2, 0.4, 0.6])
    (row,) = equal_cost_rows(given, {"dpo": Spent(100, 24, 24, each)})
    assert (row["n"], row["equal_n"], row["break_even_prompts"]) == (24, None, None)
    assert row["reason"] == "best of 24 is beyond the 4 answers of the frontier"
    (row,) = equal_cost_rows(given, {"dpo": Spent(100, 0, 0, none)})
    assert (row["n"], row["reason"]) == (None, GIVEN)
    make_table("preference_equal_cost", [row], COLUMNS)


def test_a_method_no_better_than_one_answer_never_pays() -> None:
    given = reported(0.1, [0.0, 0.2, 0.4, 0.6])
    (row,) = equal_cost_rows(given, {"dpo": Spent(100, 2, 2, each)})
    assert (row["equal_n"], row["break_even_prompts"], row["verdict"]) == (1, None, "worse")
