"""The mixture design: points, what is asked, what is refused, and that planning stays quick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.config import validate
from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.mixtures.spec import MixtureSpec
from assay.studies.artifacts import Base, evaluation_sets, study_artifacts
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.designs.mixture import MixtureGrid
from assay.studies.exclusions import Counts, exclusions_of
from assay.studies.planning.estimate import plan
from assay.studies.spec import Study

SMALL = str(Path(__file__).resolve().parents[3] / "jobs" / "studies" / "mixture_small.yaml")


def small(*overrides: str) -> Study:
    return load_study(SMALL, list(overrides))


def grid_of(study: Study) -> MixtureGrid:
    assert isinstance(study.grid, MixtureGrid)
    return study.grid


def trained(spec: MixtureSpec) -> dict[str, int | None]:
    return {part.name: part.count for part in spec.train}


def test_named_built_in_and_space_points_are_arms_once_each() -> None:
    names = [arm.name for arm in grid_of(small()).arms]
    assert names[:3] == ["house", "natural", "uniform"]
    assert names[3:] == [*(f"vertex {n}" for n in range(1, 5)), *(f"sobol {n}" for n in range(1, 5))]
    merged = grid_of(small("grid.points=[{name: house, instructions: 1, toy_sentiment: 1, toy_arithmetic: 1}]"))
    assert "uniform" not in [arm.name for arm in merged.arms]  # the same mixture under the name that was given


def test_every_mixture_has_the_total_to_a_row() -> None:
    cells = expand(small("grid.space.num=40"))
    for cell in cells:
        counts = trained(cell.mixture)
        assert cell.mixture.is_natural or sum(count or 0 for count in counts.values()) == 96
    house = next(cell for cell in cells if cell.arm == "house")
    assert trained(house.mixture) == {"instructions": 64, "toy_arithmetic": 16, "toy_sentiment": 16}


def test_points_do_not_depend_on_the_order_in_which_components_are_written() -> None:
    plain = grid_of(small()).model_dump(mode="json")
    turned = {**plain, "components": dict(reversed(plain["components"].items()))}
    assert MixtureGrid.model_validate(turned).arms == MixtureGrid.model_validate(plain).arms


@given(st.integers(1, 500), st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any))
def test_a_point_misses_no_share_by_a_row(total: int, weights: list[int]) -> None:
    names = ("a", "b", "c")
    grid = MixtureGrid.model_validate(
        {"components": {name: {} for name in names}, "total": total, "points": [dict(zip(names, weights, strict=True))]}
    )
    counts = {part.name: part.count or 0 for part in grid._parts(grid.arms[0])}
    assert sum(counts.values()) == total
    for name, weight in zip(names, weights, strict=True):
        assert abs(counts.get(name, 0) - total * weight / sum(weights)) < 1


def test_draws_are_those_of_a_mixture_made_anew() -> None:
    for cell in expand(small("grid.draws=3")):
        again = MixtureSpec.model_validate(cell.mixture.model_dump())
        assert again == cell.mixture
        assert {part.draw for part in cell.mixture.train} == {cell.draw}


def test_held_out_rows_are_those_of_every_set_and_component_in_every_mixture() -> None:
    study = small("evaluation.sets.more={dataset: toy_question, rows: 4}")
    assert {cell.mixture.held_out for cell in expand(study)} == {
        ("instructions", "toy_arithmetic", "toy_question", "toy_sentiment")
    }


def test_what_is_asked_is_told_apart_from_what_is_trained_on() -> None:
    study = small("evaluation.sets.more={dataset: toy_question, rows: 4, max_new_tokens: 3}")
    keys = {name: f"{place:032x}" for place, name in enumerate(study.used.names)}
    sets = evaluation_sets(study, keys)
    assert sets["more"].dataset_key == keys["toy_question"]
    assert (sets["more"].rows, sets["more"].max_new_tokens) == (4, 3)
    assert {name: part.purpose for name, part in sets.items()}["instructions"] == "forgetting"
    assert sets["toy_arithmetic"].weight == 2
    assert sets["instructions"].max_new_tokens == study.evaluation.instruction_max_new_tokens == 28
    assert study.target_sets == ("more", "toy_arithmetic", "toy_sentiment")
    wanted = study_artifacts(study, expand(study), {"tiny": Base("tiny", "b" * 32, "")}, keys)
    assert len(wanted.generations) == 4 * len(wanted.trainings) == 4 * 22
    assert {run.arm for run in wanted.runs} == {arm.name for arm in grid_of(study).arms}


def test_shares_of_tokens_are_named_by_each_bases_own_tokenizer_once_it_is_known() -> None:
    study = small("grid.total={tokens: 3000}", "base_models=[tiny, /other]")
    cells = expand(study)
    assert {(cell.base_model, cell.mixture.count_by) for cell in cells} == {
        ("tiny", "tokens of tiny"),
        ("/other", "tokens of /other"),
    }
    applied = exclusions_of(study, Counts(tokenizers={"tiny": "t1"})).apply(cells)
    assert {cell.mixture.count_by for cell in applied} == {"t1", "tokens of /other"}
    assert exclusions_of(small(), Counts(tokenizers={"tiny": "t1"})).token_names == {}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("grid.baseline=nothing", "saw 'nothing'; expected one of the points 'house', 'natural'"),
        ("goal.scorer=rouge1", "goal.scorer='rouge1' must be one of scorers"),
        ("evaluation.sets.foo.rows=3", "no dataset 'foo' in data.sources"),
        ("grid.components.foo.max_repeats=1", "no dataset 'foo' in data.sources"),
        ("grid.components.name={dataset: instructions}", "which a point uses for something else"),
        ("grid.space.bounds.foo=[0,1]", "bounds: saw 'foo'"),
        ("grid.space.bounds.instructions=[0.5,0.1]", "lowest <= highest"),
        ("grid.points=[{instructions: 0}]", "expected weights of at least 0"),
        ("grid.points=[{name: natural, instructions: 1}]", "always there"),
        ("grid.points=[{name: sobol 1, instructions: 1}]", "two named 'sobol 1'"),
        ("grid.points=[{prose: 1}]", "saw 'prose'; expected some of"),
        ("evaluation.sets={instructions: {purpose: forgetting}}", "saw none of purpose target"),
        ("grid.total=0", "grid.total"),
        ("evaluation.sets.toy_sentiment.max_new_tokens=250", "saw 250 new tokens; expected at most 240"),
        ("evaluation.cross_category_rows=3", "is for the design hold_out"),
        ("evaluation.sets.instructions.purpose=target", "no set of evaluation.sets has purpose forgetting"),
    ],
)
def test_what_cannot_be_is_one_line(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        small(override)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("override", ["evaluation.sets.toy_question.rows=3", "goal.scorer=judge"])
def test_other_designs_have_sets_and_goals_of_their_own(override: str) -> None:
    with pytest.raises(ConfigError, match="is for the designs mixture and models"):
        load_study("quickstart", [override])


def test_a_component_that_is_asked_for_more_than_it_has_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="expected at most"):
        plan(small("grid.total=4000"))


def test_all_that_shapes_a_number_is_identity() -> None:
    keys: dict[str, str] = {}
    for override in (
        "description=other", "grid.total=95", "grid.draws=1", "grid.components.toy_sentiment.max_repeats=3",
        "grid.space.seed=1", "grid.baseline=uniform", "evaluation.sets.toy_sentiment.rows=39",
        "evaluation.sets.toy_sentiment.weight=3", "evaluation.sets.instructions.purpose=target\tgoal=null",
        "goal.constraint.forgetting=0.2", "grid.total={tokens: 96}",
    ):  # fmt: skip
        keys[override] = fingerprint(small(*override.split("\t")).identity())
    assert keys["description=other"] == fingerprint(small().identity())
    assert len(set(keys.values())) == len(keys)


def test_a_field_of_no_meaning_is_no_part_of_other_studies_identity() -> None:
    plain = load_study("quickstart").identity()
    assert "goal" not in plain
    assert "sets" not in plain["evaluation"]  # type: ignore[operator]


def test_planning_counts_what_expanding_gives() -> None:
    told: Any = plan(small())
    assert (told.cells, told.distinct_trainings, told.train_rows) == (22, 22, 22 * 96)
    assert told.predictions == 22 * (40 + 40 + 24)


def test_ten_thousand_mixtures_share_what_they_can() -> None:
    study = load_study(SMALL.replace("mixture_small", "plan_mixture_10k"))
    cells = expand(study)
    assert len(cells) == 10_012
    assert len({id(cell.mixture) for cell in cells}) == 10_012
    parts = {id(part) for cell in cells for part in cell.mixture.train}
    assert len(parts) == len({part for cell in cells for part in cell.mixture.train}) < 3_000


def test_a_point_without_a_name_is_called_by_its_shares() -> None:
    grid = validate(MixtureGrid, {"components": {"a": {}, "b": {}}, "total": 10, "points": [{"a": 3, "b": 1}]}, "grid")
    assert grid.arms[0].name == "a 75%, b 25%"


def test_rounds_of_a_mixture_study_ask_about_its_own_baseline() -> None:
    decide = "decide={question: baseline, scorer: exact_match, spend: {rounds: [1, 2]}}"
    by = small(decide).decided_by
    assert by is not None
    assert by.baseline == "house"
    named = small(decide.replace("question", "baseline: uniform, question")).decided_by
    assert named is not None
    assert named.baseline == "uniform"
    assert small().decided_by is None
    target = load_study("quickstart", [decide]).decided_by
    assert target is not None
    assert target.baseline == "instructions only"
