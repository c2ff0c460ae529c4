"""Studies of both kinds answer `plan`, `status`, `report`, `compare` and `track` by one protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.cli import run_app
from assay.commands.kinds.kind import StudyKind
from assay.commands.kinds.known import KINDS, kind_in, kind_of
from assay.store import Store
from assay.studies.ifs_models import measure
from assay.studies.ifs_models.local_answers import Response

FEW = ["--set", "num_prompts=40", "--set", "dialogues.num_test=240", "--set", "prompts=[B]"]


def test_every_kind_has_every_method_of_the_protocol() -> None:
    asked = {name for name in vars(StudyKind) if not name.startswith("_")}
    assert asked == {"knows", "wrote", "plan", "run", "status", "report", "points", "track"}
    for kind in KINDS:
        assert all(callable(getattr(kind, name)) for name in asked)


def test_a_study_is_of_the_kind_that_knows_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: ifs_models_small\nname: mine\n")
    ifs, trained = KINDS
    assert [kind_of(name) for name in ("ifs_models_small", str(mine), "quickstart", "nothing")] == [
        ifs, ifs, trained, trained,
    ]  # fmt: skip


def plan_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run_app(["plan", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_both_kinds_are_planned(capsys: pytest.CaptureFixture[str]) -> None:
    ifs = plan_of(capsys, "ifs_models_small", *FEW)
    assert (ifs["predictions"], ifs["distinct_trainings"], ifs["judge_calls"]) == (2 * 40, 1, 0)
    assert ifs["study"] == "ifs_models_small"
    assert plan_of(capsys, "quickstart")["distinct_trainings"] > 1
    assert run_app(["plan", "ifs_models_small"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "predictions" in line)
    assert " ".join(line.split()) == "predictions 1,800 each model, 3 kinds of prompts, 300 prompts"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two finished IFS studies, whose models wrote what is written here."""
    folder = str(tmp_path_factory.mktemp("ifs"))

    def answers(study: Any, store: object, *rest: Any) -> dict[tuple[str, str], Sequence[Response]]:
        rng = np.random.default_rng(study.seed)
        texts = ("The town lies in Norland.", "and there was more of it to come")
        rendered = rest[2]
        share = {"base": 0.1, "tuned": 0.9 if study.seed == 0 else 0.2}
        return {
            (model.name, prompt): [
                Response(row.example_id, texts[int(rng.random() > share[model.name])]) for row in rendered[prompt]
            ]
            for model in study.models
            for prompt in study.prompts
        }

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(measure, "local_answers", answers)
        for name, seed in (("first", 0), ("second", 1)):
            changes = [*FEW, "--set", f"name={name}", "--set", f"seed={seed}"]
            assert run_app(["run", "ifs_models_small", *changes, "--storage", folder]) == 0
    return folder


def test_a_finished_ifs_study_answers_what_an_ordinary_one_does(
    storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(storage)
    assert kind_in(store, "first") is KINDS[0]
    status = ["status", "ifs_models_small", *FEW, "--set", "name=first", "--storage", storage, "--json"]
    assert run_app(status) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["finished"] and told["stages"] == [{"stage": "measured", "wanted": 2, "done": 2}]
    assert run_app([*status, "--set", "seed=5"]) == 0
    assert not json.loads(capsys.readouterr().out)["finished"]
    assert run_app(["status", "first", "--storage", storage]) == 0  # from the store alone
    assert "first: finished" in capsys.readouterr().out
    drawn = Path(storage, "studies", "first", "figures", "ifs.svg")
    before = drawn.read_bytes()
    drawn.unlink()
    assert run_app(["report", "first", "--storage", storage]) == 0
    assert "corrected IFS" in capsys.readouterr().out
    assert drawn.read_bytes() == before
    assert run_app(["report", "first", "--storage", storage, "--audit", "x.json"]) == 2
    assert run_app(["compare", "first", "second", "--storage", storage, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    by = {row["model"]: row for row in rows if (row["part"], row["kind"]) == ("overall", "raw")}
    assert by["tuned"]["apart"] and by["tuned"]["difference"] < -0.4
    assert not by["base"]["apart"]
    assert run_app(["gc", "--storage", storage]) == 0  # a study of this kind keeps no list, and is in nobody's way


def test_a_finished_ifs_study_is_tracked_later(storage: str, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/other.db"
    assert run_app(["track", "first", "--storage", storage, "--uri", uri]) == 0
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("first").experiment_id])
    assert sorted(run.data.tags["assay.role"] for run in runs)


def test_what_cannot_be_compared_is_one_line(storage: str, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa

    from assay.studies.folder import StudyFolder

    store = Store(storage)
    folder = StudyFolder(store, "curves", "0" * 32)
    store.write_study_json("curves", "study.json", {"key": folder.key, "study": {}})
    row = {"base_model": "b", "task": "t", "scorer": "s", "num_target": 1, "mean": 0.0, "low": 0.0, "high": 0.1}
    folder.write_tables({"curves": pa.Table.from_pylist([row])})
    folder.finish(tables=["curves"], mlflow="")
    assert run_app(["compare", "first", "curves", "--storage", storage]) == 2
    assert "saw studies by model and prompt and task, scorer and N; expected two by the same" in capsys.readouterr().err
