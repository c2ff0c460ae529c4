"""The winner leaves its study as PEFT and transformers load it, and answers as it did there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.adapter_files import CONFIG, WEIGHTS
from assay.errors import ConfigError, DataError
from assay.model_folders import SHIPPED
from assay.records import INSTRUCTIONS
from assay.store import Store
from assay.studies.builtin.paper import quickstart
from assay.studies.catalog import load_study
from assay.studies.prepared import PreparedStudy, prepare_study
from assay.studies.results.exported import Choice, best_arm, best_by_objective, export_model
from assay.studies.results.model_card import unknown_licences
from assay.studies.spec import TINY, Study
from assay.studies.starts import make_stacks
from support.tiny_models import make_adapters, make_model

TRAINED = Choice("toy_sentiment N=8")


def prepared(base: str = TINY, **train: object) -> PreparedStudy:
    plain = {**quickstart().model_dump(mode="json"), "base_models": [base], "tiny_base": {}}
    for source in plain["data"]["sources"].values():
        source.update(num_train=60, num_validation=12, num_test=12)
    grid = {"tasks": ["toy_sentiment"], "sizes": [0, 8], "draws": 2, "validation_rows": 8}
    plain["train"] |= train
    return prepare_study(Study.model_validate({**plain, "name": "small", "grid": grid}), "rubric")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """A store with the study's base and one adapter per training, and the folder of what it holds."""
    folder = tmp_path_factory.mktemp("trained")
    store, study = Store(str(folder / "runs")), prepared()
    base = make_model(folder / "model", "llama")
    with store.writing("base", study.bases[TINY].key) as artifact:
        artifact.folder(base)
    keys = [job.key for job in study.artifacts.trainings]
    for key, adapter in zip(keys, make_adapters(base, [folder / key for key in keys]), strict=True):
        with store.writing("adapter", key) as artifact:
            artifact.file(WEIGHTS, (adapter / WEIGHTS).read_bytes())
            artifact.json(CONFIG, json.loads((adapter / CONFIG).read_text()))
    return store, base


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.arange(12, 40)[None]).logits


@pytest.mark.parametrize("merge", [False, True])
def test_the_exported_model_answers_as_the_studys_adapter(
    trained: tuple[Store, Path], tmp_path: Path, merge: bool
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    store, base = trained
    study, out = prepared(), tmp_path / "winner"
    made = export_model(study, store, TRAINED, out, merge=merge)
    stored = store.local_dir("adapter", made.run.adapter_key)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    at_base = logits(plain)
    wanted = logits(PeftModel.from_pretrained(plain, stored))
    loader = AutoModelForCausalLM if merge else AutoPeftModelForCausalLM
    found = logits(loader.from_pretrained(out, dtype=torch.float32))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(at_base, wanted, atol=1e-2)
    assert AutoTokenizer.from_pretrained(out)("w3 w4").input_ids[0] == 1
    card = (out / "README.md").read_text()
    assert "toy_sentiment: 8 rows" in card
    assert study.key in card
    assert "- base model `tiny`: unknown to the study" in card
    recipe = card.split("## Recipe")[1].split("##")[0].strip().splitlines()
    assert {"- objective.method: sft", "- prompt.style: alpaca", "- restore_best: yes"} <= set(recipe)
    assert all(line.startswith("- ") and not set(line) & set("{}[]'") for line in recipe)
    assert "- dataset `toy_sentiment`: unknown: the study file states none" in card
    assert str(tmp_path) not in card


def test_the_base_that_comes_with_assay_goes_with_the_adapter(tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    store, study, out = Store(str(tmp_path / "runs")), prepared("toy"), tmp_path / "winner"
    keys = [job.key for job in study.artifacts.trainings]
    adapter = make_adapters(SHIPPED["toy"], [tmp_path / "adapter"])[0]
    for key in keys:
        with store.writing("adapter", key) as artifact:
            artifact.file(WEIGHTS, (adapter / WEIGHTS).read_bytes())
            artifact.json(CONFIG, json.loads((adapter / CONFIG).read_text()))
    export_model(study, store, TRAINED, out, merge=False)
    assert (out / "base" / "model.safetensors").read_bytes() == (SHIPPED["toy"] / "model.safetensors").read_bytes()
    assert json.loads((out / CONFIG).read_text())["base_model_name_or_path"] == str((out / "base").resolve())
    AutoPeftModelForCausalLM.from_pretrained(out)


def test_a_model_that_was_trained_whole_leaves_as_it_is(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    study, store, out = prepared(method="full"), Store(str(tmp_path / "runs")), tmp_path / "winner"
    trained = make_model(tmp_path / "model", "llama")
    for key in study.artifacts.whole:
        with store.writing("adapter", key) as artifact:
            artifact.folder(trained)
            artifact.json("summary.json", {})
    made = export_model(study, store, TRAINED, out, merge=False)
    assert made.kind == "whole weights" and made.run.adapter_key in study.artifacts.whole
    assert logits(AutoModelForCausalLM.from_pretrained(out)).equal(
        logits(AutoModelForCausalLM.from_pretrained(trained))
    )
    assert AutoTokenizer.from_pretrained(out)("w3 w4").input_ids[0] == 1
    assert {path.name for path in out.iterdir()} == {path.name for path in trained.iterdir()} | {"README.md"}
    assert "All weights, trained, of base model `tiny`" in (out / "README.md").read_text()


def test_draw_and_seed_are_the_first_unless_named(trained: tuple[Store, Path], tmp_path: Path) -> None:
    study = prepared()
    first = export_model(study, trained[0], TRAINED, tmp_path / "first", merge=False).run
    second = export_model(study, trained[0], Choice(TRAINED.arm, draw=1), tmp_path / "second", merge=False).run
    assert (first.draw, second.draw) == (0, 1)
    assert (tmp_path / "first" / WEIGHTS).read_bytes() != (tmp_path / "second" / WEIGHTS).read_bytes()


def test_what_cannot_be_exported_is_told_in_one_line(trained: tuple[Store, Path], tmp_path: Path) -> None:
    study, out = prepared(), tmp_path / "out"
    with pytest.raises(ConfigError, match=r"--arm best: expected one of instructions only, toy_sentiment N=8"):
        export_model(study, trained[0], Choice("best"), out, merge=False)
    with pytest.raises(ConfigError, match="--draw 7: expected one of 0, 1"):
        export_model(study, trained[0], Choice(TRAINED.arm, draw=7), out, merge=False)
    with pytest.raises(DataError, match=r"saw no model of .* run `assay run small`"):
        export_model(study, Store(str(tmp_path / "empty")), TRAINED, out, merge=False)
    assert not out.exists()
    (out / "mine").mkdir(parents=True)
    with pytest.raises(ConfigError, match="saw something there already"):
        export_model(study, trained[0], TRAINED, out, merge=False)


def test_a_model_that_learnt_from_preferences_leaves_with_its_own_recipe_and_how_to_ask_it(tmp_path: Path) -> None:
    file = Path(__file__).resolve().parents[3] / "jobs" / "studies" / "preference_small.yaml"
    study = prepare_study(load_study(str(file), ["grid.seeds=1"]), "rubric")
    store, plan = Store(str(tmp_path / "runs")), study.artifacts
    base = make_model(tmp_path / "model", "llama")
    with store.writing("base", plan.merged[0].key) as artifact:
        artifact.folder(base)
    arm = "conditional on biased (learning_rate 0.003)"
    key = next(run.adapter_key for run in plan.runs if run.arm == arm)
    make_adapters(base, [tmp_path / "adapter"])
    with store.writing("adapter", key) as artifact:
        artifact.folder(tmp_path / "adapter")
    out = tmp_path / "winner"
    export_model(study, store, Choice(arm), out, merge=False)
    card = (out / "README.md").read_text()
    assert "source `biased` of preferences, from the base with the study's instruction adapter in it" in card
    assert (
        "- length_bias: 0.04" in card and "- objective.method: conditional" in card and "- learning_rate: 0.003" in card
    )
    assert "Ask it with `[good] ` in front of the question" in card
    assert (out / "base" / "config.json").exists()
    with pytest.raises(ConfigError, match="its base model as it is"):
        export_model(study, store, Choice("start"), tmp_path / "start", merge=False)


def row(arm: str, evaluation_set: str, mean: float | None) -> dict[str, object]:
    return {"base_model": "b", "arm": arm, "evaluation_set": evaluation_set, "scorer": "judge", "mean": mean}


def test_the_best_arm_has_the_highest_mean_over_sets_that_all_arms_answered() -> None:
    rows = [row("a", "x", 0.5), row("a", "y", 0.4), row("b", "x", 0.6), row("b", "y", 0.2), row("b", INSTRUCTIONS, 1.0)]
    assert best_arm(rows, "judge", None, None) == "a"  # 0.45 against 0.40; the instruction set is no target
    assert best_arm(rows, "judge", "x", None) == "b"
    with pytest.raises(ConfigError, match=r"different evaluation sets .*--on"):
        best_arm([*rows, row("c", "x", 0.9)], "judge", None, None)
    with pytest.raises(ConfigError, match="--best human: expected one of judge"):
        best_arm(rows, "human", None, None)
    assert best_arm([*rows, row("c", "x", None)], "judge", "x", None) == "b"


def goal(base: str, arm: str, *, is_best: bool, scorer: str = "judge") -> dict[str, object]:
    return {"base_model": base, "arm": arm, "scorer": scorer, "is_best": is_best}


def test_the_best_mixture_goes_by_the_goals_weights_and_its_constraint() -> None:
    rows = [goal("b", "house", is_best=False), goal("b", "sobol 1", is_best=True), goal("c", "natural", is_best=True)]
    assert best_by_objective(rows, "judge", "b") == "sobol 1"
    with pytest.raises(ConfigError, match="natural, sobol 1 are each the best of a base model; name --base-model"):
        best_by_objective(rows, "judge", None)
    with pytest.raises(ConfigError, match="saw no arm that keeps the study's constraint on forgetting"):
        best_by_objective(rows[:1], "judge", None)
    with pytest.raises(ConfigError, match="--best human: expected one of judge"):
        best_by_objective(rows, "human", None)


def test_a_stated_licence_stands_on_the_card(trained: tuple[Store, Path], tmp_path: Path) -> None:
    study = prepared()
    plain = study.study.model_dump(mode="json")
    plain["data"]["sources"]["toy_sentiment"]["licence"] = "CC BY 4.0"
    told = prepare_study(Study.model_validate(plain), "rubric")
    assert told.key == study.key  # what rows may be used for changes no number
    made = export_model(told, trained[0], TRAINED, tmp_path / "out", merge=False)
    assert unknown_licences(made) == ["base model tiny", "instructions"]
    assert "- dataset `toy_sentiment`: CC BY 4.0" in (tmp_path / "out" / "README.md").read_text()


def test_a_stacked_start_leaves_as_one_adapter_on_the_base(tmp_path: Path) -> None:
    plain = quickstart().model_dump(mode="json")
    grid = {
        "design": "transfer", "tasks": ["toy_sentiment"], "sizes": [8], "draws": 1, "validation_rows": 8,
        "starts": ["stacked"], "instruction_validation_rows": 8, "instruction_rows": 20,
    }  # fmt: skip
    own_base = {"base_models": [TINY], "tiny_base": {"num_steps": 60}}
    study = prepare_study(Study.model_validate({**plain, **own_base, "name": "s2", "grid": grid}), "rubric")
    store, plan = Store(str(tmp_path / "runs")), study.artifacts
    base = make_model(tmp_path / "model", "llama")
    with store.writing("base", study.bases[TINY].key) as artifact:
        artifact.folder(base)
    keys = [plan.tunings[0].key, plan.trainings[0].key]
    for key, adapter in zip(keys, make_adapters(base, [tmp_path / key for key in keys]), strict=True):
        with store.writing("adapter", key) as artifact:
            artifact.folder(adapter)
    make_stacks(store, list(plan.stacked.values()))
    out = tmp_path / "winner"
    made = export_model(study, store, Choice(plan.runs[-1].arm), out, merge=False)
    ranks = [json.loads((tmp_path / key / CONFIG).read_text())["r"] for key in keys]
    assert json.loads((out / CONFIG).read_text())["r"] == sum(ranks)
    assert made.kind == "adapter"
    assert (out / "base" / "config.json").exists()
