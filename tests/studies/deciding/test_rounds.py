"""Rounds of a study on planted scores: what is wanted, what is dropped, and that a killed study decides alike."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import ConfigError, StageError
from assay.metaeval.study_tables.frame import RunRow
from assay.studies.deciding.evidence import item_variance, mean_of, ratings_by_predictions
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
    spend = {name: changes.pop(name) for name in ("rounds", "items") if name in changes}
    return DecideSpec.model_validate({"scorer": "truth", "spend": {"rounds": [2, 3, DRAWS], **spend}, **changes})


def rated(means: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Ratings of one item each."""
    return {key: {"item": mean} for key, mean in means.items()}


RUNS = [run(arm, draw) for arm in TRUTH for draw in range(DRAWS)]
MEANS = {
    one.predictions_key: TRUTH[one.arm] + 0.02 * float(np.random.default_rng(place).normal())
    for place, one in enumerate(RUNS)
}


def decided(runs: list[RunRow], killed_after: int | None = None) -> tuple[Deciding, set[str]]:
    """A study run to its end; after a kill, a new one that finds the scores of the first rounds in the store."""
    deciding, stored, wanted = Deciding(spec(), families_of(runs, spec())), dict[str, float](), set[str]()
    for number in range(len(deciding.spec.rounds)):
        wanted |= {adapter for adapter, _ in deciding.wanted(number)}
        stored |= {one.predictions_key: MEANS[one.predictions_key] for one in runs if one.adapter_key in wanted}
        if number == killed_after:
            return decided(runs)
        deciding.learn(rated(stored))
        if deciding.is_answered:
            break
    return deciding, wanted


def test_the_first_round_wants_the_first_draws_of_every_arm() -> None:
    found = Deciding(spec(), families_of(RUNS, spec())).wanted(0)
    assert found == {(f"adapter-{arm}-{draw}", "sst2") for arm in TRUTH for draw in range(2)}


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
    deciding.learn(rated({key: value for key, value in scores.items() if key.endswith(("-0", "-1", "-2"))}))
    wanted = deciding.wanted(2)
    assert ("adapter-instructions only-5", "mnli") in wanted and ("adapter-mnli N=16-5", "mnli") in wanted
    assert not any(evaluation_set == "sst2" for _, evaluation_set in wanted)


def test_no_question_is_about_what_was_lost() -> None:
    kept = [run(arm, draw, "chats") for arm in TRUTH for draw in range(DRAWS)]
    (family,) = families_of([*RUNS, *kept], spec(), ("chats",))
    assert family.evaluation_set == "sst2"


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
    adapters = {f"adapter-{arm}-{seed}" for arm in family.arms for seed in range(4)}
    assert deciding.wanted(0) == {(adapter, "sst2") for adapter in adapters}
    deciding.learn(rated({one.predictions_key: float(place) for place, one in enumerate(runs)}))
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
        deciding.learn(rated({one.predictions_key: luck[one.arm, one.draw] + 0.1 * rng.normal() for one in runs}))
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
        deciding.learn({RUNS[0].predictions_key: {}})


def test_means_go_over_scored_rows_whatever_their_order() -> None:
    rows = [("p", "a", "truth", 0.1), ("p", "b", "truth", None), ("p", "c", "truth", 0.2), ("p", "a", "judge", 9.0)]
    names = ("predictions_key", "example_id", "scorer", "rating")
    for order in (rows, rows[::-1]):
        table = pa.table({name: [row[place] for row in order] for place, name in enumerate(names)})
        found = ratings_by_predictions([table], "truth")["p"]
        assert found == {"a": 0.1, "c": 0.2} and mean_of([found]) == pytest.approx(0.15)
    unscored = pa.table({n: [v] for n, v in zip(names, rows[1], strict=True)})
    assert ratings_by_predictions([unscored], "truth") == {"p": {}} and np.isnan(mean_of([{}]))


def test_items_that_are_not_seen_yet_leave_a_variance_and_none_once_all_are() -> None:
    values = [0.0, 1.0, 1.0, 0.0]  # variance 1/3, over 4 items of 16: 1/12 times 3/4
    assert item_variance(values, 16) == pytest.approx(1 / 16)
    assert item_variance(values, 4) == 0 and item_variance([1.0], 9) == 0


ITEMS = 60


def in_parts(runs: list[RunRow], num_rounds: int) -> dict[tuple[str, str], list[str]]:
    return {
        (one.adapter_key, one.evaluation_set): [f"{one.predictions_key}/{place}" for place in range(num_rounds)]
        for one in runs
    }


def answers(means: Mapping[str, float], sizes: Sequence[int], seed: int) -> dict[str, dict[str, float]]:
    """Right or wrong answers to the items of each round, by the key of that part."""
    rng = np.random.default_rng(seed)
    found, start = {}, 0
    for place, end in enumerate(sizes):
        for key, mean in means.items():
            found[f"{key}/{place}"] = {f"item {i}": float(rng.random() < mean) for i in range(start, end)}
        start = end
    return found


def test_rounds_add_items_and_earlier_ones_stay_as_they_were() -> None:
    asked = spec(rounds=[2, 3, DRAWS], items=[20, 40, ITEMS])
    deciding = Deciding(asked, families_of(RUNS, asked), in_parts(RUNS, 3), {"sst2": ITEMS})
    (family,) = deciding.families
    close = {"instructions only": 0.5, "sst2 N=16": 0.55, "sst2 N=64": 0.6}
    stored = answers({one.predictions_key: close[one.arm] for one in RUNS}, [20, 40, ITEMS], 1)
    early = []
    for place in range(3):
        deciding.learn({key: rows for key, rows in stored.items() if int(key.rsplit("/", 1)[1]) <= place})
        early.append(deciding.rounds(family)[: place + 1])
    assert len(early[2]) == 3
    assert early[0] == early[1][:1] == early[2][:1] and early[1] == early[2][:2]
    record = deciding.record()["families"][0]
    assert [one["items"] for one in record["rounds"]] == [20, 40, ITEMS]


def test_few_items_make_wider_intervals_than_all_of_them() -> None:
    widths, shares = [], []
    for total in (20, 2000):  # the same answers: of all items there are, or of one in a hundred
        asked = spec(rounds=[DRAWS], items=[20])
        deciding = Deciding(asked, families_of(RUNS, asked), in_parts(RUNS, 1), {"sst2": total})
        deciding.learn(answers({one.predictions_key: 0.5 for one in RUNS}, [20], 3))
        (only,) = deciding.rounds(deciding.families[0])
        widths.append(only.findings[0].high - only.findings[0].low)
        shares.append(only.findings[0].items_share)
    assert widths[1] > 1.1 * widths[0]
    assert shares[0] == 0 and 0.2 < shares[1] < 1


def test_few_items_bring_no_false_findings() -> None:
    """Arms equally good on all 400 items, and not on the first 20: draws alone would tell them apart."""
    asked = spec(rounds=[DRAWS], items=[20])
    wrong = 0
    rng = np.random.default_rng(8)
    for _ in range(60):
        deciding = Deciding(asked, families_of(RUNS, asked), in_parts(RUNS, 1), {"sst2": 400})
        right = {arm: rng.permutation(np.repeat([0.25, 0.75], 200))[:20] for arm in TRUTH}
        deciding.learn(
            {
                f"{one.predictions_key}/0": {
                    f"item {i}": value for i, value in enumerate(right[one.arm] + 0.05 * rng.normal(size=20))
                }
                for one in RUNS
            }
        )
        (only,) = deciding.rounds(deciding.families[0])
        wrong += any(one.word in ("better", "worse") for one in only.findings)
    assert wrong <= 8  # P(Binomial(60, .05) > 8) < .01


def test_an_arm_that_is_kept_gets_every_round_and_is_named() -> None:
    asked = spec(keep=["instructions only"])
    deciding = Deciding(asked, families_of(RUNS, asked))
    deciding.learn(rated({one.predictions_key: MEANS[one.predictions_key] for one in RUNS if one.training_seed < 2}))
    (only,) = deciding.rounds(deciding.families[0])
    assert "instructions only" in only.kept and "instructions only" not in only.dropped
    assert only.is_answered or ("adapter-instructions only-2", "sst2") in deciding.wanted(1)
    with pytest.raises(ConfigError, match="--keep other: saw no such arm"):
        families_of(RUNS, spec(keep=["other"]))


def test_rounds_that_add_nothing_are_refused() -> None:
    assert spec(rounds=[3, 3, 3], items=[10, 20, 30]).rounds == (3, 3, 3)
    for wrong in ({"rounds": [3, 3], "items": [10, 10]}, {"rounds": [2, 3], "items": [20, 10]}, {"rounds": [3, 3]}):
        with pytest.raises(ValueError, match="expected"):
            spec(**wrong)
    with pytest.raises(ValueError, match="a number of rows for each"):
        spec(rounds=[2, 3], items=[10])


def test_rounds_with_the_same_draws_and_more_items_are_looks_of_their_own() -> None:
    asked = spec(rounds=[3, 3], items=[5, ITEMS])
    deciding = Deciding(asked, families_of(RUNS, asked), in_parts(RUNS, 2), {"sst2": ITEMS})
    close = {"instructions only": 0.5, "sst2 N=16": 0.55, "sst2 N=64": 0.6}
    deciding.learn(answers({one.predictions_key: close[one.arm] for one in RUNS}, [5, ITEMS], 4))
    first, second = deciding.rounds(deciding.families[0])
    assert first.look == second.look == 3 and first.leader_mean != second.leader_mean


def test_rounds_are_worked_out_once_until_more_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    deciding, looks = Deciding(spec(), families_of(RUNS, spec())), []

    def counted(evidence: object, rule: object) -> list[object]:
        looks.append(rule)
        return []

    monkeypatch.setattr("assay.studies.deciding.rounds.by_rounds", counted)
    for _ in range(2):
        deciding.record(), deciding.wanted(1), deciding.is_answered
    assert len(looks) == 1
    deciding.learn({RUNS[0].predictions_key: {"item": 1.0}})
    deciding.record()
    assert len(looks) == 2
