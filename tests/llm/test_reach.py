"""Every field of `Reach`, from a study's file or a command's flags, arrives at the gateway, on every door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.commands.data_options import AskedModel
from assay.commands.generate import given_models
from assay.commands.ifs import measured
from assay.commands.judges.reports import connection_of
from assay.commands.options import CallOptions, LedgerOptions
from assay.commands.score import _asked_judge
from assay.config import validate
from assay.errors import ConfigError
from assay.generation.spec import GenerationSpec
from assay.hooks import SilentProgress
from assay.ifs import objecqa_labels
from assay.judging.asking import JudgeConnection, Work, ask_judge
from assay.llm.endpoint import BatchLimits, EndpointSpec, Reach
from assay.llm.ledger.tables import ledger_url
from assay.llm.local_model import LocalModel
from assay.stoppable import run_stoppable
from assay.store import Store
from assay.studies.given.answers import Booking, store_given
from assay.studies.given.found import answers_job, find_given
from assay.studies.given.model import GivenModel
from assay.studies.ifs_models.endpoint_answers import endpoint_answers
from assay.studies.ifs_models.spec import IfsModel
from assay.studies.judge_endpoint import endpoint_of
from assay.studies.spec import JudgeConfig
from assay.studies.writer import make_writer
from support.shipped import make_pointwise

TOLD: dict[str, Any] = {
    "base_url": "https://judge.example/v1",
    "api_key_env": "MY_KEY",
    "transport": "batch",
    "local": {"gpus": 3, "dtype": "float32"},
    "batch": {"max_rows": 21, "max_enqueued_tokens": 22},
    "requests_per_min": 11.0,
    "tokens_per_min": 12.0,
    "max_concurrency": 13,
    "timeout_s": 14.0,
    "max_attempts": 15,
    "give_up_s": 16.0,
    "step_headers": True,
    "max_tokens_field": "max_completion_tokens",
    "usd_per_million_input": 17.0,
    "usd_per_million_output": 18.0,
    "usd_per_million_cached": 19.0,
    "price_map": "map.json",
}
FLAGS = {
    "requests_per_min": "rpm",
    "tokens_per_min": "tpm",
    "max_concurrency": "concurrency",
}


class Asked(Exception):
    """Ends a door at the gateway."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[EndpointSpec, str]]:
    """Endpoint and ledger of every gateway that was asked for."""
    found: list[tuple[EndpointSpec, str]] = []

    def open_gateway(endpoint: EndpointSpec, *, ledger_url: str, **_: object) -> None:
        found.append((endpoint, ledger_url))
        raise Asked

    monkeypatch.setattr("assay.llm.opening.open_gateway", open_gateway)
    monkeypatch.setattr("assay.studies.writer.open_gateway", open_gateway)
    return found


def _flags() -> CallOptions:
    plain = {name: value for name, value in TOLD.items() if name not in ("base_url", "local", "batch")}
    return CallOptions(
        **{FLAGS.get(name, name): value for name, value in plain.items()}, gpus=3, dtype="float32",
        batch_max_rows=21, batch_max_enqueued_tokens=22,
    )  # fmt: skip


def _connected(connection: JudgeConnection) -> None:
    ask_judge(connection, [Work(make_pointwise("ifteval", "strict"), [])], "strict", SilentProgress())


def _score(storage: str) -> None:
    with _asked_judge(validate(JudgeConfig, {**TOLD, "model": "m"}, "judge"), "strict", storage, None) as (score, *_):
        score([])


def _writer(storage: str) -> None:
    async def write() -> None:
        config = validate(JudgeConfig, {**TOLD, "model": "m"}, "judge")
        embedded: Any = type("Embedded", (), {"name": "e"})
        async with make_writer(config, embedded, ledger_url=ledger_url(storage), budget_usd=None, study="s").open():
            pass

    run_stoppable(write())


def _tag(storage: str) -> None:
    from assay.commands.derive import _writer as writer_of

    async def write() -> None:
        async with writer_of(AskedModel("m", TOLD["base_url"], storage), "tag", _flags()).open():
            pass

    run_stoppable(write())


def _objecqa(storage: str) -> None:
    _connected(JudgeConnection(endpoint_of(validate(JudgeConfig, {**TOLD, "model": "m"}, "j")), ledger_url(storage)))


def _flagged(storage: str) -> None:
    connection = connection_of("m", TOLD["base_url"], LedgerOptions(storage), _flags(), study="s")
    _connected(connection)


def _ifs_model(storage: str) -> None:
    model = validate(IfsModel, {**TOLD, "name": "n", "model": "m"}, "model")
    study: Any = type("Study", (), {"name": "s", "models": (model,), "max_new_tokens": 4})
    study.generation = type("Generation", (), {"temperature": 0.0})
    endpoint_answers(study, {}, ledger_url(storage), SilentProgress())


def _given_model(storage: str) -> None:
    model = validate(GivenModel, {**TOLD, "name": "n", "model": "m"}, "model")
    _answered(model, storage)


def _generate(storage: str) -> None:
    (model,) = given_models(["n=m"], TOLD["base_url"], _flags())
    _answered(model, storage)


def _answered(model: GivenModel, storage: str) -> None:
    found = find_given([model])["n"]
    job: Any = answers_job(found, None, GenerationSpec(), evaluation_key="e" * 32, max_new_tokens=4)
    booking = Booking(ledger_url(storage), "s")
    store_given(Store(storage), [job], {"e" * 32: []}, booking, SilentProgress())


DOORS: dict[str, Callable[[str], None]] = {
    "score": _score,
    "writer": _writer,
    "tag": _tag,
    "objecqa": _objecqa,
    "flags": _flagged,
    "ifs model": _ifs_model,
    "given model": _given_model,
    "generate": _generate,
}


def test_a_value_is_told_for_every_field() -> None:
    assert set(TOLD) == set(Reach.model_fields)
    defaults = EndpointSpec().model_dump()
    assert all(value != defaults[name] for name, value in TOLD.items())


@pytest.mark.parametrize("door", DOORS)
def test_every_field_arrives_at_the_gateway(
    door: str, opened: list[tuple[EndpointSpec, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_LEDGER_URL", "sqlite:////elsewhere/ledger.db")
    with pytest.raises(Asked):
        DOORS[door](str(tmp_path))
    [(endpoint, ledger)] = opened
    assert {name: getattr(endpoint, name) for name in TOLD} == {
        **TOLD,
        "local": LocalModel(**TOLD["local"]),
        "batch": BatchLimits(**TOLD["batch"]),
    }
    assert endpoint.model == "m"
    assert ledger == "sqlite:////elsewhere/ledger.db"


def test_a_study_of_ifs_models_keeps_its_replies_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setenv("ASSAY_LEDGER_URL", "sqlite:////elsewhere/ledger.db")
    monkeypatch.setattr("assay.studies.ifs_models.measure.measure_ifs", lambda *given: asked.append(given[3]))
    measured(None, str(tmp_path))  # type: ignore[arg-type]
    assert asked == ["sqlite:////elsewhere/ledger.db"]


def test_the_answers_of_trials_go_to_the_judge_of_the_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A local judge was once asked at api.openai.com, and a batch judge at full price."""
    from assay.studies.catalog import load_study
    from assay.studies.pipeline import Pipeline

    found: list[EndpointSpec] = []

    def judge_answers(store: object, plan: object, connection: JudgeConnection, *_: object) -> None:
        found.append(connection.endpoint)

    monkeypatch.setattr(objecqa_labels, "judge_answers", judge_answers)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    for transport in ("local", "batch"):
        study = load_study("quickstart", [f"judge.transport={transport}", f"judge.model={tmp_path}/model"])
        pipeline = Pipeline(study, Store(str(tmp_path / "runs")), SilentProgress(), embedded=None)  # type: ignore[arg-type]
        asked = type("Asked", (), {"is_done": lambda self, store: False})()
        pipeline.embedded = type("Embedded", (), {"name": "e"})  # type: ignore[assignment]
        monkeypatch.setattr(Pipeline, "prepared", type("Prepared", (), {"objecqa": asked}), raising=False)
        pipeline.judge.label_answers()
    assert [endpoint.transport for endpoint in found] == ["local", "batch"]


def test_a_flag_that_is_no_transport_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="transport"):
        connection_of("m", "http://x/v1", LedgerOptions(str(tmp_path)), CallOptions(transport="pigeon"), study="s")
