"""The objective: a weighted mean over sets, a constraint that looks at the interval, and who is the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assay.metaeval.study_tables.build import RunRow, ScorerInfo, TableOptions, build_study_tables
from assay.metaeval.study_tables.objective import Objective
from assay.records import ScoreRow

LEVELS = {  # arm -> true mean on the sets a and b, and on what must not be lost
    "house": (0.3, 0.5, 0.6),
    "bold": (0.9, 0.9, 0.1),
    "mild": (0.5, 0.7, 0.59),
}


def tables(most_lost: float | None, weights: dict[str, float], items: int = 60) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    runs, scores = [], []
    difficulty = {name: rng.normal(0, 0.02, items) for name in ("a", "b", "kept")}
    for arm, levels in LEVELS.items():
        for draw in range(3):
            for name, level in zip(difficulty, levels, strict=True):
                key = f"{arm}{draw}{name}".ljust(32, "0")
                runs.append(
                    RunRow(
                        predictions_key=key,
                        adapter_key=f"{arm}{draw}".ljust(32, "0"),
                        mixture_key=f"{arm}{draw}".ljust(32, "1"),
                        base_model="tiny",
                        trained_task="*",
                        evaluation_set=name,
                        num_target=96,
                        draw=draw,
                        training_seed=draw,
                        arm=arm,
                        purpose="forgetting" if name == "kept" else "target",
                    )
                )
                for item in range(items):
                    value = level + difficulty[name][item] + rng.normal(0, 0.02)
                    scores.append(ScoreRow(key, f"{name}-{item}", "truth", float(np.clip(value, 0, 1)), None))
    objective = Objective("truth", weights, "house", ("kept",), most_lost)
    options = TableOptions(human="truth", seed_key="k", resamples=200, baseline="house", objective=objective)
    infos = [ScorerInfo("truth", 1, "higher", 0.0, 1.0, "human")]
    made = build_study_tables(runs, scores, infos, options)
    assert not made["forgetting"].num_rows  # mixtures of one total are no curve over N
    assert {row["forgetting"] is None for row in made["leaderboard"].to_pylist()} == {False}
    rows: list[dict[str, Any]] = made["objective"].to_pylist()
    return rows


def by_arm(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["arm"]: row for row in rows}


def test_the_objective_is_the_mean_of_means_by_weight() -> None:
    found = by_arm(tables(None, {"a": 1, "b": 3}))
    # bold: .9 on both; house: (.3 + 3 x .5) / 4 = .45; mild: (.5 + 3 x .7) / 4 = .65
    assert found["bold"]["mean"] == pytest.approx(0.9, abs=0.01)
    assert found["mild"]["difference"] == pytest.approx(0.2, abs=0.01)
    assert found["mild"]["low"] < 0.2 < found["mild"]["high"]
    assert found["mild"]["verdict"] == "better"
    assert (found["mild"]["num_items"], found["mild"]["num_runs"], found["mild"]["num_sets"]) == (120, 3, 2)
    assert [found[arm]["rank"] for arm in ("bold", "mild", "house")] == [1, 2, 3]
    assert found["bold"]["is_best"]
    assert {row["constraint"] for row in found.values()} == {""}


def test_equal_weights_are_the_plain_mean() -> None:
    found = by_arm(tables(None, {"a": 1, "b": 1}))
    assert found["house"]["mean"] == pytest.approx(0.4, abs=0.01)


def test_what_forgets_too_much_is_not_the_best_however_good_it_is() -> None:
    found = by_arm(tables(0.1, {"a": 1, "b": 1}))
    assert found["bold"]["lost"] == pytest.approx(0.5, abs=0.02)
    assert (found["bold"]["constraint"], found["mild"]["constraint"]) == ("broken", "kept")
    assert found["mild"]["is_best"] and not found["bold"]["is_best"]
    assert found["house"]["constraint"] == "kept"


def test_a_loss_whose_interval_reaches_over_the_limit_is_not_shown_to_be_small_enough() -> None:
    found = by_arm(tables(0.012, {"a": 1, "b": 1}))  # mild lost .01; the interval reaches further
    assert found["mild"]["lost_low"] < 0.012 < found["mild"]["lost_high"]
    assert found["mild"]["constraint"] == "not shown"
    assert found["house"]["is_best"]


def test_the_family_is_all_arms_of_a_scorer() -> None:
    assert {row["family_size"] for row in tables(None, {"a": 1}) if not row["is_baseline"]} == {2}
