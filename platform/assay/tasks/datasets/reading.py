"""Reads JSON objects out of files that nobody vouches for: streamed, bounded in size, errors with file and line.

Nothing here knows what a row means. Files may be gzip-compressed; a file that unfolds to more than it can honestly
hold is refused while it unfolds, not after.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from assay.errors import DataError

MAX_FILE_BYTES = 4 << 30
"""Largest file, decompressed."""
MAX_LIST_BYTES = 512 << 20
"""Largest JSON list, decompressed: it has to be in memory as a whole."""
MAX_RATIO, MAX_RATIO_FREE_BYTES = 200, 64 << 20
"""A gzip file that unfolds more than so many times, and beyond so many bytes, is a bomb (JSON text: about 5 times)."""
BYTES_PER_CHAR = 12
"""Most bytes that one character takes in JSON: an escaped surrogate pair."""
ROW_OVERHEAD_BYTES = 65_536
"""Allowed beside the text of a row: field names, raw columns."""

Row = tuple[int, dict[str, Any]]
"""Line number from 1 (of a JSON list: element number from 1) and the object that stands there."""


def read_rows(path: Path, shown: str, max_chars: int, *, any_size: bool = False) -> Iterator[Row]:
    """The objects of a JSONL file, or of a file that holds one JSON list; empty lines are skipped, NaN is null.

    Args:
        path: the file; a name that ends in .gz is decompressed.
        shown: what messages call the file.
        max_chars: most characters of text in a row.
        any_size: the file may be larger than MAX_FILE_BYTES; for a caller that keeps no rows.

    Raises:
        DataError: the file is missing, too large, a gzip bomb or damaged, or a line is no JSON object in UTF-8. The
            message names the file and the line.
    """
    try:
        with path.open("rb") as raw:
            if path.name.endswith(".gz"):
                with gzip.GzipFile(fileobj=raw) as unfolded:
                    yield from _rows(_Bounded(unfolded, shown, path.stat().st_size, any_size), shown, max_chars)
            else:
                yield from _rows(_Bounded(raw, shown, None, any_size), shown, max_chars)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{shown}: saw a damaged gzip file ({error}); expected a whole one; fetch it again") from None
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror}); expected a file; check path and rights") from None


class _Bounded:
    """Counts what comes out of a file, and refuses more than it may hold."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, shown: str, folded_bytes: int | None, any_size: bool) -> None:
        self._file, self._shown, self._folded, self._any_size = file, shown, folded_bytes, any_size
        self._seen = 0

    def readline(self, limit: int) -> bytes:
        return self._count(self._file.readline(limit))

    def read_all(self, limit: int) -> bytes:
        blocks, size = [], 0
        while block := self._count(self._file.read(1 << 20)):
            blocks.append(block)
            size += len(block)
            if size > limit:
                raise DataError(
                    f"{self._shown}: saw a JSON list of more than {limit >> 20} MiB; expected a smaller one, as it has "
                    "to fit into memory; store one object a line (.jsonl)"
                )
        return b"".join(blocks)

    def _count(self, data: bytes) -> bytes:
        self._seen += len(data)
        is_bomb = (
            self._folded is not None
            and self._seen > MAX_RATIO_FREE_BYTES
            and self._seen > MAX_RATIO * max(1, self._folded)
        )
        if is_bomb or (self._seen > MAX_FILE_BYTES and not self._any_size):
            limit = f"{MAX_RATIO} times its size" if is_bomb else f"{MAX_FILE_BYTES >> 30} GiB"
            raise DataError(f"{self._shown}: saw a file that unfolds to more than {limit}; expected data; check it")
        return data


def _rows(file: _Bounded, shown: str, max_chars: int) -> Iterator[Row]:
    limit = max_chars * BYTES_PER_CHAR + ROW_OVERHEAD_BYTES
    number, line = 1, file.readline(limit + 1).removeprefix(b"\xef\xbb\xbf")
    while line and not line.strip():
        number, line = number + 1, file.readline(limit + 1)
    if line.lstrip().startswith(b"["):
        yield from _list_elements(line + file.read_all(MAX_LIST_BYTES), shown)
        return
    while line:
        if len(line) > limit:
            raise DataError(
                f"{shown}:{number}: saw a line of more than {limit} bytes; expected at most {max_chars} characters of "
                "text in a row; fix the row or raise max_chars"
            )
        if stripped := line.strip():
            yield number, _object(stripped, f"{shown}:{number}")
        line = file.readline(limit + 1)
        number += 1


def _list_elements(data: bytes, shown: str) -> Iterator[Row]:
    elements = _parse(data, shown)
    for number, element in enumerate(elements, start=1):
        if not isinstance(element, dict):
            raise DataError(f"{shown}: element {number}: saw {_kind(element)}; expected an object; fix the file")
        yield number, element


def _object(line: bytes, where: str) -> dict[str, Any]:
    value = _parse(line, where)
    if not isinstance(value, dict):
        raise DataError(f"{where}: saw {_kind(value)}; expected a JSON object; fix the line")
    return value


def _parse(data: bytes, where: str) -> Any:
    try:
        return json.loads(data.decode(), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        seen = f"the byte {data[error.start]:#04x} at place {error.start + 1}"
        raise DataError(f"{where}: saw {seen}; expected UTF-8; convert the file") from None
    except json.JSONDecodeError as error:
        seen = repr(data[max(0, error.pos - 20) : error.pos + 20].decode(errors="replace"))
        at = f"line {error.lineno} column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise DataError(f"{where}: saw no valid JSON at {at}, near {seen} ({error.msg}); fix the line") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{where}: saw JSON that cannot be read ({reason[:80]}); fix the line") from None


def _no_number(_name: str) -> None:
    """NaN and Infinity are no JSON: a value that is not there."""


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
