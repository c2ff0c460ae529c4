"""What a study says of its judge: any pointwise protocol of the table, a cap of its own, how it is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.hooks import SilentProgress
from assay.llm.local_model import LocalModel
from assay.store import Store
from assay.studies.catalog import load_study
from assay.studies.judge_endpoint import check_endpoint, endpoint_of
from assay.studies.pipeline import Pipeline
from assay.studies.scores import LABELERS, calls_per_row, judge_protocol
from assay.studies.spec import JudgeConfig
from support.shipped import protocol_names


@pytest.mark.parametrize("name", [name for name in protocol_names("pointwise") if name not in LABELERS])
def test_every_protocol_that_rates_an_answer_can_judge_a_study(name: str) -> None:
    protocol = judge_protocol(JudgeConfig(protocol=name, temperature=0.3), "strict")
    assert protocol.identity()["temperature"] == (1.0 if name.startswith("geval") else 0.3)
    assert calls_per_row(protocol) == (20 if name.startswith("geval") else 1)


@pytest.mark.parametrize("name", ["category", "vanilla", "best"])
def test_one_that_gives_no_score_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"judge\.protocol: saw .*; expected one of ifteval, "):
        judge_protocol(JudgeConfig(protocol=name), "strict")


def test_how_a_judge_is_reached_names_no_other_study() -> None:
    plain = load_study("quickstart", [])
    batch = load_study("quickstart", ["judge.transport=batch", "judge.max_usd=3"])
    assert plain.identity() == batch.identity()
    assert endpoint_of(batch.judge).transport == "batch"


def test_a_local_model_is_named_by_its_folder_and_dtype_wherever_it_lies(tmp_path: Path) -> None:
    names = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        judge = JudgeConfig(model=str(folder), transport="local", local=LocalModel(dtype="float32"))
        names.append(endpoint_of(judge).endpoint_name)
        check_endpoint(endpoint_of(judge))  # needs no key and no port
    assert names[0] == names[1] and names[0].startswith("local float32 ")
    (tmp_path / "two/config.json").write_text('{"hidden_size": 8}')
    assert endpoint_of(judge).endpoint_name != names[0]


def test_a_cap_in_the_study_holds_unless_the_command_says_another(tmp_path: Path) -> None:
    study = load_study("quickstart", ["judge.max_usd=3"])
    for asked, expected in ((None, 3.0), (5.0, 5.0)):
        pipeline = Pipeline(study, Store(str(tmp_path)), SilentProgress(), embedded=None, max_usd=asked)  # type: ignore[arg-type]
        assert pipeline.budget_usd == expected


@pytest.mark.parametrize("name", ["ifteval", "geval_coherence"])
def test_a_study_may_ask_for_a_json_schema_and_one_that_does_not_keeps_its_key(name: str) -> None:
    plain, structured = (JudgeConfig(protocol=name, structured=flag) for flag in (False, True))
    assert judge_protocol(structured, "strict").structured  # type: ignore[attr-defined]
    assert not judge_protocol(plain, "strict").structured  # type: ignore[attr-defined]
    keys = [load_study("quickstart", []).replace(judge=judge).identity()["judge"] for judge in (plain, structured)]
    assert keys[1] == {**keys[0], "structured": True} and "structured" not in keys[0]  # type: ignore[dict-item, operator]


def test_compat_asks_as_published_without_a_schema() -> None:
    with pytest.raises(ConfigError, match="structured"):
        judge_protocol(JudgeConfig(structured=True), "compat")
