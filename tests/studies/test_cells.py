"""A study expands purely, and equal trainings are found by identity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import ConfigError
from assay.studies.builtin import quickstart, s1
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.planner import distinct_trainings, plan
from assay.studies.spec import Study
from assay.studies.wanted import Base, wanted

KEYS = {name: f"{number:032x}" for number, name in enumerate(quickstart().data.sources)}
BASES = {"tiny": Base("tiny", "b" * 32, "/base")}


def small(**grid: object) -> Study:
    study = quickstart()
    return study.replace(grid=study.grid.replace(**grid))


def test_iftevals_s1_is_224_cells_and_197_trainings_for_each_base_model() -> None:
    study = s1()
    one = study.replace(base_models=study.base_models[:1])
    made = plan(one)
    assert (made.cells, made.distinct_trainings) == (224, 197)  # 7 x 8 x 4, and 7 x 7 x 4 + 1
    assert plan(study).distinct_trainings == 4 * 197


def test_compat_trains_every_cell_of_s1_once_more() -> None:
    """In compat the N = 0 cells validate on target rows, so they are not one mixture."""
    study = s1()
    compat = study.replace(
        base_models=study.base_models[:1], mode="compat", grid=study.grid.replace(target_validation_rows=125)
    )
    assert plan(compat).distinct_trainings == 224


def test_zero_rows_are_one_training_per_seed() -> None:
    cells = expand(quickstart())
    zero = [cell for cell in cells if cell.num_target == 0]
    assert len(zero) == 4 * 3 * 3  # tasks x draws x training seeds
    assert len(distinct_trainings(zero)) == 3


@given(st.integers(1, 3), st.sets(st.sampled_from([0, 1, 5, 20]), min_size=1), st.integers(1, 2))
def test_wanted_trainings_are_the_planned_ones(draws: int, sizes: set[int], num_seeds: int) -> None:
    study = small(draws=draws, sizes=tuple(sizes)).replace(
        training_seeds=tuple(range(num_seeds)), training_seeds_at_zero=()
    )
    cells = expand(study)
    made = wanted(study, cells, BASES, KEYS)
    nonzero = len(sizes - {0})
    assert len(cells) == 4 * len(sizes) * draws * num_seeds
    assert len(made.trainings) == 4 * nonzero * draws * num_seeds + (num_seeds if 0 in sizes else 0)
    assert len(made.trainings) == plan(study).distinct_trainings
    assert len({job.key for job in made.generations}) == len(made.generations) == len(made.runs)


def test_zero_rows_answer_every_task_and_other_mixtures_their_own() -> None:
    study = quickstart()
    made = wanted(study, expand(study), BASES, KEYS)
    answered = {(run.trained_task, run.evaluation_set) for run in made.runs}
    assert {task for trained, task in answered if trained == ""} == {*study.grid.tasks, "instructions"}
    assert {task for trained, task in answered if trained == "toy_sentiment"} == {"toy_sentiment", "instructions"}
    assert all(run.draw == -1 for run in made.runs if run.num_target == 0)


def test_waves_cover_every_training_once() -> None:
    study = quickstart()
    made = wanted(study, expand(study), BASES, KEYS)
    waves = made.waves(10)
    assert [len(wave.trainings) for wave in waves] == [10, 10, 10, 9]
    assert [job for wave in waves for job in wave.trainings] == list(made.trainings)
    assert [job for wave in waves for job in wave.generations] == list(made.generations)


def test_resources_tracking_and_places_are_no_part_of_the_identity() -> None:
    study = quickstart()
    moved = study.replace(
        resources=study.resources.replace(wave_size=3),
        tracking=study.tracking.replace(uri="http://elsewhere"),
        data=study.data.replace(root="/elsewhere"),
        judge=study.judge.replace(max_concurrency=1),
    )
    assert moved.identity() == study.identity()
    assert study.replace(training_seeds=(1,)).identity() != study.identity()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grid.tasks=[toy_nothing]", "toy_nothing"),
        ("grid.sizes=[-1]", "negative"),
        ("grid.sizes=[1, 1]", "repeated"),
        ("grid.drawz=1", "unknown field 'grid.drawz'"),
        ("name=Bad Name", "a-z"),
        ("statistics.human=nobody", "must be one of scorers"),
        ("tiny_base=null", "needs the field tiny_base"),
        ("base_models=[]", "base_models"),
        ("train.learning_rate=-1", "learning_rate"),
    ],
)
def test_a_study_that_does_not_hang_together_is_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study("quickstart", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_studies_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="expected one of quickstart, s1"):
        load_study("quickstrat")
