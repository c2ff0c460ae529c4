"""Searching the shares of a mixture study: inside its bounds, towards its objective, under its constraint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.commands.search import claim_lines
from assay.errors import ConfigError
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.search.objective import claimed_by_objective, judged_by_objective, limit_in_words, modelled_by
from assay.studies.search.weights import PENALTY, SearchSpec, arm_of, goal_scorer, searched, with_points
from assay.studies.spec import Study

SMALL = str(Path(__file__).resolve().parents[3] / "jobs" / "studies" / "mixture_small.yaml")
POINT = {"instructions": 0.5, "toy_arithmetic": 0.25, "toy_sentiment": 0.25}
ARM = "instructions 48, toy_arithmetic 24, toy_sentiment 24"


def small(*overrides: str) -> Study:
    return load_study(SMALL, list(overrides))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_whatever_a_searcher_says_lies_inside_the_bounds(numbers: list[float]) -> None:
    space = searched(STUDY)
    shares = space.weights(dict(zip(space.names, numbers, strict=True)))
    assert sum(shares.values()) == pytest.approx(1)
    assert 0.2 - 2e-6 <= shares["instructions"] <= 0.9 + 2e-6
    assert min(shares.values()) >= 0


STUDY = small()


def test_a_point_is_an_arm_of_the_study_that_has_it() -> None:
    study = with_points(STUDY, [POINT, {"instructions": 1, "toy_arithmetic": 1, "toy_sentiment": 1}, POINT], "x")
    assert {cell.arm for cell in expand(study)} == {"house", "natural", "uniform", ARM}
    assert arm_of(study, POINT) == arm_of(STUDY, POINT) == ARM
    assert arm_of(STUDY, {"instructions": 4, "toy_sentiment": 1, "toy_arithmetic": 1}) == "house"


def row(mean: float | None, lost: float | None, high: float | None, constraint: str) -> dict[str, Any]:
    return {
        "scorer": "exact_match", "arm": ARM, "mean": mean, "lost": lost, "lost_high": high, "constraint": constraint
    }  # fmt: skip


def test_what_is_lost_beyond_the_constraint_costs_at_the_end_of_its_interval() -> None:
    spec = SearchSpec()
    kept = judged_by_objective(STUDY, spec, [row(0.7, 0.02, 0.08, "kept")], 0, POINT)
    assert (kept.score, kept.goal, kept.is_feasible) == (0.7, 0.7, True)
    broken = judged_by_objective(STUDY, spec, [row(0.7, 0.2, 0.3, "broken")], 0, POINT)
    assert broken.goal == pytest.approx(0.7 - PENALTY * 0.2)  # .3 against the limit of .1
    assert not broken.is_feasible
    unknown = judged_by_objective(STUDY, spec, [row(0.7, 0.2, None, "not shown")], 0, POINT)
    assert unknown.goal == pytest.approx(0.7 - PENALTY * 0.1)
    assert judged_by_objective(STUDY, spec, [row(None, None, None, "not shown")], 0, POINT).goal is None


def test_without_a_constraint_nothing_is_too_much() -> None:
    free = small("goal.constraint=null")
    found = judged_by_objective(free, SearchSpec(), [row(0.7, 0.5, 0.6, "")], 0, POINT)
    assert (found.goal, found.is_feasible) == (0.7, True)
    assert limit_in_words(free, SearchSpec()) == "without a constraint"
    assert limit_in_words(STUDY, SearchSpec()) == "shown to lose at most 0.1 points"


def test_the_goals_scorer_is_searched_by() -> None:
    assert goal_scorer(STUDY, SearchSpec()) == "exact_match"
    assert goal_scorer(STUDY, SearchSpec(scorer="judge")) == "judge"


def test_what_is_said_of_a_point_holds_for_all_that_were_tried() -> None:
    told = row(0.7, 0.02, 0.06, "kept") | {
        "difference": 0.2, "standard_error": 0.05, "dof": 20.0, "unit": "items and runs", "lost_error": 0.02,
        "lost_dof": 20.0, "num_items": 80, "num_runs": 2, "num_baseline_runs": 2,
    }  # fmt: skip
    trial = judged_by_objective(STUDY, SearchSpec(), [told], 0, POINT)
    (alone,) = claimed_by_objective(STUDY, SearchSpec(), [told], [trial])
    # t(.975, 20) = 2.086: the gain reaches from .2 - .104, the loss up to .02 + .042 of .1
    assert alone.claim is not None
    assert alone.claim.gain_low == pytest.approx(0.0957, abs=1e-4)
    assert alone.claim.loss_high == pytest.approx(0.0617, abs=1e-4)
    assert alone.claim.feasible == "yes"
    many = claimed_by_objective(STUDY, SearchSpec(), [told], [trial] * 1000)[0].claim
    assert many is not None
    assert many.gain_low is not None and many.gain_low < alone.claim.gain_low
    assert many.feasible == "open"
    assert "forgetting +0.020 [-0.022, +0.062] points: keeps the limit" in claim_lines(alone)[1]


def test_a_model_of_scores_takes_the_goals_limit_and_the_whole_simplex() -> None:
    with pytest.raises(ConfigError, match=r"model with grid\.space\.bounds"):
        modelled_by(STUDY, SearchSpec(algorithm="model"))
    free = small("grid.space.bounds={}")
    free = free.replace(grid=free.grid.replace(space=None).model_dump())
    assert modelled_by(free, SearchSpec(algorithm="model")).max_forgetting == 0.1
    assert modelled_by(STUDY, SearchSpec()) == SearchSpec()
