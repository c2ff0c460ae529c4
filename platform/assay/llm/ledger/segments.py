"""The ledger where there is an object store and no database: every commit is also a small object, written first.

`<storage>/ledger/<time>-<writer>-<number>.jsonl.gz` holds what one batch of operations changed, as JSON lines. A ledger
opens by replaying all of them, in name order, into a SQLite file in a temporary folder; rows carry their keys, so
order between writers does not matter. A writer that closes cleanly merges its own segments into one.
"""

from __future__ import annotations

import gzip
import json
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from assay.errors import StorageError
from assay.storage_uri import open_location

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

PREFIX = "segments:"
SUFFIX = ".jsonl.gz"
LINGER_S = 0.25
"""How long a batch waits for company: an object costs a round trip and a request fee."""

Change = tuple[str, dict[str, Any]]
"""("call" | "attempt", a row or part of one with its primary key)."""


class SegmentWriter:
    """Writes one process's segments."""

    def __init__(self, uri: str) -> None:
        """Nothing is written until there is something to write.

        Raises:
            StorageError: the URI cannot be used.
        """
        self._fs, self._folder = _open(uri)
        self._uri = uri
        self._writer = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        self._written: list[str] = []

    def write(self, changes: Sequence[Change]) -> None:
        """One segment; whole when this returns.

        Raises:
            StorageError: the store refuses it.
        """
        if changes:
            self._put(self._name(len(self._written)), _pack(changes))

    def merge(self) -> None:
        """Make one segment of this writer's own."""
        if len(self._written) < 2:
            return
        names, self._written = self._written, []
        changes = [change for name in names for change in _read(self._fs, f"{self._folder}/{name}")]
        self._put(self._name(len(names)), _pack(changes))
        for name in names:
            self._fs.delete_file(f"{self._folder}/{name}")

    def _name(self, number: int) -> str:
        return f"{self._writer}-{number:06d}{SUFFIX}"

    def _put(self, name: str, data: bytes) -> None:
        try:
            self._fs.create_dir(self._folder, recursive=True)
            # a local file appears under its own name only when it is whole; object stores publish whole objects
            beside = f"{self._folder}/.{name}.part" if self._fs.type_name == "local" else f"{self._folder}/{name}"
            with self._fs.open_output_stream(beside, compression=None) as stream:
                stream.write(data)
            if self._fs.type_name == "local":
                self._fs.move(beside, f"{self._folder}/{name}")
        except OSError as error:
            raise StorageError(f"ledger {self._uri}: cannot write a segment ({error}); check the credentials") from None
        self._written.append(name)


def replay_into_temporary(uri: str, tables: dict[str, sa.Table], make_engine: Any) -> sa.Engine:
    """A SQLite engine on a temporary file that holds all segments' rows; the file goes when the engine does.

    Raises:
        StorageError: the URI cannot be used.
    """
    folder = Path(tempfile.mkdtemp(prefix="assay-ledger-"))
    engine: sa.Engine = make_engine(sa.make_url(f"sqlite:///{folder}/ledger.db"))
    weakref.finalize(engine, shutil.rmtree, folder, ignore_errors=True)
    for table in tables.values():
        table.metadata.create_all(engine)
    fs, root = _open(uri)
    for name in _names(fs, root):
        with engine.begin() as connection:
            _apply(connection, tables, _read(fs, f"{root}/{name}"))
    return engine


def _apply(connection: sa.Connection, tables: dict[str, sa.Table], changes: Iterable[Change]) -> None:
    """All changes of a segment, those of one shape in one statement; what begins a row comes before what ends it."""
    shapes: dict[tuple[bool, str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for kind, row in changes:
        is_end = any(not column.nullable and column.name not in row for column in tables[kind].columns)
        shapes.setdefault((is_end, kind, tuple(row)), []).append(row)
    for (is_end, kind, names), rows in sorted(shapes.items(), key=lambda item: item[0][0]):
        table = tables[kind]
        (key,) = [column.name for column in table.primary_key.columns]
        rest = [name for name in names if name != key]
        if is_end:  # of an attempt, whose beginning is another row, perhaps of another segment
            update = sa.update(table).where(table.c[key] == sa.bindparam(f"new_{key}"))
            update = update.values({name: sa.bindparam(f"new_{name}") for name in rest})
            connection.execute(update, [{f"new_{name}": value for name, value in row.items()} for row in rows])
            continue
        upsert = insert(table)
        keep = table.c.status == "failed" if "status" in table.c else None
        changed = {name: upsert.excluded[name] for name in rest}
        connection.execute(upsert.on_conflict_do_update(index_elements=[table.c[key]], set_=changed, where=keep), rows)


def _open(uri: str) -> tuple[FileSystem, str]:
    at = open_location(uri)
    return at.fs, at.root


def _names(fs: FileSystem, folder: str) -> list[str]:
    from pyarrow.fs import FileSelector

    infos = fs.get_file_info(FileSelector(folder, allow_not_found=True))
    return sorted(info.base_name for info in infos if info.base_name.endswith(SUFFIX) and info.base_name[0] != ".")


def _read(fs: FileSystem, path: str) -> Iterator[Change]:
    with fs.open_input_stream(path, compression=None) as stream:
        lines = gzip.decompress(stream.read()).splitlines()
    for line in lines:
        kind, row = json.loads(line)
        yield kind, row


def _pack(changes: Sequence[Change]) -> bytes:
    lines = [json.dumps(change, ensure_ascii=False, separators=(",", ":")).encode() for change in changes]
    return gzip.compress(b"\n".join(lines), compresslevel=4, mtime=0)
