"""Models as they are: how they are named, found and told apart, and answers out of files and endpoints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from assay.config import validate
from assay.errors import ConfigError, DataError, InputError, StageError
from assay.generation import endpoint_answers
from assay.generation.endpoint_answers import TOOL, Replies, chat_turns
from assay.generation.spec import KIND, PREDICTIONS_FILE, GenerationJob, GenerationSpec
from assay.hooks import SilentProgress
from assay.llm.figures import Figures
from assay.llm.requests import Answer, ChatRequest, Failure, Message, Reply
from assay.records import Example, Prediction, from_table
from assay.store import Store
from assay.studies.given import answers as given_answers
from assay.studies.given.answers import NOT_THERE, Booking, file_predictions, question_of, store_given
from assay.studies.given.found import EndpointAnswers, FileAnswers, Place, answers_job, find_given
from assay.studies.given.model import GivenModel, Ranking, read_reference

ROWS = [Example(f"r{n}", "t", "test", "Say", f"number {n}", str(n)) for n in range(4)]
SPEC = GenerationSpec()


def adapter_folder(root: Path, rank: int = 4) -> Path:
    folder = root / "lora"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank}))
    header = b'{"__metadata__":{}}'
    (folder / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


def answers_file(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def file_job(path: Path, model: str = "") -> FileAnswers:
    found = find_given([GivenModel(name="m", model=model, answers=path.name)], str(path.parent))["m"]
    job = answers_job(found, None, SPEC, evaluation_key="e" * 32, max_new_tokens=8)
    assert isinstance(job, FileAnswers)
    return job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=org/model", ("a", "org/model", None)),
        ("org/model@main", ("model@main", "org/model@main", None)),
        ("x = base + my/lora", ("x", "base", "my/lora")),
        ("base+my/lora", ("lora", "base", "my/lora")),
    ],
)
def test_a_model_is_named_on_a_command_line(text: str, expected: tuple[str, str, str | None]) -> None:
    assert read_reference(text) == expected


@pytest.mark.parametrize("text", ["", "a=", "=b", "a=b+", "+c"])
def test_half_a_reference_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected NAME=MODEL"):
        read_reference(text)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "a"}, "expected model, or answers"),
        ({"name": "a", "model": "m", "base_url": "http://x/v1", "adapter": "f"}, "there is no adapter"),
        ({"name": "a", "answers": "f", "base_url": "http://x/v1"}, "neither a base_url nor an adapter"),
        ({"name": "a", "answers": "f", "adapter": "f"}, "neither a base_url nor an adapter"),
    ],
)
def test_a_model_is_of_one_kind(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GivenModel(**fields)


def test_an_adapter_goes_by_its_content_onto_its_base(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path)
    models = [GivenModel(name="a", model="base", adapter=str(folder)), GivenModel(name="b", model="base")]
    found = find_given(models)
    first, second = (
        answers_job(model, Place("k", "/base"), SPEC, evaluation_key="e", max_new_tokens=8) for model in found.values()
    )
    assert isinstance(first, GenerationJob)
    assert isinstance(second, GenerationJob)
    assert (first.base_path, first.lora_rank, first.adapter_dir) == ("/base", 4, str(folder))
    assert (second.adapter_key, second.lora_rank) == (None, 0)
    assert first.key != second.key
    with pytest.raises(InputError, match="saw no LoRA adapter"):
        find_given([GivenModel(name="a", model="base", adapter=str(tmp_path / "none"))])


def test_answers_are_found_by_id_or_by_text_and_what_is_missing_says_so(tmp_path: Path) -> None:
    path = answers_file(
        tmp_path,
        [
            {"id": "r0", "response": "zero"},
            {"question": question_of(ROWS[1]), "prediction": "one"},
            {"id": "r2", "response": "", "missing": "timeout: slow"},
            {"id": "other", "response": "not asked"},
        ],
    )
    rows = file_predictions(file_job(path), ROWS)
    assert [(row.prediction, row.error) for row in rows] == [
        ("zero", None), ("one", None), ("", NOT_THERE), ("", NOT_THERE)
    ]  # fmt: skip


def test_rows_of_one_model_are_taken_out_of_a_file_of_several(tmp_path: Path) -> None:
    rows = [{"id": row.example_id, "model": name, "response": name} for name in ("x", "y") for row in ROWS]
    path = answers_file(tmp_path, rows)
    assert {row.prediction for row in file_predictions(file_job(path, "y"), ROWS)} == {"y"}
    with pytest.raises(DataError, match=r"answers\.jsonl:5: saw a second answer to 'r0'.*name the rows by their model"):
        file_predictions(file_job(path), ROWS)
    with pytest.raises(DataError, match=r"holds 0 answers of model 'z', none to any of the 4 rows"):
        file_predictions(file_job(path, "z"), ROWS)
    assert file_job(path, "x").key != file_job(path, "y").key


def test_a_conversation_is_sent_turn_by_turn_and_a_tools_reply_as_the_users() -> None:
    turns = [["system", "Be short."], ["user", "Weather?"], ["assistant", "I look."], ["tool", "12 degrees"]]
    row = Example("a", "t", "test", "", "", "", history_json=json.dumps(turns))
    assert chat_turns(row) == (
        Message("system", "Be short."),
        Message("user", "Weather?"),
        Message("assistant", "I look."),
        Message("user", TOOL + "12 degrees"),
    )
    assert question_of(row) == "system: Be short.\n\nuser: Weather?\n\nassistant: I look.\n\ntool: 12 degrees"


def endpoint_job(**more: Any) -> EndpointAnswers:
    fields = {"name": "remote", "model": "m", "base_url": "http://x.example/v1", **more}
    found = find_given([validate(GivenModel, fields, "model")])["remote"]
    job = answers_job(found, None, SPEC, evaluation_key="e" * 32, max_new_tokens=8)
    assert isinstance(job, EndpointAnswers)
    return job


def test_how_an_endpoint_is_reached_is_no_part_of_what_it_answered() -> None:
    assert endpoint_job().key == endpoint_job(max_concurrency=3, timeout_s=7, api_key_env="OTHER").key
    keys = {endpoint_job(**more).key for more in ({}, {"model": "n"}, {"reasoning_effort": "low"}, {"endpoint": "y"})}
    assert len(keys) == 4


def replied(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[ChatRequest]:
    asked: list[ChatRequest] = []

    def ask(_: object, requests: Sequence[ChatRequest], progress: object) -> Replies:
        asked.extend(requests)
        replies: list[Reply] = [answer(number) for number in range(len(requests))]
        return Replies(tuple(replies), Figures().stats(priced=False, limit_per_min=None))

    monkeypatch.setattr(given_answers, "ask_endpoint", ask)
    return asked


def test_replies_become_predictions_and_failures_missing_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def answer(number: int) -> Reply:
        if number == 0:
            return Answer(" zero ", "length", 3, 8, None, False, "k")
        return Failure("empty", "", "k", 1) if number == 1 else Failure("timeout", "after 9 s", "k", 6)

    asked = replied(monkeypatch, answer)
    store, job = Store(str(tmp_path)), endpoint_job()
    booking = Booking("sqlite:///x", "study")
    (said,) = store_given(store, [job], {job.evaluation_key: ROWS[::-1]}, booking, SilentProgress())
    assert said.startswith("remote: ")
    rows = from_table(store.read_table(KIND, job.key, PREDICTIONS_FILE), Prediction)
    assert [(row.prediction, row.finish_reason, row.error) for row in rows] == [
        ("zero", "length", None), ("", "stop", None), *[("", "error", "timeout: after 9 s")] * 2
    ]  # fmt: skip
    assert (asked[0].sampling.max_tokens, asked[0].messages) == (8, (Message("user", "Say\n\nnumber 0"),))
    assert store_given(store, [job], {}, booking, SilentProgress()) == []  # nothing is asked twice


def test_an_endpoint_that_answers_nothing_stops_the_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replied(monkeypatch, lambda _: Failure("rejected", "no such model", "k", 1))
    store, job = Store(str(tmp_path)), endpoint_job()
    with pytest.raises(StageError, match=r"answers none of 4 prompts \(no such model\)"):
        store_given(store, [job], {job.evaluation_key: ROWS}, Booking("sqlite:///x", "s"), SilentProgress())
    assert not store.exists(KIND, job.key)
    assert endpoint_answers.silence([]) is None


def test_calls_of_a_ranking_are_counted() -> None:
    assert Ranking().calls_per_prompt(5) == 2
    assert Ranking(max_models=4, repeats=2).calls_per_prompt(6) == 2 * 3
    assert Ranking(protocol="vanilla").calls_per_prompt(3) == 4
