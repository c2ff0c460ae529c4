"""IFS studies without an engine: what is stored is read, jobs go by content, mistakes are refused before work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from assay.errors import ConfigError, InputError
from assay.generation.spec import KIND as PREDICTIONS
from assay.generation.spec import PREDICTIONS_FILE, predictions_key
from assay.hooks import SilentProgress
from assay.ifs.prompts import ifs_prompts, is_partial
from assay.model_folders import find_model
from assay.records import TEST, TRAIN, Prediction, to_table
from assay.store import Store
from assay.studies.ifs_models.builtin import ifs_models_small
from assay.studies.ifs_models.local_answers import BARE, _evaluation_key, _Local, _tuning_job
from assay.studies.ifs_models.measure import _as_seen, _prompts, measure_ifs
from assay.studies.ifs_models.spec import IfsModel, IfsStudy
from assay.tasks.datasets.loaders import load_examples, materialise_dataset
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.templates import PromptSpec
from assay.tone.model import ToneSpec
from assay.tone.texts import dialogues_of, normalise
from assay.tone.training import train_tone_model
from support.stored_rows import read_mixture

TOY = SourceSpec(loader="toyworld", seed=5, num_train=240, num_validation=24, num_test=240)


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tone")
    train_tone_model(dialogues_of(load_examples(TOY.replace(seed=6), None)), ToneSpec(num_features=2**14)).save(folder)
    return folder


def model_folder(root: Path, name: str) -> Path:
    """What a model's folder must hold to be named; no weights that could be run."""
    folder = root / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "name": name}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_stored_answers_are_read_and_rows_without_one_are_counted(tmp_path: Path, tone: Path) -> None:
    store = Store(str(tmp_path / "store"))
    models = tuple(IfsModel(name=name, model=str(model_folder(tmp_path, name))) for name in ("base", "tuned"))
    study = IfsStudy(name="x", models=models, dialogues=TOY, tone_folder=str(tone), prompts=("B",), num_prompts=40)
    prompts = ifs_prompts(dialogues_of(load_examples(TOY, None)), 40, 0)
    evaluation = _evaluation_key([_as_seen(row, "B") for row in prompts])
    for model in models:
        key = predictions_key(
            study.generation.replace(prompt=BARE),
            base_key=find_model(model.model, "base model").key,
            adapter_key=None,
            evaluation_key=evaluation,
            max_new_tokens=study.max_new_tokens,
        )
        said = [
            Prediction(row.example_id, row.reference if model.name == "tuned" else "that she has now?", "stop", 1, 1)
            for row in prompts
        ]
        if model.name == "tuned":
            said[0] = Prediction(said[0].example_id, "", "error", 1, 0, "RuntimeError: out of memory")
        with store.writing(PREDICTIONS, key) as artifact:
            artifact.table(PREDICTIONS_FILE, to_table(sorted(said, key=lambda row: row.example_id), Prediction))
    result = measure_ifs(study, store, SilentProgress(), "sqlite://")
    base, tuned = result.report["rows"]
    assert base["overall"]["corrected"]["high"] < 0.2 < 0.8 < tuned["overall"]["corrected"]["low"]
    assert tuned["missing"] == {"error: RuntimeError": 1}
    assert tuned["overall"]["raw"]["n"] == 39
    assert tuned["versus_first"]["raw"]["n"] == 39  # paired over what both answered
    assert [row["missing"] for row in result.rows()].count(None) == 79


def test_a_chat_template_is_put_around_the_text_by_the_engine(tmp_path: Path, tone: Path) -> None:
    store, folder = Store(str(tmp_path / "store")), model_folder(tmp_path, "chatty")
    model = IfsModel(name="chatty", model=str(folder))
    study = IfsStudy(name="x", models=(model,), dialogues=TOY, tone_folder=str(tone), prompts=("chat",), num_prompts=10)
    with pytest.raises(ConfigError, match="saw chat for model 'chatty', which has no chat template"):
        measure_ifs(study, store, SilentProgress(), "sqlite://")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    prompts = ifs_prompts(dialogues_of(load_examples(TOY, None)), 10, 0)
    assert [_as_seen(row, "chat") for row in prompts] == prompts
    key = predictions_key(
        study.generation.replace(prompt=PromptSpec(style="chat")),
        base_key=find_model(model.model, "base model").key,
        adapter_key=None,
        evaluation_key=_evaluation_key(prompts),
        max_new_tokens=study.max_new_tokens,
    )
    said = [Prediction(row.example_id, row.reference, "stop", 1, 1) for row in prompts]
    with store.writing(PREDICTIONS, key) as artifact:
        artifact.table(PREDICTIONS_FILE, to_table(sorted(said, key=lambda row: row.example_id), Prediction))
    (row,) = measure_ifs(study, store, SilentProgress(), "sqlite://").report["rows"]
    assert row["num_prompts"] == 10
    assert not row["missing"]


def test_prompts_of_a_tuned_model_are_rows_that_nobody_learned_from(tmp_path: Path) -> None:
    study = ifs_models_small()
    store = Store(str(tmp_path))
    examples = load_examples(study.dialogues, None)
    prompts = _prompts(study, store, examples)
    assert len(prompts) == study.num_prompts and sum(map(is_partial, prompts)) == study.num_prompts // 2
    trained = {normalise(d.question) for d in dialogues_of(row for row in examples if row.split == TRAIN)}
    tested = {normalise(d.question) for d in dialogues_of(row for row in examples if row.split == TEST)}
    whole = {normalise(prompt.instruction) for prompt in prompts if not is_partial(prompt)}
    assert whole <= tested and not whole & trained


def test_a_tuning_reads_the_train_rows_and_nothing_else(tmp_path: Path) -> None:
    study = ifs_models_small().replace(dialogues=TOY.model_dump())
    store = Store(str(tmp_path))
    dataset = materialise_dataset(store, TOY, None).key
    examples = load_examples(TOY, None)
    job = _tuning_job(study, store, _Local("tuned", "k" * 32, "nowhere"), dataset, examples)
    mixture = read_mixture(store, job.mixture_key)
    trained = {row.example_id for row in mixture.train}
    assert trained <= {example.example_id for example in examples if example.split == TRAIN}
    assert 220 < len(trained) <= 240  # rows that nearly repeat a held-out row are left out
    assert len(mixture.validation) == 24
    assert job.key == _tuning_job(study, store, _Local("other", "k" * 32, "x"), dataset, examples).key


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"name": "a", "model": "m", "base_url": "http://x/v1", "tuned": True}, "neither an adapter nor tuning"),
        ({"name": "a", "model": "m", "adapter": "f", "tuned": True}, "not both"),
        ({"name": "a", "model": "tiny"}, "needs the field tiny_base"),
    ],
)
def test_models_that_cannot_be_are_refused(model: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        IfsStudy.model_validate({"name": "x", "models": [model], "dialogues": TOY.model_dump()})


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path, tone: Path) -> None:
    base = str(model_folder(tmp_path, "base"))
    model = IfsModel(name="a", model=base, adapter=str(tmp_path / "none"))
    study = IfsStudy(name="x", models=(model,), dialogues=TOY, tone_folder=str(tone), num_prompts=10)
    with pytest.raises(InputError, match="saw no LoRA adapter"):
        measure_ifs(study, Store(str(tmp_path / "store")), SilentProgress(), "sqlite://")
