"""The design `preference`: what is shared, what is chosen, what is refused, and what a large plan costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ConfigError, DataError
from assay.llm.endpoint import EndpointSpec
from assay.metaeval.study_tables.build import RunRow
from assay.preference.sources import START
from assay.studies.artifacts import Base, StudyArtifacts, study_artifacts
from assay.studies.catalog import load_study
from assay.studies.cells import expand
from assay.studies.designs.preference import TUNING_SET
from assay.studies.garbage import references
from assay.studies.planning.estimate import plan
from assay.studies.preferences.chosen import Answers, choose
from assay.studies.preferences.inputs import preference_inputs
from assay.studies.preferences.rounds import rounds_of
from assay.studies.spec import Study

SMALL = str(Path(__file__).resolve().parents[3] / "jobs" / "studies" / "preference_small.yaml")
ALL = "sft_chosen, best_of_n, expert_iteration, conditional, dpo, slic, ipo, rrhf, pro, kto, orpo, simpo"


def artifacts(study: Study) -> StudyArtifacts:
    datasets = {name: f"{number:032x}" for number, name in enumerate(study.data.names)}
    bases = {name: Base(name, f"{number:032x}", "/base") for number, name in enumerate(study.all_models)}
    endpoint = EndpointSpec(name="judge", model="rubric", base_url="http://127.0.0.1:1/v1")
    return study_artifacts(study, expand(study), bases, datasets, preference_inputs(study, endpoint))


def small(*overrides: str) -> Study:
    return load_study(SMALL, list(overrides))


def test_all_methods_share_start_samples_and_pairs() -> None:
    study = small()
    made = artifacts(study)
    grid = study.grid.preferences
    assert grid is not None
    assert len(made.tunings) == len(made.merged) == 1
    assert len(made.pairs) == len(grid.pairs) == 2
    assert len({part.samples.job.key for part in made.pairs if part.samples}) == 1  # labels differ, answers do not
    assert {job.mixture_key for job in made.trainings} == {part.key for part in made.pairs}
    assert {job.base_key for job in made.trainings} == {made.merged[0].key}
    assert len(made.trainings) == len(grid.trained_methods) * grid.num_points * grid.seeds * len(grid.pairs)


def test_every_model_answers_prompts_to_choose_by_and_others_to_report() -> None:
    made = artifacts(small())
    by_arm: dict[str, set[str]] = {}
    for run in made.runs:
        by_arm.setdefault(run.arm, set()).add(run.evaluation_set)
    assert set(map(frozenset, by_arm.values())) == {
        frozenset({"tuning", "preferences", "toy_arithmetic", "instructions"})
    }
    untrained = {run.arm for run in made.runs if not run.is_trained}
    assert untrained == {START}


def test_a_model_trained_on_conditions_is_asked_with_the_best_one() -> None:
    study = small()
    made = artifacts(study)
    asked = {run.arm for run in made.runs if run.predictions_key in made.prefixes}
    assert asked and all(arm.startswith("conditional") for arm in asked)
    assert set(made.prefixes.values()) == {"[good] "}


def test_a_better_prompt_and_a_stronger_model_are_asked_apart() -> None:
    prompted = artifacts(small("grid.pairs={stronger: {winner_prefix: 'Be right. '}}"))
    (wanted,) = prompted.pairs
    assert wanted.samples and wanted.losing
    assert wanted.samples.spec.prompt.prefix == "Be right. "
    assert wanted.losing.spec.prompt.prefix == ""
    assert wanted.samples.job.base_key == wanted.losing.job.base_key
    (other,) = artifacts(small("grid.pairs={stronger: {winner: big-model}}")).pairs
    assert other.samples and other.losing
    assert other.samples.job.base_key != other.losing.job.base_key == wanted.losing.job.base_key
    assert other.losing.job.key == wanted.losing.job.key


def test_a_revision_follows_its_answer_and_the_principles(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("# ours\nBe short.\n\nBe right.\n")
    override = "grid.pairs={principles: {file: p.txt}}"
    (wanted,) = artifacts(small(override, f"data.root={tmp_path}")).pairs
    assert wanted.principles == ("Be short.", "Be right.")
    (tmp_path / "p.txt").write_text("Be kind.\n")
    (other,) = artifacts(small(override, f"data.root={tmp_path}")).pairs
    assert wanted.losing and other.losing and wanted.samples and other.samples
    assert wanted.losing.job.key == other.losing.job.key  # the first answers are the same
    assert wanted.samples.job.key != other.samples.job.key
    assert wanted.key != other.key
    (tmp_path / "p.txt").write_text("# none\n")
    with pytest.raises(DataError, match="saw no principle"):
        artifacts(small(override, f"data.root={tmp_path}"))
    with pytest.raises(DataError, match=r"below data\.root"):
        artifacts(small("grid.pairs={principles: {file: none.txt}}", f"data.root={tmp_path}"))


def test_expert_iteration_samples_what_its_last_round_trained() -> None:
    study = small(
        "grid.methods=[sft_chosen, expert_iteration]", "grid.method_tuning={}", "grid.rounds=3", "grid.seeds=1"
    )
    made = artifacts(study)
    rounds = rounds_of(made.rounds)
    assert [len(jobs) for _, jobs in rounds] == [4, 4]  # 2 sources x 2 points
    first, second = rounds
    assert {part.samples.job.adapter_key for part in first[0] if part.samples} == {None}
    assert {part.samples.job.adapter_key for part in second[0] if part.samples} == {job.key for job in first[1]}
    last = {job.mixture_key for job in made.trainings}
    sampled = {part.key: part.samples.job.adapter_key for part in made.pairs if part.samples}
    assert {sampled[key] for key in last} == {None, *(job.key for job in second[1])}
    # its first round is what sft_chosen trains: the same adapters
    assert {job.key for job in first[1]} < {job.key for job in made.trainings}


def test_a_stacked_start_samples_trains_and_is_served_beside_what_is_trained_on_it() -> None:
    study = small(
        "grid.start=stacked", "grid.methods=[sft_chosen, expert_iteration]", "grid.method_tuning={}", "grid.rounds=3",
        "grid.seeds=1",
    )  # fmt: skip
    made = artifacts(study)
    (tuning,) = made.tunings
    assert not made.merged
    trained = [*made.trainings, *(job for _, job in made.rounds)]
    assert {(job.base_key, job.start_adapter_key) for job in trained} == {(tuning.base_key, tuning.key)}
    assert set(made.stacked) == {job.key for job in trained}
    served = {key: stack.key for key, stack in made.stacked.items()}
    assert {job.adapter_key for job in made.generations} == {tuning.key, *(served[job.key] for job in made.trainings)}
    ranks = {job.lora_rank for job in made.generations}
    assert ranks == {study.train.lora_rank, 2 * study.train.lora_rank}
    first, second = rounds_of(made.rounds, served)
    assert {part.samples.job.adapter_key for part in first[0] if part.samples} == {tuning.key}
    assert {part.samples.job.adapter_key for part in second[0] if part.samples} == {served[job.key] for job in first[1]}
    assert {tuning.key, *served, *served.values()} == {*references(made, (), (), ())["adapter"]}
    merged = artifacts(small("grid.methods=[sft_chosen]", "grid.method_tuning={}", "grid.seeds=1"))
    assert not {job.key for job in merged.trainings} & {job.key for job in made.trainings}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("grid.methods=[dpo, magic]", "saw 'magic'"),
        ("grid.methods=[sft]", "saw 'sft'"),
        ("grid.tuning={learning_rate: [0.1, 0.1], beta: [0.1, 0.2]}", "two equal points of sft_chosen"),
        ("grid.tuning={learning_rate: [0.1], beta: [0.1, 0.2]}", "expected 1, as many as others"),
        ("grid.pairs={sampled: {label: judge}}", "must be one of scorers"),
        ("grid.pairs={given: {dataset: helpful}}", "field preference set"),
        ("generation.temperature=0.5", "expected 1 in the design preference"),
        ("grid.start=instruct", "exactly where instruct_models"),
        ("grid.draws=2", "samples once"),
        ("grid.pairs={stronger: {}}", "the start on both sides"),
        ("grid.pairs={principles: {file: ../p.txt}}", "expected a path below"),
        ("grid.rounds=1", "greater than or equal to 2"),
        ("grid.pairs={sampled: {label: pairwise, strategy: rating}}", "expected one of vanilla_norules, vanilla"),
        ("grid.pairs={sampled: {label: truth, strategy: cot}}", "which compares nothing"),
        ("grid.pairs={sampled: {label: self, length_bias: 0.1}}", "expected 0 with the label 'self'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        small(override)
    assert "\n" not in str(caught.value)


def test_a_stacked_start_adapts_the_layers_that_are_trained() -> None:
    with pytest.raises(ConfigError, match="serves two adapters"):
        small("grid.start=stacked", "grid.start_train={target_modules: auto}")


def test_all_methods_at_three_points_and_five_seeds_are_priced_before_anything_runs() -> None:
    study = small(
        f"grid.methods=[{ALL}]",
        "grid.tuning={learning_rate: [0.001, 0.002, 0.003], beta: [0.1, 0.1, 0.1]}",
        "grid.method_tuning={}",
        "grid.seeds=5",
    )
    found = plan(study)
    methods = 11  # best of n trains nothing
    rounds = 3 * 5 * 2  # of expert iteration the second of three: the first is what sft_chosen trains
    assert found.distinct_trainings == methods * 3 * 5 * 2 + 1 + rounds
    assert found.cells == methods * 3 * 5 * 2 + 1
    answers = 8 * 320 + 2 * 8 * 320 * 3 * 5 * 2  # once from the start, and from each model of two later rounds
    assert any(f"{answers:,} answers sampled for pairs" in note for note in found.assumptions)
    assert found.gpu_hours is not None


def test_answers_compared_two_by_two_are_labels_of_their_own_and_priced() -> None:
    study = small(
        "grid.pairs={one: {kind: sampled, num: 4, label: pairwise}, two: {kind: sampled, num: 4, label: pairwise, "
        "strategy: cot}, own: {kind: sampled, num: 4, label: self}}"
    )
    assert study.asks_judge and "judge" not in study.scorers
    made = artifacts(study)
    assert len({part.samples.job.key for part in made.pairs if part.samples}) == 1  # who labels differs alone
    assert len({part.scores_key for part in made.pairs}) == len({part.key for part in made.pairs}) == 3
    (own,) = [part for part in made.pairs if part.start is not None]
    assert own.start and own.start.base_key == made.merged[0].key
    found = plan(study)
    assert found.judge_calls == 2 * 320 * 4 * 3  # both orders of six pairs for each of two strategies
    assert any(f"{320 * 4 * 3:,} verdicts asked of the start itself" in note for note in found.assumptions)


def test_the_referee_is_another_judge_that_compares_and_is_priced() -> None:
    study = small("referee={protocol: vanilla}")
    assert plan(study).judge_calls == 2 * 2 * 6 * 3 * 96  # both orders x sources x methods x seeds x reported prompts
    assert any("6,912 calls of the referee" in note for note in plan(study).assumptions)
    judged = "grid.pairs={judged: {kind: sampled, label: pairwise}}"
    with pytest.raises(ConfigError, match="saw the judge that labels; expected another one"):
        small(judged, "referee={protocol: vanilla}")
    assert small(judged, "referee={protocol: vanilla, model: other, base_url: 'http://127.0.0.1:1/v1'}").referee
    with pytest.raises(ConfigError, match=r"referee\.protocol='ifteval': expected one of vanilla_norules"):
        small("referee={model: other}")
    with pytest.raises(ConfigError, match="it compares models that learnt from preferences"):
        load_study("quickstart", ["referee={protocol: vanilla}"])


def runs_of(study: Study) -> list[RunRow]:
    return [run for run in artifacts(study).runs if run.evaluation_set == TUNING_SET]


def test_the_point_that_its_label_likes_best_is_reported() -> None:
    study = small()
    grid = study.grid.preferences
    assert grid is not None
    wanted = "learning_rate 0.003"

    def read(key: str) -> Answers:
        run = next(run for run in runs if run.predictions_key == key)
        # the better point by truth is short; with the bias that was planted the long one wins
        is_long = wanted in run.arm
        texts: Mapping[str, str] = {"e": "word " * (20 if is_long else 1)}
        return Answers(texts, {"truth": {"e": 0.5 if is_long else 0.9}})

    runs: list[Any] = runs_of(study)
    chosen = {(part.source, part.method): part for part in choose(grid, runs, read, "truth", TUNING_SET)}
    assert len(chosen) == len(grid.pairs) * len(grid.trained_methods)
    assert wanted in chosen["biased", "dpo"].arm  # 0.5 + 20 x 0.04 = 1.3 against 0.94
    assert wanted not in chosen["plain", "dpo"].arm
    assert chosen["plain", "dpo"].tuning_scores == pytest.approx((0.9, 0.5))
