"""A study expands purely, and equal trainings are found by identity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.studies.artifacts import Base, evaluation_sets, study_artifacts
from assay.studies.builtin.paper import BUILTIN, builtin, early_stopping_small, quickstart, s1
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.planning.estimate import distinct_trainings, plan
from assay.studies.results.report_input import notes
from assay.studies.spec import Study

KEYS = {name: f"{number:032x}" for number, name in enumerate(quickstart().data.names)}
BASES = {name: Base(name, "b" * 32, "/base") for name in ("toy", "tiny")}


def small(**grid: object) -> Study:
    study = quickstart()
    return study.replace(grid=study.grid.replace(**grid))


def test_iftevals_s1_is_199_trainings_for_each_base_model() -> None:
    study = s1()
    one = study.replace(base_models=study.base_models[:1])
    made = plan(one)
    # 7 tasks x 4 draws x (7 sizes and N = 0 with 3 seeds), and 7 x 7 x 4 + 3
    assert (made.cells, made.distinct_trainings) == (280, 199)
    assert plan(study).distinct_trainings == 4 * 199


def test_compat_trains_every_cell_of_s1_by_itself() -> None:
    """In compat the N = 0 cells validate on target rows, so they are not one mixture."""
    compat = load_study("s1", ["mode=compat"])
    made = plan(compat)
    assert (made.cells_per_base, made.trainings_per_base) == (224, 224)
    assert plan(compat.replace(mode="strict")).trainings_per_base == 199
    answers = {cell.evaluates for cell in expand(compat)}
    assert answers == {(task, "instructions") for task in compat.grid.tasks}  # N = 0 is its task's own
    validation = {part.cap for cell in expand(compat) for part in cell.mixture.validation if part.name == cell.task}
    assert validation == {125}


def test_the_mode_decides_what_a_study_does_not_say(tmp_path: Path) -> None:
    compat = load_study("s1", ["mode=compat"])
    assert (compat.train.loss_on, compat.generation.mode) == ("all", "compat")
    assert (compat.train.prompt.rules, compat.generation.prompt.rules) == ("compat", "compat")
    assert {source.split_rule for source in compat.data.sources.values()} == {"compat"}
    assert builtin("s1", "compat") == compat
    back = compat.replace(mode="strict")  # but for its limits, which strict has longer than the published study
    limits = back.generation.replace(max_prompt_tokens=1536, max_model_len=2048)
    assert back.replace(train=back.train.replace(max_length=1536), generation=limits) == s1()
    assert Study.model_validate(compat.model_dump(mode="json")) == compat
    strict = s1()
    assert (strict.train.loss_on, strict.generation.mode) == ("answer", "strict")
    assert {source.split_rule for source in strict.data.sources.values()} == {"strict"}


def test_what_a_study_says_stays_in_either_mode(tmp_path: Path) -> None:
    said = load_study("s1", ["mode=compat", "train.loss_on=answer", "data.sources.sst2.split_rule=strict"])
    assert (said.train.loss_on, said.generation.mode) == ("answer", "compat")
    assert (said.data.sources["sst2"].split_rule, said.data.sources["mnli"].split_rule) == ("strict", "compat")
    path = tmp_path / "mine.yaml"
    path.write_text("extends: s1\nmode: compat\ngeneration: {mode: strict}\ngrid: {target_validation_rows: 7}\n")
    mine = load_study(str(path))
    assert (mine.train.loss_on, mine.generation.mode, mine.grid.target_validation_rows) == ("all", "strict", 7)
    assert plan(mine).trainings_per_base == 224
    plain = s1().model_dump(mode="json")
    without = {**plain, "mode": "compat", "train": {"dtype": "bfloat16"}, "generation": {"dtype": "bfloat16"}}
    assert Study.model_validate(without).train.loss_on == "all"
    assert Study.model_validate(plain | {"mode": "compat"}).train.loss_on == "answer"
    with pytest.raises(ConfigError, match="field 'mode': saw 'loose'"):
        load_study("s1", ["mode=loose"])


def test_zero_rows_are_one_training_per_seed() -> None:
    cells = expand(quickstart())
    zero = [cell for cell in cells if cell.num_target == 0]
    assert len(zero) == 4 * 3 * 3  # tasks x draws x training seeds
    assert len(distinct_trainings(zero)) == 3


@given(st.integers(1, 3), st.sets(st.sampled_from([0, 1, 5, 20]), min_size=1), st.integers(1, 2))
def test_wanted_trainings_are_the_planned_ones(draws: int, sizes: set[int], num_seeds: int) -> None:
    study = small(draws=draws, sizes=tuple(sizes)).replace(
        training_seeds=tuple(range(num_seeds)), training_seeds_at_zero=tuple(range(num_seeds))
    )
    cells = expand(study)
    made = study_artifacts(study, cells, BASES, KEYS)
    nonzero = len(sizes - {0})
    assert len(cells) == 4 * len(sizes) * draws * num_seeds
    assert len(made.trainings) == 4 * nonzero * draws * num_seeds + (num_seeds if 0 in sizes else 0)
    assert len(made.trainings) == plan(study).distinct_trainings
    assert len({job.key for job in made.generations}) == len(made.generations) == len(made.runs)


def test_zero_rows_answer_every_task_and_other_mixtures_their_own() -> None:
    study = quickstart()
    made = study_artifacts(study, expand(study), BASES, KEYS)
    answered = {(run.trained_task, run.evaluation_set) for run in made.runs}
    assert {task for trained, task in answered if trained == ""} == {*study.grid.tasks, "instructions"}
    assert {task for trained, task in answered if trained == "toy_sentiment"} == {"toy_sentiment", "instructions"}
    assert all(run.draw == -1 for run in made.runs if run.num_target == 0)


def test_waves_cover_every_training_once() -> None:
    study = quickstart()
    made = study_artifacts(study, expand(study), BASES, KEYS)
    waves = made.waves(10)
    assert [len(wave.trainings) for wave in waves] == [10, 10, 10, 9]
    assert [job for wave in waves for job in wave.trainings] == list(made.trainings)
    assert [job for wave in waves for job in wave.generations] == list(made.generations)


def test_seeds_that_a_study_does_not_name_are_three_at_zero_and_otherwise_the_draws() -> None:
    plain = quickstart().model_dump(mode="json")
    for grid in (
        {"tasks": ["toy_sentiment"], "sizes": [0, 8], "draws": 4},
        {"design": "hold_out", "categories": ["Write"], "sizes": [0, 8], "draws": 4},
        {"design": "weights", "tasks": ["toy_sentiment"], "total": 9, "points": [{"toy_sentiment": 1}], "draws": 4},
    ):
        study = Study.model_validate({**plain, "grid": grid, "training_seeds_at_zero": []})
        cells = expand(study)
        assert {(cell.draw, cell.training_seed) for cell in cells if cell.num_target} == {(d, d) for d in range(4)}
        assert {cell.training_seed for cell in cells if not cell.num_target} == {0, 1, 2}
        compat = expand(study.replace(mode="compat"))
        assert {cell.training_seed for cell in compat} == {0}


def test_seeds_are_identity_as_they_are_trained() -> None:
    default = quickstart().replace(training_seeds_at_zero=())
    named = default.replace(training_seeds=(0,), training_seeds_at_zero=(0,))
    assert default.identity()["training_seeds"] == "draw"
    assert (
        default.identity()["training_seeds_at_zero"] == [0, 1, 2] == quickstart().identity()["training_seeds_at_zero"]
    )
    assert (named.identity()["training_seeds"], named.identity()["training_seeds_at_zero"]) == ([0], [0])
    compat = default.replace(mode="compat").identity()
    assert (compat["training_seeds"], compat["training_seeds_at_zero"]) == ([0], [])
    one = default.replace(grid=default.grid.replace(draws=1, sizes=(8,)))  # nothing changed for it
    assert (one.identity()["training_seeds"], one.identity()["training_seeds_at_zero"]) == ([0], [])
    filled = default.replace(training_seeds=(5, 1))
    assert filled.seeds_at_zero == (5, 1, 0) and default.replace(training_seeds=(7, 8, 9)).seeds_at_zero == (7, 8, 9)


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
        ("base_models=[tiny]", "needs the field tiny_base"),
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
    with pytest.raises(ConfigError, match=r"expected one of early_stopping, .*quickstart, s1"):
        load_study("quickstrat")


def other_design(**grid: object) -> Study:
    plain = quickstart().model_dump(mode="json")
    return Study.model_validate({**plain, "grid": grid, "training_seeds_at_zero": [0]})


def test_starting_points_of_s2_are_made_once_and_never_trained_at_zero() -> None:
    study = other_design(
        design="transfer", tasks=["toy_sentiment"], sizes=[0, 8], draws=2, starts=["base", "merged", "stacked"],
        validation_rows=8, instruction_validation_rows=8,
    )  # fmt: skip
    cells = expand(study)
    made = study_artifacts(study, cells, BASES, KEYS)
    assert len(cells) == 3 * (2 + 2)  # starts x (draws at 0 and at 8)
    (tuning,) = made.tunings
    (merged,) = made.merged
    assert len(made.trainings) == 3 * 2
    assert plan(study).distinct_trainings == len(made.trainings) + 1
    by_series = {run.series: run for run in made.runs if run.num_target == 0 and run.evaluation_set != "instructions"}
    assert by_series["base"].adapter_key == BASES["toy"].key
    assert by_series["our IFT, merged"].adapter_key == merged.key
    assert by_series["our IFT, stacked"].adapter_key == tuning.key
    bases = {job.key: (job.base_key, job.start_adapter_key) for job in made.trainings}
    assert set(bases.values()) == {
        (BASES["toy"].key, None), (merged.key, None), (BASES["tiny"].key, tuning.key)
    }  # fmt: skip
    assert {run.series for run in made.runs if run.repeats == "our IFT, merged"} == {"our IFT, stacked"}
    assert len([run for run in made.runs if run.repeats]) == len(made.runs) / 3
    assert any("no further evidence" in note for note in notes(study))
    alone = study.replace(grid=study.grid.replace(starts=("base", "stacked")))  # nothing there that it repeats
    assert not any(cell.repeats for cell in expand(alone))
    assert not any("no further evidence" in note for note in notes(alone))
    stacks = {stack.key for stack in made.stacked.values()}
    assert len(stacks) == 2
    assert {job.lora_rank for job in made.generations if job.adapter_key in stacks} == {64}  # 32 + 32
    waves = made.waves(4)
    assert [job for wave in waves for job in wave.generations if job.key not in made.trained_by] == [
        job for job in waves[0].generations if job.key not in made.trained_by
    ]
    placed = made.at({merged.key: "/merged"})
    assert {job.base_path for job in placed.trainings} == {"/base", "/merged"}


def test_sources_share_their_baseline_and_curricula_keep_their_order() -> None:
    study = other_design(
        design="sources",
        tasks=["toy_sentiment"],
        sizes=[0, 8],
        draws=2,
        synthetic={"toy_sentiment": "toy_question"},
        random={"toy_sentiment": "toy_entities"},
        synthetic_first=5,
    )
    cells = expand(study)
    made = study_artifacts(study, cells, BASES, KEYS)
    assert len(made.trainings) == 1 + 4 * 2
    assert {run.arm for run in made.runs} == {
        "instructions only", *(f"toy_sentiment N=8 {source}" for source in ("H", "S", "R", "S+H"))
    }  # fmt: skip
    orders = {cell.series: (cell.mixture.order, cell.train.order) for cell in cells if cell.num_target}
    assert orders.pop("S+H") == ("curriculum", "given")
    assert set(orders.values()) == {("shuffled", "shuffled")}


def test_a_held_out_category_has_a_baseline_of_its_own() -> None:
    study = other_design(design="hold_out", categories=["Classify", "Write"], sizes=[0, 4], draws=2)
    made = study_artifacts(study, expand(study), BASES, KEYS)
    assert len(made.trainings) == 2 * (1 + 2)
    assert {(run.evaluation_set, run.trained_task) for run in made.runs} == {
        ("Classify", "Classify"), ("Write", "Write")
    }  # fmt: skip
    assert {run.arm for run in made.runs if run.num_target == 0} == {"without Classify", "without Write"}


def test_weights_share_a_total_and_equal_shares_are_one_mixture() -> None:
    points = [{"instructions": 1, "toy_sentiment": 1}, {"instructions": 2, "toy_sentiment": 2}, {"toy_question": 3}]
    study = other_design(design="weights", tasks=["toy_sentiment", "toy_question"], total=40, points=points)
    cells = expand(study)
    assert [cell.num_target for cell in cells] == [0, 20, 40]
    assert {sum(part.count or 0 for part in cell.mixture.train) for cell in cells} == {40}
    assert all(cell.evaluates == ("toy_sentiment", "toy_question", "instructions") for cell in cells)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"design": "transfer", "tasks": ["toy_question"], "sizes": [0], "starts": ["instruct"]}, "instruct_models"),
        ({"design": "sources", "tasks": ["toy_question"], "sizes": [8]}, "toy_question_synthetic"),
        ({"design": "hold_out", "categories": ["Nonsense"], "sizes": [0]}, "Nonsense"),
        ({"design": "weights", "tasks": ["toy_question"], "total": 9, "points": [{"sst2": 1}]}, "sst2"),
        ({"design": "transfer", "tasks": ["toy_question"], "sizes": [0], "startz": []}, "known fields: design, draws"),
    ],
)
def test_a_design_that_does_not_hang_together_is_one_line(grid: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_study("quickstart", [f"grid={json.dumps(grid)}"])


@pytest.mark.parametrize("name", ["s1", "forgetting", "s2", "scorer_benchmark"])
def test_the_papers_studies_take_its_tasks_for_cit_cat_and_tfa(name: str) -> None:
    study = BUILTIN[name]()
    assert study.table_options("k").meta_tasks is not None
    assert sorted(study.table_options("k").meta_tasks) == ["conll", "mnli", "qnli", "squadv2", "sst2", "stsb"]
    assert study.table_options("k").tfa_tasks == ("sst2", "mnli", "qnli")
    assert "xsum" in study.grid.tasks


def test_of_the_named_tasks_those_that_are_evaluated_count() -> None:
    sources = BUILTIN["s1_sources"]()
    assert set(sources.table_options("k").meta_tasks or ()) == {"sst2", "mnli", "conll"}
    assert sources.table_options("k").tfa_tasks == ("sst2", "mnli")
    assert load_study("s1", ["grid.tasks=[conll]"]).table_options("k").tfa_tasks is None  # none of them: all that are
    assert BUILTIN["hold_one_out"]().table_options("k").meta_tasks is None
    with pytest.raises(ConfigError, match=r"statistics\.tfa_tasks: saw the task 'ss2'; expected some of conll"):
        load_study("s1", ["statistics.tfa_tasks=[ss2]"])


def test_a_study_file_may_extend_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "below.yaml").write_text("extends: quickstart\nname: below\ngrid: {draws: 5}\n")
    (tmp_path / "above.yaml").write_text("extends: below.yaml\nname: above\nevaluation: {target_rows: 7}\n")
    study = load_study(str(tmp_path / "above.yaml"))
    assert (study.name, study.grid.draws, study.evaluation.target_rows) == ("above", 5, 7)
    (tmp_path / "loop.yaml").write_text("extends: loop.yaml\nname: loop\n")
    with pytest.raises(ConfigError, match=r"extends 'loop.yaml'"):
        load_study(str(tmp_path / "loop.yaml"))


def test_a_study_of_early_stopping_trains_everything_in_full_and_stopped() -> None:
    study = early_stopping_small()
    cells = expand(study)
    assert [(cell.training_seed, cell.stops) for cell in cells] == [(0, False), (0, True), (1, False), (1, True)]
    keys = {name: f"{number:032x}" for number, name in enumerate(study.data.sources)}
    made = study_artifacts(study, cells, BASES, keys)
    assert len(made.trainings) == len({job.key for job in made.trainings}) == plan(study).distinct_trainings == 4
    assert len({job.evaluation_key for job in made.trainings}) == 2
    assert {job.spec.seed for job in made.trainings} == {0, 1}
    assert {run.series for run in made.runs} == {"", "stopped"}


def test_studies_without_ifs_keep_their_identity() -> None:
    assert "ifs" not in quickstart().identity()
    assert "ifs" in early_stopping_small().identity()


def test_a_study_may_refuse_leaks_instead_of_leaving_them_out() -> None:
    study = load_study("quickstart", ["leaks={policy: refuse}"])
    assert {cell.mixture.leaks.policy for cell in expand(study)} == {"refuse"}
    assert len(distinct_trainings(expand(study))) == len(distinct_trainings(expand(quickstart())))
    assert {cell.mixture.leaks.policy for cell in expand(quickstart())} == {"drop"}
    assert study.identity() != quickstart().identity()


def test_max_tokens_reaches_every_mixture_and_its_absence_no_key() -> None:
    study = small(max_tokens=512)
    assert {cell.mixture.max_tokens for cell in expand(study)} == {512}
    assert fingerprint(study.identity()) != fingerprint(quickstart().identity())
    assert {cell.mixture.max_tokens for cell in expand(quickstart())} == {None}
    assert "max_tokens" not in quickstart().identity()["grid"]  # type: ignore[operator]
    weights = other_design(design="weights", tasks=["toy_arithmetic"], total=10, points=[], max_tokens=64)
    assert {cell.mixture.max_tokens for cell in expand(weights)} == {64}


def held_out(evaluation: dict[str, object], **grid: object) -> Study:
    plain = other_design(
        design="hold_out", categories=["Classify", "Write"], sizes=[0, 4], draws=2, validation_rows=8, **grid
    )
    return plain.replace(evaluation=plain.evaluation.replace(**evaluation))


def test_a_category_can_stand_alone_beside_the_others_without_it() -> None:
    study = held_out({}, alone=True)
    made = study_artifacts(study, expand(study), BASES, KEYS)
    assert len(made.trainings) == 2 * (1 + 2 + 2)
    alone = [cell for cell in expand(study) if cell.arm == "Write only"]
    assert [cell.mixture.train[0].cap for cell in alone] == [1300, 1300]
    assert {cell.mixture.train[0].categories for cell in alone} == {("Write",)}
    assert {cell.evaluates for cell in alone} == {("Write",)}
    assert plan(study).distinct_trainings == len(made.trainings)
    assert "alone" not in held_out({}).identity()["grid"]  # type: ignore[operator]


def test_every_model_of_a_held_out_study_answers_the_cross_category_set_where_it_is_asked_for() -> None:
    study = held_out({"cross_category_rows": 3})
    made = study_artifacts(study, expand(study), BASES, KEYS)
    assert {run.evaluation_set for run in made.runs} == {"Classify", "Write", "instructions"}
    assert len(made.runs) == 2 * len(study_artifacts(held_out({}), expand(held_out({})), BASES, KEYS).runs)
    sets = evaluation_sets(study, KEYS)
    assert sets["instructions"].per_category == 3
    assert sets["instructions"].key != evaluation_sets(held_out({"cross_category_rows": 4}), KEYS)["instructions"].key
    assert plan(study).predictions > plan(held_out({})).predictions
    assert "cross_category_rows" not in held_out({}).identity()["evaluation"]  # type: ignore[operator]
    with pytest.raises(ValueError, match="cross_category_rows is for the design hold_out"):
        quickstart().replace(evaluation=quickstart().evaluation.replace(cross_category_rows=3))
