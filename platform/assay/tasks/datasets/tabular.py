"""Rows of CSV and Parquet files: bounded, with the file and the row in every complaint. `pyarrow` reads the latter."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from assay.errors import DataError
from assay.tasks.datasets.reading import MAX_FILE_BYTES, MAX_RATIO, Row

CSV_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET_SUFFIX = ".parquet"


def csv_rows(path: Path, shown: str, max_chars: int) -> Iterator[Row]:
    """(row number from 1, column -> text) of a file whose first line names its columns; an empty cell is null.

    Raises:
        DataError: no columns, too many cells in a row, a cell over `max_chars`, or no UTF-8.
    """
    tab = path.name.removesuffix(".gz").endswith(".tsv")
    csv.field_size_limit(max_chars)
    number = 0
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file, delimiter="\t" if tab else ",", strict=True)
            if not reader.fieldnames or any(not name for name in reader.fieldnames):
                raise DataError(f"{shown}: saw a first line without names; expected the names of the columns in it")
            for number, row in enumerate(reader, start=1):
                if None in row or None in row.values():
                    raise DataError(
                        f"{shown}:{number}: saw {'more' if None in row else 'fewer'} cells than columns; expected "
                        f"{len(reader.fieldnames)}; fix the row, or quote the cells"
                    )
                yield number, {name: value or None for name, value in row.items()}
    except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{shown}: cannot be read behind row {number} ({' '.join(str(error).split())[:120]}); expected CSV in "
            f"UTF-8 whose cells have at most {max_chars} characters; fix the file"
        ) from None
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror}); expected a file; check path and rights") from None


def parquet_rows(path: Path, shown: str) -> Iterator[Row]:
    """(row number from 1, column -> value) of a Parquet file.

    Raises:
        DataError: it is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(1024):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{shown}: cannot be read ({reason}); expected a Parquet file; write it again") from None


def parquet_columns(path: Path) -> list[str]:
    """Names of a Parquet file's columns; none where it cannot be read (reading it says why)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return []


def parquet_size(path: Path) -> tuple[int, int]:
    """Rows, and bytes of their columns before compression, by the file's own footer.

    Raises:
        DataError: it is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: cannot be read ({reason}); expected a Parquet file; write it again") from None
    return int(footer.num_rows), sum(footer.row_group(n).total_byte_size for n in range(footer.num_row_groups))


def _opened(path: Path) -> TextIO:
    if not path.name.endswith(".gz"):
        return path.open(encoding="utf-8-sig", newline="")
    most = min(MAX_FILE_BYTES, max(64 << 20, MAX_RATIO * path.stat().st_size))
    unfolded = io.BufferedReader(_Unfolded(gzip.GzipFile(path), most))
    return io.TextIOWrapper(unfolded, encoding="utf-8-sig", newline="")


class _Unfolded(io.RawIOBase):
    """A gzip file that may not unfold to more than so many bytes."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._left = file, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise csv.Error("it unfolds to more than a file may")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
