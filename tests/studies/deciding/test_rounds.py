"""Rounds of a study on planted scores: what is wanted, what is dropped, and that a killed study decides alike."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import ConfigError, StageError
from assay.metaeval.study_tables.frame import RunRow
from assay.studies.deciding.evidence import mean_scores
from assay.studies.deciding.rounds import Deciding, families_of
from assay.studies.deciding.spec import DecideSpec

DRAWS = 6
TRUTH = {"instructions only": 0.3, "sst2 N=16": 0.5, "sst2 N=64": 0.8}


def run(arm: str, draw: int, task: str = "sst2", trained: str | None = None, name: str = "") -> RunRow:
    at_zero = arm == "instructions only"
    return RunRow(
        predictions_key=f"{name or task}-{arm}-{draw}",
        adapter_key=f"adapter-{arm}-{draw}",
        mixture_key=f"mixture-{arm}-{draw}",
        base_model="base",
        trained_task="" if at_zero else trained or task,
        evaluation_set=task,
        num_target=0 if at_zero else 16,
        draw=-1 if at_zero else draw,
        training_seed=draw,
        arm=arm,
    )


def spec(**changes: object) -> DecideSpec:
    return DecideSpec.model_validate({"scorer": "truth", "rounds": [2, 3, DRAWS], **changes})


RUNS = [run(arm, draw) for arm in TRUTH for draw in range(DRAWS)]
MEANS = {
    one.predictions_key: TRUTH[one.arm] + 0.02 * float(np.random.default_rng(place).normal())
    for place, one in enumerate(RUNS)
}


def decided(runs: list[RunRow], killed_after: int | None = None) -> tuple[Deciding, set[str]]:
    """A study run to its end; after a kill, a new one that finds the scores of the first rounds in the store."""
    deciding, stored, wanted = Deciding(spec(), families_of(runs, spec())), dict[str, float](), set[str]()
    for number, look in enumerate(deciding.spec.rounds):
        wanted |= deciding.wanted(look)
        stored |= {one.predictions_key: MEANS[one.predictions_key] for one in runs if one.adapter_key in wanted}
        if number == killed_after:
            return decided(runs)
        deciding.learn(stored)
        if deciding.is_answered:
            break
    return deciding, wanted


def test_the_first_round_wants_the_first_draws_of_every_arm() -> None:
    found = Deciding(spec(), families_of(RUNS, spec())).wanted(2)
    assert found == {f"adapter-{arm}-{draw}" for arm in TRUTH for draw in range(2)}


def test_a_clear_question_is_answered_with_fewer_adapters_and_the_best_arm_is_found() -> None:
    deciding, wanted = decided(RUNS)
    (family,) = deciding.families
    assert deciding.is_answered and len(wanted) < len(RUNS)
    assert deciding.rounds(family)[-1].leader == "sst2 N=64"


def test_evidence_in_any_order_and_a_kill_give_the_same_record() -> None:
    records = set()
    for seed in range(20):
        runs = list(RUNS)
        random.Random(seed).shuffle(runs)
        deciding, _ = decided(runs, killed_after=seed % 2)
        records.add(json.dumps(deciding.record(), sort_keys=False))
    assert len(records) == 1
    (record,) = records
    assert "NaN" not in record and "Infinity" not in record


def test_an_adapter_is_wanted_while_one_of_its_tasks_is_open() -> None:
    shared = [run("instructions only", draw, task) for task in ("sst2", "mnli") for draw in range(DRAWS)]
    own = [run(f"{task} N=16", draw, task) for task in ("sst2", "mnli") for draw in range(DRAWS)]
    deciding = Deciding(spec(), families_of([*shared, *own], spec()))
    scores = {}
    for one in [*shared, *own]:
        far = 0.5 if one.evaluation_set == "sst2" and one.arm.startswith("sst2") else 0.0
        scores[one.predictions_key] = far + 0.01 * one.training_seed * (1 if one.arm == "instructions only" else -1)
    deciding.learn({key: value for key, value in scores.items() if key.endswith(("-0", "-1", "-2"))})
    wanted = deciding.wanted(DRAWS)
    assert "adapter-instructions only-5" in wanted and "adapter-mnli N=16-5" in wanted
    assert "adapter-sst2 N=16-5" not in wanted


def test_arms_with_rows_of_another_task_are_no_candidates() -> None:
    other = [run("mnli N=16", draw, "sst2", trained="mnli") for draw in range(DRAWS)]
    (family,) = families_of([*RUNS, *other], spec())
    assert set(family.arms) == set(TRUTH)


def seeds(arm: str, draws: int, per_draw: int) -> list[RunRow]:
    """Runs of an arm with several seeds of each draw; without target rows there is nothing to draw."""
    found = []
    for draw in range(draws):
        for seed in range(per_draw):
            number = draw * per_draw + seed
            one = replace(run(arm, number), training_seed=seed if arm != "instructions only" else number)
            found.append(replace(one, draw=draw if one.draw >= 0 else -1, mixture_key=f"mixture-{arm}-{draw}"))
    return found


def test_seeds_of_one_draw_are_one_draw_and_their_mean_is_its_score() -> None:
    runs = [*seeds("instructions only", 2, 2), *seeds("sst2 N=16", 2, 2)]
    (family,) = families_of(runs, spec(rounds=[2]))
    assert {arm: [len(draw) for draw in draws] for arm, draws in family.arms.items()} == {
        "instructions only": [2, 2],
        "sst2 N=16": [2, 2],
    }
    deciding = Deciding(spec(rounds=[2]), [family])
    assert deciding.wanted(1) == {f"adapter-{arm}-{seed}" for arm in family.arms for seed in (0, 1)}
    deciding.learn({one.predictions_key: float(place) for place, one in enumerate(runs)})
    (only,) = deciding.rounds(family)
    assert only.leader_mean == (4.5 + 6.5) / 2 and only.look == 2


def test_seeds_that_make_up_no_draw_are_no_draw() -> None:
    runs = [*seeds("instructions only", 3, 1), *seeds("sst2 N=16", 2, 2)]
    with pytest.raises(ConfigError, match="instructions only has 1 draws of 2 seeds"):
        families_of(runs, spec(rounds=[2]))


def test_seeds_of_one_draw_bring_no_false_findings() -> None:
    """Equal arms whose draws have luck of their own, large beside that of seeds: 3 draws of 4 seeds each."""
    rng = np.random.default_rng(5)
    runs = [one for arm in ("sst2 N=16", "sst2 N=64") for one in seeds(arm, 3, 4)]
    wrong = 0
    for _ in range(200):
        luck = {(arm, draw): rng.normal() for arm in ("sst2 N=16", "sst2 N=64") for draw in range(3)}
        deciding = Deciding(spec(rounds=[2, 3]), families_of(runs, spec(rounds=[2, 3])))
        deciding.learn({one.predictions_key: luck[one.arm, one.draw] + 0.1 * rng.normal() for one in runs})
        wrong += deciding.is_answered
    assert wrong <= 18  # P(Binomial(200, .05) > 18) < .01


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ConfigError, match="lower it, or raise"):
        families_of(RUNS, spec(rounds=[2, 9]))
    with pytest.raises(ConfigError, match="saw 'other' for sst2 on base"):
        families_of(RUNS, spec(question="baseline", baseline="other"))
    with pytest.raises(ConfigError, match="saw one arm"):
        families_of(RUNS[:DRAWS], spec())
    with pytest.raises(ConfigError, match="no target task"):
        families_of([], spec())
    with pytest.raises(ValueError, match="increasing numbers of draws"):
        spec(rounds=[3, 3])
    with pytest.raises(ValueError, match="2 or more in the last round"):
        spec(rounds=[1])


def test_a_run_that_nobody_scored_stops_the_study() -> None:
    deciding = Deciding(spec(), families_of(RUNS, spec()))
    with pytest.raises(StageError, match="no truth score for sst2 on base"):
        deciding.learn({RUNS[0].predictions_key: float("nan")})


def test_means_go_over_scored_rows_whatever_their_order() -> None:
    rows = [("p", "a", "truth", 0.1), ("p", "b", "truth", None), ("p", "c", "truth", 0.2), ("p", "a", "judge", 9.0)]
    names = ("predictions_key", "example_id", "scorer", "rating")
    for order in (rows, rows[::-1]):
        table = pa.table({name: [row[place] for row in order] for place, name in enumerate(names)})
        assert mean_scores([table], "truth") == {"p": pytest.approx(0.15)}
    assert np.isnan(mean_scores([pa.table({n: [v] for n, v in zip(names, rows[1], strict=True)})], "truth")["p"])
