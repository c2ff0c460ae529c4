"""What a study starts from: only the datasets that it uses are looked for, stored, and part of its key."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from assay.commands.study import embedded_judge
from assay.errors import InputError
from assay.hooks import SilentProgress
from assay.store import Store
from assay.studies.artifacts import evaluation_sets
from assay.studies.builtin.paper import BUILTIN, quickstart
from assay.studies.catalog import load_study
from assay.studies.inputs import check_evaluation, dataset_keys, store_datasets, study_bases, study_key
from assay.studies.pipeline import Pipeline
from assay.studies.planning.estimate import plan
from assay.studies.spec import Study

EXAMPLE = """
extends: s1
name: mine
data:
  root: {root}
  sources:
    instructions: {{loader: messages, path: chats.jsonl.gz, split_rule: strict}}
    sst2:
      {{loader: jsonl, path: reviews.jsonl, task: sst2, columns: {{input: text, output: label}}, split_rule: strict}}
grid: {{tasks: [sst2], sizes: [0, 100, 1000], draws: 3}}
base_models: [Qwen/Qwen2.5-0.5B, /models/my-llama-1b]
"""
"""Of the README."""


@pytest.fixture
def example(tmp_path: Path) -> Study:
    chats = [
        {"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": f"{n}!"}]}
        for n in range(60)
    ]
    with gzip.open(tmp_path / "chats.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(chat) + "\n" for chat in chats)
    reviews = [{"text": f"film {n}", "label": ("negative", "positive")[n % 2]} for n in range(60)]
    (tmp_path / "reviews.jsonl").write_text("".join(json.dumps(review) + "\n" for review in reviews))
    path = tmp_path / "mine.yaml"
    path.write_text(EXAMPLE.format(root=tmp_path))
    return load_study(str(path))


def test_a_large_base_is_refused_where_it_would_be_trained_whole(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"weight": {"dtype": "F32", "shape": [30_000, 20_000], "data_offsets": [0, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    made = quickstart().replace(base_models=[str(folder)], tiny_base=None)
    assert study_bases(made, {})[str(folder)].name == "large"
    whole = made.replace(train=made.train.replace(method="full"))
    with pytest.raises(InputError, match="base model large of 600,000,000 parameters; expected at most 500,000,000"):
        study_bases(whole, {})


def test_the_readmes_study_of_ones_own_data_asks_no_hub_for_what_it_does_not_read(
    example: Study, tmp_path: Path
) -> None:
    keys = dataset_keys(example)  # a hub dataset cannot be resolved here, and would raise
    assert set(keys) == {"instructions", "sst2"}
    datasets = store_datasets(example, Store(str(tmp_path / "store")), keys)
    assert datasets.keys == keys
    assert len(datasets.rows("sst2")) == len(datasets.rows("instructions")) == 60
    made = plan(example.replace(grid=example.grid.replace(sizes=(0, 5, 10), validation_rows=2)))
    assert (made.cells_per_base, made.trainings_per_base) == (15, 9)  # 2 x 3 draws, and 3 seeds at N = 0
    assert not [note for note in made.assumptions if "mnli" in note or "published sizes" in note]


def test_a_source_that_is_not_read_is_no_part_of_the_studys_key(example: Study) -> None:
    sources = {name: example.data.sources[name] for name in ("instructions", "sst2")}
    alone = example.replace(data=example.data.replace(sources=sources))
    bases = dict.fromkeys(example.all_models, "b")
    keys = dataset_keys(example)
    assert study_key(alone, keys, bases, "judge") == study_key(example, keys, bases, "judge")


def test_a_derived_dataset_brings_what_it_is_made_of_and_unread_ones_are_not_made() -> None:
    study = BUILTIN["s1_sources"]()
    assert set(study.used.sources) == {"instructions", "sst2", "mnli", "conll"}
    assert set(study.used.derived) == set(study.data.derived)
    human = study.replace(grid=study.grid.replace(sources=("H",)))
    assert not human.used.derived
    assert plan(human).writer_calls == 0
    random = study.replace(grid=study.grid.replace(sources=("R",), tasks=("sst2",)))
    assert set(random.used.derived) == {"sst2_random", "sst2_synthetic"}


def toy(grid: dict[str, object], evaluation: dict[str, object], **data: object) -> Study:
    plain = quickstart().model_dump(mode="json")
    for source in plain["data"]["sources"].values():
        source.update(num_train=60, num_validation=20, num_test=26)
    changed = {"grid": grid, "evaluation": {**plain["evaluation"], **evaluation}, "data": {**plain["data"], **data}}
    return Study.model_validate({**plain, **changed, "training_seeds_at_zero": [0]})


def test_a_category_is_evaluated_on_up_to_as_many_rows_as_are_asked_for(tmp_path: Path) -> None:
    grid = {"design": "hold_out", "categories": ["Classify", "Rewrite"], "sizes": [0, 4]}
    study = toy(grid, {"target_rows": 500})
    datasets = store_datasets(study, Store(str(tmp_path)), dataset_keys(study))
    sets = evaluation_sets(study, datasets.keys)
    check_evaluation(study, sets, datasets)
    assert all(0 < len(datasets.evaluation_rows(part)) < 500 for part in sets.values())
    none = {"Rewrite": replace(sets["Rewrite"], category="Other")}  # which no row here is
    with pytest.raises(InputError, match="'Rewrite' test rows but the test split holds 0"):
        check_evaluation(study, none, datasets)


def test_too_few_test_rows_are_refused_before_anything_is_written_or_tagged(tmp_path: Path) -> None:
    derived = {"toy_sentiment_synthetic": {"kind": "synthetic", "of": "toy_sentiment", "rows": 12, "shown": 12}}
    grid = {"design": "sources", "tasks": ["toy_sentiment"], "sizes": [0, 6], "sources": ["S"]}
    study = toy(grid, {"target_rows": 500}, derived=derived)
    store = Store(str(tmp_path))
    pipeline = Pipeline(study, store, SilentProgress(), embedded_judge())
    folder = pipeline.open()
    with pytest.raises(InputError, match="asks for 500 'toy_sentiment' test rows but the test split holds 26"):
        pipeline.run(folder, until="data")
    assert not store.exists("dataset", dataset_keys(study, pipeline.embedded.name)["toy_sentiment_synthetic"])


def test_a_source_that_is_read_must_be_there(example: Study) -> None:
    assert example.data.root is not None
    (Path(example.data.root) / "reviews.jsonl").unlink()
    with pytest.raises(InputError, match=r"reviews\.jsonl"):
        dataset_keys(example)
