"""Predictions that no engine makes: read out of a file of answers, or asked of an endpoint; stored like all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.errors import DataError, StageError
from assay.fingerprint import artifact_key
from assay.generation.endpoint_answers import AskedEndpoint, ask_endpoint, chat_turns, prediction_of, silence
from assay.generation.spec import KIND, PREDICTIONS_FILE
from assay.hooks import Progress
from assay.llm.endpoint import with_reported_name
from assay.llm.requests import ChatRequest
from assay.records import Example, Prediction, to_table
from assay.row_files import read_rows, text_field
from assay.store import Store
from assay.studies.given.found import EndpointAnswers, FileAnswers, Given
from assay.tasks.templates import history

ANSWER_FIELDS = ("response", "prediction", "answer", "output")
PROMPT_FIELDS = ("question", "prompt", "instruction")
ID_FIELDS = ("id", "example_id")
NOT_THERE = "no answer in the file"
"""Why a row of a file of answers has no prediction."""
ROWS_SCHEMA = 1
PROTOCOL = "answers"
"""What the ledger calls requests for answers."""


@dataclass(frozen=True)
class Booking:
    """Where calls are booked, and what they may cost."""

    ledger_url: str
    study: str
    max_usd: float | None = None


def store_given(
    store: Store, jobs: Sequence[Given], examples: Mapping[str, Sequence[Example]], booking: Booking, progress: Progress
) -> list[str]:
    """Make the predictions of each job that the store lacks; returns a sentence for each model that was asked.

    Args:
        store: where they go.
        jobs: of one study.
        examples: rows by evaluation key.
        booking: for endpoints.
        progress: told of each endpoint's prompts.

    Raises:
        DataError: a file of answers that answers nothing, or one row twice.
        StageError: an endpoint that answers nothing.
        EndpointError: nothing listens there, or key or model are refused.
        LimitReached: the dollars are used up.
    """
    present = store.present(KIND, [job.key for job in jobs])
    told = []
    for job in jobs:
        if job.key in present:
            continue
        rows = sorted(examples[job.evaluation_key], key=lambda row: row.example_id)
        if isinstance(job, EndpointAnswers):
            made, said = _asked(job, rows, booking, progress)
            told.append(said)
        else:
            made = file_predictions(job, rows)
        described = {"model": job.model.spec.identity(), "evaluation": job.evaluation_key}
        with store.writing(KIND, job.key, described) as writer:
            writer.table(PREDICTIONS_FILE, to_table(made, Prediction))
    return told


def _asked(
    job: EndpointAnswers, rows: Sequence[Example], booking: Booking, progress: Progress
) -> tuple[list[Prediction], str]:
    endpoint = job.model.endpoint
    assert endpoint is not None
    asked = AskedEndpoint(
        job.model.name, with_reported_name(endpoint), booking.ledger_url, booking.study, booking.max_usd
    )
    requests = [ChatRequest(endpoint.model, chat_turns(row), job.sampling, protocol=PROTOCOL) for row in rows]
    found = ask_endpoint(asked, requests, progress)
    if (detail := silence(found.replies)) is not None:
        raise StageError(
            f"model {job.model.name!r} at {endpoint.base_url} answers none of {len(rows):,} prompts ({detail}); "
            "correct the endpoint or the model's name, and run the same command again"
        )
    stats = found.stats
    usd = "price unknown" if stats.usd is None else f"{stats.usd:.4f} dollars"
    failed = sum(stats.failed.values())
    missing = f", {failed:,} without a reply" if failed else ""
    said = f"{job.model.name}: {stats.done:,} replies, {stats.cached:,} from the ledger{missing}, {usd}"
    return [prediction_of(row, reply) for row, reply in zip(rows, found.replies, strict=True)], said


def file_predictions(job: FileAnswers, rows: Sequence[Example]) -> list[Prediction]:
    """Answers of a file to these rows, found by id, else by the question's text; a row that has none says so.

    Raises:
        DataError: a row of the file without an answer, two for one row, or none for any.
    """
    model, path = job.model.spec, job.model.answers
    assert path is not None
    by_id: dict[str, str] = {}
    by_text: dict[str, str] = {}
    for number, row in enumerate(read_rows(path), start=1):
        if model.model and row.get("model") != model.model:
            continue
        where = f"{path}:{number}"
        text = text_field(row, ANSWER_FIELDS, where) if row.get("missing") in (None, "") else None
        _keep(by_id, _first(row, ID_FIELDS), text, where, model.name)
        if _first(row, ID_FIELDS) is None:
            _keep(by_text, _first(row, PROMPT_FIELDS), text, where, model.name)
    found = [by_id.get(row.example_id, by_text.get(question_of(row))) for row in rows]
    if not any(text is not None for text in found):
        of = f" of model {model.model!r}" if model.model else ""
        raise DataError(
            f"model {model.name!r}: {path} holds {len(by_id) + len(by_text):,} answers{of}, none to any of the "
            f"{len(rows):,} rows that are asked; expected their ids or their texts; write them with `assay generate`"
        )
    return [
        Prediction(row.example_id, text, "stop", 0, 0)
        if text is not None
        else Prediction(row.example_id, "", "error", 0, 0, NOT_THERE)
        for row, text in zip(rows, found, strict=True)
    ]


def question_of(example: Example) -> str:
    """What a row asks, as text: earlier turns under who said them, then the question."""
    question = f"{example.instruction}\n\n{example.input}" if example.input else example.instruction
    before = [f"{role}: {text}" for role, text in history(example)]
    last = [f"user: {question}" if before else question] if question else []
    return "\n\n".join([*before, *last])


def _keep(found: dict[str, str], name: str | None, text: str | None, where: str, model: str) -> None:
    if name is None or text is None:
        return
    if name in found:
        raise DataError(
            f"{where}: saw a second answer to {name[:60]!r} for model {model!r}; expected one; drop a row, or name the "
            "rows by their model"
        )
    found[name] = text


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((str(row[name]) for name in names if isinstance(row.get(name), str | int)), None)


def rows_key(examples: Sequence[Example]) -> str:
    """Names rows that belong to no dataset by their content."""
    texts = [[row.example_id, row.instruction, row.input, row.history_json] for row in examples]
    return artifact_key("evaluation", ROWS_SCHEMA, {"prompts": texts}, {})
