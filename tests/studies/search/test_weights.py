"""The goal of a search, and searchers that are asked and told through Ray Tune's own algorithms."""

from __future__ import annotations

import math

import pytest

from assay.errors import ConfigError
from assay.studies.builtin.paper import quickstart
from assay.studies.search.weights import (
    PENALTY,
    SearchSpec,
    Trial,
    arm_of,
    best,
    goal_scorer,
    judged,
    searched,
    with_points,
)
from assay.studies.spec import Study

POINT = {"instructions": 0.5, "toy_sentiment": 0.25, "toy_question": 0.25}


def weighted() -> Study:
    plain = quickstart().model_dump(mode="json")
    grid = {"design": "weights", "tasks": ["toy_sentiment", "toy_question"], "total": 40, "validation_rows": 8}
    return Study.model_validate({**plain, "grid": grid})


def board(sentiment: float | None, question: float | None, instructions: float) -> list[dict[str, object]]:
    arm = arm_of(weighted(), POINT)
    means = {"toy_sentiment": sentiment, "toy_question": question, "instructions": instructions}
    return [
        {"scorer": "judge", "arm": arm, "evaluation_set": name, "mean": mean, "baseline_mean": 0.5,
         "difference": None if mean is None else mean - 0.5}
        for name, mean in means.items()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("instructions", "feasible", "penalty"),
    [(0.5, True, 0.0), (0.496, True, 0.0), (0.55, True, 0.0), (0.48, False, PENALTY * 0.03)],
)
def test_what_a_mixture_forgets_beyond_the_limit_costs_it(instructions: float, feasible: bool, penalty: float) -> None:
    trial = judged(weighted(), SearchSpec(max_forgetting=0.01), board(0.8, 0.6, instructions), 0, POINT)
    assert trial.score == pytest.approx(0.7)
    assert trial.is_feasible is feasible
    assert trial.goal == pytest.approx(0.7 - penalty)


def test_a_task_without_a_score_leaves_the_goal_open() -> None:
    trial = judged(weighted(), SearchSpec(), board(0.8, None, 0.5), 0, POINT)
    assert (trial.score, trial.goal) == (None, None)


def test_the_best_trial_is_feasible() -> None:
    trials = [
        Trial(0, POINT, "a", 0.9, 0.2, -1.0, False),
        Trial(1, POINT, "b", 0.6, 0.0, 0.6, True),
        Trial(2, POINT, "c", 0.7, 0.0, 0.7, True),
    ]
    assert best(trials) == trials[2]
    assert best(trials[:1]) is None


def test_other_designs_and_scorers_are_refused() -> None:
    with pytest.raises(ConfigError, match="saw the design 'target'"):
        searched(quickstart())
    with pytest.raises(ConfigError, match="saw the scorer 'bleurt'"):
        goal_scorer(weighted(), SearchSpec(scorer="bleurt"))
    assert goal_scorer(weighted(), SearchSpec()) == "judge"
    assert len(with_points(weighted(), [POINT], "x").grid.points) == 1


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_searchers_ask_for_the_same_when_they_are_told_the_same(algorithm: str) -> None:
    from assay.studies.search.ray_search import Suggestions

    def asked(told: float) -> list[dict[str, float]]:
        suggestions = Suggestions(SearchSpec(algorithm=algorithm, seed=3), ("instructions", "toy_sentiment"))
        points = []
        for _ in range(6):
            for name, point in suggestions.ask(3):
                points.append(point)
                goal = told * point["toy_sentiment"]
                suggestions.tell(name, Trial(0, point, "", goal, 0.0, goal, True))
        return points

    first = asked(1.0)
    assert first == asked(1.0)
    assert all(0.0099 <= weight <= 1 for point in first for weight in point.values())
    if algorithm == "optuna":  # it learns where the goal is high

        def later(points: list[dict[str, float]]) -> float:
            return sum(math.log(point["toy_sentiment"]) for point in points[-6:])

        assert later(first) > later(asked(-1.0))
