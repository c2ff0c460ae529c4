"""N is N for the studies of the paper and the small ones with real data: rows asked, trained and cut, by task.

The tokenizer is a byte-level one trained on some of the rows; ASSAY_REAL_MODEL names a model folder to count with
instead. Nothing is trained.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assay.commands.plan import plan_command
from assay.records import MixtureRow, from_table
from assay.store import Store
from assay.studies.builtin.paper import S1_TASKS, builtin
from assay.studies.catalog import load_study
from assay.studies.spec import Study
from studies.test_exclusions import run

JOBS = Path(__file__).resolve().parents[2] / "jobs" / "studies"
ON_FILES = {"instructions": {"loader": "jsonl", "path": "alpaca/alpaca_gpt4_10k.jsonl.gz"}} | {
    task: {"loader": "jsonl", "path": f"tasks/{task}", "task": task} for task in S1_TASKS
}


@pytest.fixture(scope="module")
def base(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import PreTrainedTokenizerFast

    from assay.training.tiny_base.tiny_base_engine import END, PAD, bpe_tokenizer

    folder = tmp_path_factory.mktemp("models") / "base"
    if given := os.environ.get("ASSAY_REAL_MODEL"):
        return Path(given)
    texts = []
    for task in S1_TASKS:
        with gzip.open(shared_data / "tasks" / task / "train.jsonl.gz", "rt") as file:
            texts += [json.loads(line)["input"] for line, _ in zip(file, range(300), strict=False)]
    made = bpe_tokenizer(texts, 8000)
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, pad_token=PAD).save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 2048}')
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def on_files(name: str, data: Path, base: Path) -> Study:
    """A study of the paper on the files at hand, with one draw of its smallest and largest sizes."""
    plain = builtin(name).model_dump(mode="json")
    grid = {**plain["grid"], "sizes": [0, 10, 1000], "draws": 1}
    if name == "s2":
        # XSum's file has 1,067 rows, some 50 of them too long
        grid |= {"starts": ["base", "merged"], "instruct_models": {}, "validation_rows": 10}
    else:
        grid["validation_rows"] = 500  # the file's split has 995
    fields = {
        "data": {"root": str(data), "sources": ON_FILES}, "grid": grid, "base_models": [str(base)],
        "resources": {"training": {"cpus_per_worker": 1}, "generation": {"cpus_per_engine": 1}},
    }  # fmt: skip
    if name == "forgetting":
        fields["evaluation"] = {**plain["evaluation"], "instruction_rows": 900}
    return Study.model_validate({**plain, **fields})


@pytest.mark.study
@pytest.mark.parametrize("name", ["s1", "s2", "forgetting"])
def test_a_study_of_the_paper_trains_the_rows_that_it_asks_for(
    name: str, shared_data: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 1,000 XSum rows 572 were trained, and of 500 prompts 192 lost their end."""
    study = on_files(name, shared_data, base)
    store = Store(str(tmp_path / "runs"))
    pipeline = run(study, store)
    for key, spec in pipeline.prepared.artifacts.mixtures.items():
        rows = from_table(store.read_table("mixture", key, "train.parquet"), MixtureRow)
        counted = Counter(row.component for row in rows)
        for part in spec.train:
            if part.count is not None:
                assert counted[part.dataset] == part.count
    shown = plan_rows(study, store, tmp_path, capsys)
    assert set(shown) == {"instructions", *S1_TASKS}
    for task in S1_TASKS:
        assert (shown[task]["asked"], shown[task]["trained"], shown[task]["prompts"]) == (1000, 1000, 500)
    assert shown["xsum"]["left_out"] > 0  # some are longer than any limit
    assert shown["xsum"]["prompts_cut"] < 50


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.study) for name in ("s1_small", "s2_small", "forgetting_small")),
        "real_small",
    ],
)
def test_a_small_study_of_real_data_trains_the_rows_that_it_asks_for(
    name: str, shared_data: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load_study(str(JOBS / f"{name}.yaml"), [f"data.root={shared_data}", f"base_models=[{base}]"])
    store = Store(str(tmp_path / "runs"))
    run(study, store)
    shown = plan_rows(study, store, tmp_path, capsys)
    assert set(shown) == {"instructions", "sst2", "conll"}
    for row in shown.values():
        assert row["asked"] == row["trained"]
        assert row["prompts_cut"] <= 0.02 * row["prompts"]


def plan_rows(
    study: Study, store: Store, folder: Path, capsys: pytest.CaptureFixture[str]
) -> dict[str, dict[str, Any]]:
    """Rows by dataset as `assay plan` shows them where the counts are remembered.

    A second one has no run of its own: its rows come from the counts alone.
    """
    path = folder / "study.yaml"
    path.write_text(json.dumps(study.model_dump(mode="json")))
    kept = plan_once(path, store, capsys)
    shutil.rmtree(Path(store.uri) / "studies")
    counted = plan_once(path, store, capsys)
    assert counted == kept
    return counted


def plan_once(path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    began = time.process_time()  # the machine may have other work
    plan_command(str(path), [], True, None, store.uri)
    took_s = time.process_time() - began
    rows = {row["dataset"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    for name, row in sorted(rows.items()):
        counts = [row[field] for field in ("asked", "trained", "left_out", "prompts", "prompts_cut")]
        print(name, *counts, f"{took_s:.2f} s")
    return rows
