"""IFS of a base and of its tuned version on real engines: pre-training, Ray Tune, generation, table, MLflow."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from support.tiny_study import assay

pytestmark = pytest.mark.slow  # a base is pre-trained and tuned, on real engines

FASTER = {
    "tiny_base.num_documents": "6400",
    "tiny_base.num_steps": "400",
    "dialogues.num_train": "300",
    "train.num_epochs": "1",
    "num_prompts": "80",
    "prompts": "[B]",
    "generation.engine": "hf",
    "resources.num_cpus": "2",
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study."""
    folder = tmp_path_factory.mktemp("runs")
    assert run(folder).code == 0
    return folder


def run(folder: Path) -> Any:
    changes = [part for name, value in FASTER.items() for part in ("--set", f"{name}={value}")]
    return assay("run", "ifs_models_small", *changes, "--storage", str(folder))


def rows(storage: Path) -> dict[str, Any]:
    report = json.loads((storage / "studies" / "ifs_models_small" / "ifs.json").read_text())
    return {row["model"]: row for row in report["rows"]}


def test_base_and_tuned_model_are_well_apart(storage: Path) -> None:
    base, tuned = rows(storage)["base"], rows(storage)["tuned"]
    for kind in ("raw", "corrected"):
        assert base["overall"][kind]["high"] + 0.3 < tuned["overall"][kind]["low"]
    assert tuned["versus_first"]["corrected"]["low"] > 0.3
    assert base["missing"] == tuned["missing"] == {}
    assert base["partial"]["raw"]["n"] == base["full"]["raw"]["n"] == 40


def test_the_classifier_beats_the_case_rule_on_what_the_models_wrote(storage: Path) -> None:
    """Who wrote a response stands for its label: under the response heading a base continues."""
    base, tuned = rows(storage)["base"], rows(storage)["tuned"]
    classifier = (1 - base["overall"]["raw"]["value"] + tuned["overall"]["raw"]["value"]) / 2
    rule = (1 - base["case_rule"]["value"] + tuned["case_rule"]["value"]) / 2
    assert classifier > rule + 0.1


def test_a_second_run_finds_everything_and_writes_the_same_bytes(storage: Path) -> None:
    report = storage / "studies" / "ifs_models_small" / "ifs.json"
    before = report.read_bytes()
    again = run(storage)
    assert again.code == 0
    assert "generation" not in again.err and "training" not in again.err, again.err
    assert report.read_bytes() == before


def test_models_are_runs_in_mlflow(storage: Path) -> None:
    with sqlite3.connect(storage / "mlflow.db") as database:
        logged = dict(database.execute("select key, value from metrics where key like 'ifs_corrected%'").fetchall())
    assert set(logged) == {"ifs_corrected", "ifs_corrected.low", "ifs_corrected.high"}
