"""The structured log of a run: JSON lines with time, study, stage and cell, beside the study's other side files.

`studies/<name>/side/log/<start>.jsonl`, one file per run of the command, and wherever `--log-json` says. On an object
store the file is put again as it grows, every half minute and at the end. Lines hold what our own code says: keys,
labels, counts, errors as people see them; no prompts, no replies, no environment.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.errors import AssayError, StorageError, plain_line
from assay.hooks import EVENTS, Progress, log_event
from assay.studies.folder import StudyFolder

EVERY_S = 5.0
"""At most one line of progress per stage in so many seconds."""
PUT_EVERY_S = 30.0


class StudyLog(logging.Handler):
    """Writes the events of one run as JSON lines."""

    def __init__(self, folder: StudyFolder, copy: Path | None = None) -> None:
        """Open the log of a run.

        Args:
            folder: the study's.
            copy: a file that gets the same lines, appended; `-` is standard output.

        Raises:
            StorageError: the copy cannot be written.
        """
        super().__init__(logging.INFO)
        self._folder = folder
        self._name = f"side/log/{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z.jsonl"
        self._lines: list[str] = []
        self._put_at = 0.0
        self._local = None
        self._to_stdout = copy is not None and str(copy) == "-"
        try:
            if folder.store.is_local:
                path = Path(folder.store.study_path(folder.name, self._name))
                path.parent.mkdir(parents=True, exist_ok=True)
                self._local = path.open("a", encoding="utf-8")
            self._copy = copy.open("a", encoding="utf-8") if copy is not None and not self._to_stdout else None
        except OSError as error:
            raise StorageError(f"--log-json {copy}: cannot be written ({error.strerror}); pass another file") from None

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = getattr(record, "fields", {})
        line = json.dumps(
            {
                "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
                "level": record.levelname.lower(),
                "study": self._folder.name,
                "stage": getattr(record, "stage", ""),
                "event": record.getMessage(),
                **{name: value if _is_plain(value) else str(value) for name, value in fields.items()},
            },
            ensure_ascii=False,
        )
        for file in (self._local, self._copy, sys.stdout if self._to_stdout else None):
            if file is not None:
                file.write(line + "\n")
                file.flush()
        if self._local is None:
            self._lines.append(line)
            if time.monotonic() - self._put_at > PUT_EVERY_S:
                self._put()

    def close(self) -> None:
        """Write what is left."""
        if self._local is None:
            self._put()
        for file in (self._local, self._copy):
            if file is not None:
                file.close()
        super().close()

    def _put(self) -> None:
        self._put_at = time.monotonic()
        self._folder.store.write_study_bytes(self._folder.name, self._name, ("\n".join(self._lines) + "\n").encode())


@contextmanager
def study_log(folder: StudyFolder, copy: Path | None = None) -> Iterator[None]:
    """Log the events of the block, its end included: `done`, or `stopped` or `failed` with the error and exit code."""
    log = StudyLog(folder, copy)
    before = (EVENTS.level, EVENTS.propagate)
    EVENTS.addHandler(log)
    EVENTS.setLevel(logging.INFO)
    EVENTS.propagate = False
    log_event("", "run", key=folder.key, storage=folder.store.uri)
    try:
        yield
        log_event("", "done", exit_code=0)
    except AssayError as error:
        event = "stopped" if error.exit_code == 3 else "failed"
        log_event("", event, exit_code=error.exit_code, error=plain_line(str(error)))
        raise
    except BaseException as error:
        log_event("", "failed", exit_code=1, error=f"{type(error).__name__}: {plain_line(str(error))[:500]}")
        raise
    finally:
        EVENTS.removeHandler(log)
        EVENTS.setLevel(before[0])
        EVENTS.propagate = before[1]
        log.close()


class LoggedProgress:
    """A `Progress` whose stages are events as well. Two of them may go on at once: the inner one is told in turn."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self._in_turn = threading.Lock()
        self._done: dict[str, int] = {}
        self._said_s: dict[str, float] = {}

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        """A stage begins."""
        self._done[stage], self._said_s[stage] = done, time.monotonic()
        log_event(stage, "start", done=done, total=total, unit=unit)
        with self._in_turn:
            self._inner.start(stage, total, done=done, unit=unit)

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        """More is done."""
        self._done[stage] = self._done.get(stage, 0) + count
        now = time.monotonic()
        if now - self._said_s.get(stage, now) >= EVERY_S:
            self._said_s[stage] = now
            log_event(stage, "progress", done=self._done[stage], **info)
        with self._in_turn:
            self._inner.advance(stage, count, **info)

    def finish(self, stage: str, note: str = "") -> None:
        """The stage is over."""
        log_event(stage, "finish", done=self._done.pop(stage, 0), note=note)
        with self._in_turn:
            self._inner.finish(stage, note)


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return value == value and value not in (float("inf"), float("-inf"))
    return value is None or isinstance(value, (str, int, bool))
