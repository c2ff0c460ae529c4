"""The goal of a search, and searchers that are asked and told through Ray Tune's own algorithms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from assay.commands.search import claim_lines
from assay.errors import ConfigError
from assay.metaeval.statistics.clustered import ITEMS_ONLY, student_quantile
from assay.mixtures.space import SpaceSpec, space_points
from assay.studies.builtin.paper import quickstart
from assay.studies.designs.searched import SearchedSpace
from assay.studies.designs.weights import LEAST_WEIGHT
from assay.studies.search.weights import (
    PENALTY,
    Claim,
    SearchSpec,
    Trial,
    arm_of,
    best,
    claimed,
    goal_scorer,
    judged,
    searched,
    with_points,
)
from assay.studies.spec import Study

PARTS = ("instructions", "toy_sentiment")
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


def told(gain: float, lost: float, error: float, unit: str = "items and runs") -> list[dict[str, object]]:
    """Leaderboard rows of the point: the same gain on both tasks, a loss on the instruction set, 10 degrees."""
    differences = {"toy_sentiment": gain, "toy_question": gain, "instructions": -lost}
    arm = arm_of(weighted(), POINT)
    return [
        {"scorer": "judge", "arm": arm, "evaluation_set": name, "mean": 0.5 + value, "baseline_mean": 0.5,
         "difference": value, "standard_error": error, "dof": 10.0, "unit": unit, "num_items": 40, "num_runs": 3,
         "num_baseline_runs": 3}
        for name, value in differences.items()
    ]  # fmt: skip


def test_the_best_of_many_has_an_interval_for_all_of_them() -> None:
    spec = SearchSpec(max_forgetting=0.1)
    trial = judged(weighted(), spec, told(0.1, 0.0, 0.01), 0, POINT)
    claims = {}
    for count in (1, 20):
        (first, *_) = claimed(weighted(), spec, told(0.1, 0.0, 0.01), [trial] * count)
        assert first.claim is not None and first.claim.gain == pytest.approx(0.1)
        claims[count] = first.claim
    # half widths at 5 % and at 5 % / 20; the errors of both tasks are added as if they went together
    for count, claim in claims.items():
        half = student_quantile(1 - 0.025 / count, 10) * 0.01
        assert (claim.gain_low, claim.gain_high) == pytest.approx((0.1 - half, 0.1 + half))
        assert (claim.loss_low, claim.loss_high) == pytest.approx((-half / 0.5, half / 0.5))
    assert claims[1].over == "items and runs: 40 items, 3 runs against 3"


@pytest.mark.parametrize(
    ("lost", "error", "unit", "feasible"),
    [
        (0.0, 0.001, "items and runs", "yes"),
        (0.0, 0.1, "items and runs", "open"),
        (0.2, 0.001, "items and runs", "no"),
        (0.0, 0.001, ITEMS_ONLY, "open"),
    ],
)
def test_whether_the_limit_is_kept_is_said_by_the_interval(lost: float, error: float, unit: str, feasible: str) -> None:
    spec = SearchSpec(max_forgetting=0.1)
    board = told(0.1, lost, error, unit)
    (trial,) = claimed(weighted(), spec, board, [judged(weighted(), spec, board, 0, POINT)])
    assert trial.claim is not None and trial.claim.feasible == feasible
    assert best([trial]) == (None if feasible == "no" else trial)
    lines = claim_lines(trial)
    assert ("no interval" in lines[0]) == (unit == ITEMS_ONLY) and "for all 1 points" in lines[0]


def test_a_sure_trial_comes_before_a_likelier_looking_one() -> None:
    sure = Claim(0.1, 0.0, 0.2, 0.0, 0.0, 0.0, "yes", "", 2)
    trials = [
        Trial(0, POINT, "a", 0.9, 0.0, 0.9, True, replace(sure, feasible="open")),
        Trial(1, POINT, "b", 0.6, 0.0, 0.6, True, sure),
    ]
    assert best(trials) == trials[1] and best(trials[:1]) == trials[0]


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

    space = SearchedSpace(PARTS, PARTS, LEAST_WEIGHT, 1.0, True, dict)

    def asked(told: float) -> list[dict[str, float]]:
        suggestions = Suggestions(SearchSpec(algorithm=algorithm, seed=3), space)
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


def test_the_modelling_searcher_finds_the_best_shares_cancels_the_rest_and_asks_for_the_same_again() -> None:
    from assay.studies.search.model import ModelSuggestions

    components = ("instructions", "toy_sentiment", "toy_question")

    def run() -> tuple[list[dict[str, float]], list[dict[str, object]]]:
        spec = SearchSpec(algorithm="model", trials=12, batch=4, seed=3, max_forgetting=0.2)
        suggestions, points = ModelSuggestions(spec, components), list[dict[str, float]]()
        while len(points) < spec.trials:
            asked = suggestions.ask(min(spec.batch, spec.trials - len(points)))
            if not asked:
                break
            for name, point in asked:
                share = point["toy_sentiment"]
                score = 1 - (share - 0.6) ** 2 - 0.2 * point["toy_question"]  # best at .6, which forgets too much
                forgetting = 0.5 * share
                points.append(point)
                suggestions.tell(name, Trial(len(points), point, "", score, forgetting, score, forgetting <= 0.2))
        return points, suggestions.decisions

    points, decisions = run()
    assert points[:3] == [{name: float(name == part) for name in components} for part in components]
    assert points[3] == pytest.approx(dict.fromkeys(components, 1 / 3), abs=2e-6)
    space = SpaceSpec(num=3, seed=3)  # a study's own design: one way to fill a simplex
    assert points[4:7] == [point for _, point in space_points(space, components)]
    kept = [point for point in points if 0.5 * point["toy_sentiment"] <= 0.2]
    best_share = max(kept, key=lambda point: 1 - (point["toy_sentiment"] - 0.6) ** 2 - 0.2 * point["toy_question"])
    assert 0.25 < best_share["toy_sentiment"] <= 0.4
    assert decisions and (len(points) == 12 or decisions[-1]["cancelled"] == 12 - len(points))
    assert run() == (points, decisions)
