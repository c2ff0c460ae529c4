"""Files and batches, in memory: POST /v1/files and /v1/batches as a provider has them, done after a delay."""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any

from assay.judge_server.config import REFUSED_PARAMETERS
from assay.judge_server.server.chat import BadRequestError, ChatService, read_request
from assay.judge_server.server.exchange import NoReplyError
from assay.judge_server.server.faults import draw_fault, refusal
from assay.judge_server.server.tokens import count_prompt

MAX_FILE_BYTES = 200_000_000
ENDPOINT = "/v1/chat/completions"


class UnknownObjectError(Exception):
    """No file or batch has this name."""


@dataclass
class StoredFile:
    """An uploaded or written file."""

    file_id: str
    name: str
    purpose: str
    content: bytes
    created_at: int

    def as_json(self) -> dict[str, Any]:
        """The file object."""
        return {
            "id": self.file_id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass
class Batch:
    """A batch and how far it is."""

    batch_id: str
    input_file_id: str
    metadata: dict[str, str]
    created_at: int
    window: str = "24h"
    status: str = "validating"
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    ended_at: int | None = None
    tokens: int = 0
    """Of its prompts, as the queue counts them."""

    def as_json(self) -> dict[str, Any]:
        """The batch object."""
        done = self.status == "completed"
        return {
            "id": self.batch_id,
            "object": "batch",
            "endpoint": ENDPOINT,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "in_progress_at": self.created_at if self.status != "validating" else None,
            "expires_at": self.created_at + 86400,
            "completed_at": self.ended_at if done else None,
            "failed_at": self.ended_at if self.status == "failed" else None,
            "cancelled_at": self.ended_at if self.status == "cancelled" else None,
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "metadata": self.metadata or None,
        }


class BatchService:
    """Files and batches of one server."""

    def __init__(self, chat: ChatService) -> None:
        self._chat = chat
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, Batch] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def add_file(self, name: str, purpose: str, content: bytes) -> StoredFile:
        """Stores a file."""
        stored = StoredFile(f"file-{next(self._numbers):08d}", name, purpose, content, int(time.time()))
        self.files[stored.file_id] = stored
        return stored

    def file(self, file_id: str) -> StoredFile:
        """One file.

        Raises:
            UnknownObjectError: there is none of this name.
        """
        if file_id not in self.files:
            raise UnknownObjectError(file_id)
        return self.files[file_id]

    def batch(self, batch_id: str) -> Batch:
        """One batch.

        Raises:
            UnknownObjectError: there is none of this name.
        """
        if batch_id not in self.batches:
            raise UnknownObjectError(batch_id)
        return self.batches[batch_id]

    def create(self, data: Any) -> Batch:
        """Starts a batch.

        Raises:
            BadRequestError: no such file, or another endpoint.
        """
        if not isinstance(data, dict) or data.get("input_file_id") not in self.files:
            raise BadRequestError("input_file_id: no such file")
        if data.get("endpoint") != ENDPOINT:
            raise BadRequestError(f"endpoint: saw {data.get('endpoint')!r}; expected {ENDPOINT}")
        batch = Batch(
            f"batch_{next(self._numbers):08d}",
            data["input_file_id"],
            dict(data.get("metadata") or {}),
            int(time.time()),
            str(data.get("completion_window") or "24h"),
        )
        self.batches[batch.batch_id] = batch
        task = asyncio.get_running_loop().create_task(self._work(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    def page(self, after: str | None, limit: str | None) -> tuple[list[Batch], bool]:
        """The newest batches, or those older than one, and whether there are more.

        Raises:
            BadRequestError: a limit that is no number from 1 to 100.
        """
        if limit is not None and not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 100):
            raise BadRequestError(f"limit: saw {limit!r}; expected 1 to 100")
        newest_first = list(reversed(self.batches.values()))
        ids = [batch.batch_id for batch in newest_first]
        start = ids.index(after) + 1 if after in ids else 0
        end = start + (int(limit) if limit else 20)
        return newest_first[start:end], end < len(newest_first)

    def cancel(self, batch: Batch) -> None:
        """Ends a batch that has not ended."""
        if batch.status in ("validating", "in_progress"):
            batch.status, batch.ended_at = "cancelled", int(time.time())

    async def _work(self, batch: Batch) -> None:
        rows = self._validated(batch)
        if rows is None or not self._has_room(batch, rows):
            return
        batch.status = "in_progress"
        await asyncio.sleep(self._chat.config.batch_delay_s)
        answered: list[str] = []
        failed: list[str] = []
        for index, row in enumerate(rows):
            if batch.status != "in_progress":
                return
            line, good = self._answer(batch, row, index)
            (answered if good else failed).append(line)
            batch.completed, batch.failed = len(answered), len(failed)
            if index % 20 == 19:
                await asyncio.sleep(0)  # other requests get their turn
        if answered:
            batch.output_file_id = self._write(batch, "output", answered)
        if failed:
            batch.error_file_id = self._write(batch, "error", failed)
        batch.status, batch.ended_at = "completed", int(time.time())

    def _validated(self, batch: Batch) -> list[dict[str, Any]] | None:
        """The rows of the input file; None, and the batch failed, where one cannot be read."""
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        for number, line in enumerate(self.files[batch.input_file_id].content.splitlines(), 1):
            if not line.strip():
                continue
            problem = ""
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row, problem = None, "no valid JSON"
            if isinstance(row, dict):
                custom_id = row.get("custom_id")
                if not isinstance(custom_id, str) or not isinstance(row.get("body"), dict):
                    problem = "expected custom_id, method, url and body"
                elif custom_id in seen:
                    problem = f"custom_id {custom_id!r} comes twice"
                else:
                    seen.add(custom_id)
            elif not problem:
                problem = "expected an object"
            if problem:
                batch.errors = [{"code": "invalid_json_line", "message": problem, "line": number, "param": None}]
                batch.status, batch.ended_at = "failed", int(time.time())
                return None
            rows.append(row)
        batch.total = len(rows)
        return rows

    def _has_room(self, batch: Batch, rows: list[dict[str, Any]]) -> bool:
        """Whether the queue holds this batch too; else it has failed."""
        limit = self._chat.config.batch_queue_tokens
        if limit is None:
            return True
        batch.tokens = sum(_prompt_tokens(row["body"]) for row in rows)
        others = sum(other.tokens for other in self.batches.values() if other.status == "in_progress")
        if others + batch.tokens <= limit:
            return True
        message = (
            f"Enqueued token limit reached. Limit: {limit:,} enqueued tokens. Please try again once some in_progress "
            "batches have been completed."
        )
        batch.errors = [{"code": "token_limit_exceeded", "message": message, "line": None, "param": None}]
        batch.status, batch.ended_at = "failed", int(time.time())
        return False

    def _answer(self, batch: Batch, row: dict[str, Any], index: int) -> tuple[str, bool]:
        chat, custom_id = self._chat, row["custom_id"]
        body: dict[str, Any]
        try:
            headers = [(f"x-assay-{name}".encode(), str(value).encode()) for name, value in _asides(row).items()]
            request = chat.read(row["body"], headers)
            draws = chat.batch_draws(request, custom_id)
            fault = draw_fault(chat.config.faults, draws)
            if fault in REFUSED_PARAMETERS and row["body"].get(fault):
                chat.invoice.add(request.model, fault)
                status, content, _ = refusal(fault, request.model)
                body = json.loads(content)
            elif fault == "5xx":
                chat.invoice.add(request.model, "5xx")
                status, body = chat.config.fault_status, {"error": {"message": "The server had an error."}}
            else:
                done = chat.complete(row["body"], request, draws, fault)
                chat.invoice.add(request.model, "batch", done.prompt_tokens, done.completion_tokens)
                status, body = 200, done.body
        except NoReplyError as error:
            status, body = 404, {"error": {"message": str(error), "code": "no_recorded_reply"}}
        except BadRequestError as error:
            status, body = 400, {"error": {"message": str(error), "type": "invalid_request_error"}}
        line = {
            "id": f"{batch.batch_id}_req_{index}",
            "custom_id": custom_id,
            "response": {"status_code": status, "request_id": f"{batch.batch_id}_{index}", "body": body},
            "error": None,
        }
        return json.dumps(line, ensure_ascii=False), status == 200

    def _write(self, batch: Batch, kind: str, lines: list[str]) -> str:
        content = ("\n".join(lines) + "\n").encode("utf-8", "replace")
        return self.add_file(f"{batch.batch_id}_{kind}.jsonl", "batch_output", content).file_id


def _prompt_tokens(body: dict[str, Any]) -> int:
    """Of a row that may not be valid yet."""
    try:
        return count_prompt(read_request(body).messages)
    except BadRequestError:
        return 0


def _asides(row: dict[str, Any]) -> dict[str, Any]:
    """What headers say elsewhere (protocol, step, replicate, judge): in the row's `assay`, or the body's `metadata`."""
    aside = row.get("assay") or row["body"].get("metadata") or {}
    named = aside if isinstance(aside, dict) else {}
    return {name: named[name] for name in ("protocol", "step", "replicate", "judge") if name in named}


def read_upload(content_type: str, body: bytes) -> tuple[str, str, bytes]:
    """(file name, purpose, content) of a multipart upload.

    Raises:
        BadRequestError: no multipart form, or no file in it.
    """
    if not content_type.lower().startswith("multipart/form-data"):
        raise BadRequestError(f"saw content type {content_type!r}; expected multipart/form-data")
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    name, purpose, content = "", "", None
    for part in form.iter_parts():
        field_name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        payload = payload if isinstance(payload, bytes) else b""
        if field_name == "purpose":
            purpose = payload.decode("utf-8", "replace").strip()
        elif field_name == "file":
            name, content = str(part.get_filename() or "upload.jsonl"), payload
    if content is None:
        raise BadRequestError("file: saw none in the form; expected one")
    return name, purpose, content
