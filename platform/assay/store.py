"""The artifact store: `<storage>/artifacts/<kind>/<key>/` on any URI that pyarrow.fs or fsspec knows.

An artifact is a folder of Parquet, safetensors and JSON files with a `manifest.json` written last: without a
manifest it does not exist. Files appear whole (written beside their place, then moved), so a process killed at
any point leaves either an artifact or nothing, and two writers of one key, which write the same, do no harm.
Studies keep their tables under `<storage>/studies/<name>/`.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from assay.errors import StorageError
from assay.fingerprint import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

MANIFEST = "manifest.json"
ROW_GROUP_ROWS = 65_536
"""Fixed, so that equal tables are equal bytes."""


class Store:
    """Artifacts and study folders under one storage URI. Cheap to build and to pickle."""

    def __init__(self, uri: str) -> None:
        """Open a store; nothing is created until something is written.

        Args:
            uri: an absolute or relative local path, or a URI (`s3://bucket/prefix`, `gs://...`, `memory://...`).

        Raises:
            StorageError: the URI's scheme is unknown.
        """
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().resolve())
        self._fs, self._root = _resolve(self.uri)
        self._is_local = "://" not in self.uri or self.uri.startswith("file://")

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return (Store, (self.uri,))

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    @property
    def is_local(self) -> bool:
        """Whether the store lies on this machine's file system."""
        return self._is_local

    # --- artifacts ---------------------------------------------------------------------------------------

    def exists(self, kind: str, key: str) -> bool:
        """Whether the artifact is whole: its manifest is there."""
        return self._is_file(self._artifact(kind, key, MANIFEST))

    def keys(self, kind: str) -> set[str]:
        """Keys of all whole artifacts of a kind, in one listing."""
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._join("artifacts", kind), recursive=True, allow_not_found=True)
        found = (PurePosixPath(info.path) for info in self._fs.get_file_info(selector))
        return {path.parent.name for path in found if path.name == MANIFEST}

    @contextmanager
    def writing(self, kind: str, key: str, spec: Mapping[str, Any] | None = None) -> Iterator[ArtifactWriter]:
        """Write an artifact: put its files, and on a clean exit the manifest makes it exist.

        An exception inside the block leaves no manifest, so the artifact does not exist and is redone.

        Args:
            kind: folder of artifacts of this kind.
            key: 32 hex digits, see `fingerprint.artifact_key`.
            spec: what the key was made of, kept in the manifest for readers.
        """
        writer = ArtifactWriter(self, kind, key)
        yield writer
        manifest = {"kind": kind, "key": key, "files": sorted(writer.files), "spec": dict(spec or {})}
        self._put(self._artifact(kind, key, MANIFEST), canonical_json(manifest).encode())

    def manifest(self, kind: str, key: str) -> dict[str, Any]:
        """The artifact's manifest."""
        return self._json(self._artifact(kind, key, MANIFEST))

    def read_table(self, kind: str, key: str, name: str) -> pa.Table:
        """A Parquet file of an artifact."""
        return self._table(self._artifact(kind, key, name))

    def read_json(self, kind: str, key: str, name: str) -> dict[str, Any]:
        """A JSON file of an artifact."""
        return self._json(self._artifact(kind, key, name))

    def read_bytes(self, kind: str, key: str, name: str) -> bytes:
        """Any file of an artifact."""
        return self._get(self._artifact(kind, key, name))

    def local_dir(self, kind: str, key: str, cache: Path | None = None) -> Path:
        """A local folder with the artifact's files, for engines that want a path.

        On a local store this is the artifact itself; from a remote one the files are fetched once per machine.

        Args:
            kind: artifact kind.
            key: artifact key.
            cache: where remote artifacts are kept; default `$ASSAY_CACHE`, else `~/.cache/assay`.
        """
        if self._is_local:
            return Path(self._artifact(kind, key))
        home = cache or Path(os.environ.get("ASSAY_CACHE", "~/.cache/assay")).expanduser()
        target = home / "artifacts" / kind / key
        if not (target / MANIFEST).is_file():
            for name in [*self.manifest(kind, key)["files"], MANIFEST]:
                _write_whole(target / name, self.read_bytes(kind, key, name))
        return target

    def delete(self, kind: str, key: str) -> None:
        """Remove an artifact, manifest first, so that a half-removed one does not exist."""
        if self.exists(kind, key):
            self._fs.delete_file(self._artifact(kind, key, MANIFEST))
        self._fs.delete_dir(self._artifact(kind, key))

    # --- study folders -----------------------------------------------------------------------------------

    def study_path(self, study: str, *names: str) -> str:
        """Where a file of a study lies, for people and links."""
        path = self._join("studies", study, *names)
        return path if self._is_local else self.uri.split("://")[0] + "://" + path

    def study_has(self, study: str, name: str) -> bool:
        """Whether the study has this file."""
        return self._is_file(self._join("studies", study, name))

    def write_study_json(self, study: str, name: str, value: object) -> None:
        """A JSON file of a study: canonical, so equal values are equal bytes."""
        self._put(self._join("studies", study, name), (canonical_json(value) + "\n").encode())

    def read_study_json(self, study: str, name: str) -> dict[str, Any]:
        """A JSON file of a study."""
        return self._json(self._join("studies", study, name))

    def write_study_table(self, study: str, name: str, table: pa.Table) -> None:
        """A Parquet table of a study; the caller has sorted it by key."""
        self._put(self._join("studies", study, name), parquet_bytes(table))

    def read_study_table(self, study: str, name: str) -> pa.Table:
        """A Parquet table of a study."""
        return self._table(self._join("studies", study, name))

    def write_study_bytes(self, study: str, name: str, data: bytes) -> None:
        """Any file of a study (report.html, figures)."""
        self._put(self._join("studies", study, name), data)

    def read_study_bytes(self, study: str, name: str) -> bytes:
        """Any file of a study."""
        return self._get(self._join("studies", study, name))

    def studies(self) -> list[str]:
        """Names of the studies in this store, sorted."""
        from pyarrow.fs import FileSelector, FileType

        infos = self._fs.get_file_info(FileSelector(self._join("studies"), allow_not_found=True))
        return sorted(PurePosixPath(i.path).name for i in infos if i.type == FileType.Directory)

    def check_writable(self) -> None:
        """Prove that the store can be written, before hours of work depend on it.

        Raises:
            StorageError: it cannot.
        """
        probe = self._join(f".probe-{uuid.uuid4().hex}")
        self._put(probe, b"assay")
        self._fs.delete_file(probe)

    # --- plumbing ----------------------------------------------------------------------------------------

    def _join(self, *parts: str) -> str:
        for part in parts:
            if part in ("", ".", "..") or part.startswith("/") or ".." in PurePosixPath(part).parts or "\\" in part:
                raise StorageError(f"storage: saw the name {part!r}; expected a plain name without '..'")
        return "/".join([self._root.rstrip("/"), *parts])

    def _artifact(self, kind: str, key: str, *names: str) -> str:
        return self._join("artifacts", kind, key, *names)

    def _is_file(self, path: str) -> bool:
        from pyarrow.fs import FileType

        return bool(self._fs.get_file_info(path).type == FileType.File)

    def _get(self, path: str) -> bytes:
        with self._fs.open_input_stream(path) as stream:
            return bytes(stream.read())

    def _put(self, path: str, data: bytes) -> None:
        if self._is_local:
            try:
                _write_whole(Path(path), data)
            except OSError as error:
                raise StorageError(
                    f"storage {self.uri}: cannot write {path} ({error.strerror}); expected a writable location; "
                    "free space or pass another --storage"
                ) from error
            return
        try:  # object stores publish an object whole, when its upload ends
            self._fs.create_dir(str(PurePosixPath(path).parent), recursive=True)
            with self._fs.open_output_stream(path) as stream:
                stream.write(data)
        except OSError as error:
            raise StorageError(f"storage {self.uri}: cannot write {path} ({error}); check the credentials") from error

    def _json(self, path: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self._get(path))
        return value

    def _table(self, path: str) -> pa.Table:
        return read_parquet_bytes(self._get(path))


class ArtifactWriter:
    """Puts the files of one artifact that is being written."""

    def __init__(self, store: Store, kind: str, key: str) -> None:
        self._store, self._kind, self._key = store, kind, key
        self.files: list[str] = []

    def table(self, name: str, table: pa.Table) -> None:
        """A Parquet file with fixed row groups."""
        self.file(name, parquet_bytes(table))

    def json(self, name: str, value: object) -> None:
        """A canonical JSON file."""
        self.file(name, (canonical_json(value) + "\n").encode())

    def file(self, name: str, data: bytes) -> None:
        """Any file, whole."""
        self._store._put(self._store._artifact(self._kind, self._key, name), data)
        self.files.append(name)

    def folder(self, source: Path) -> None:
        """All files of a local folder, with their relative names."""
        for path in sorted(source.rglob("*")):
            if path.is_file():
                self.file(path.relative_to(source).as_posix(), path.read_bytes())


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet bytes that depend on nothing but its content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROW_GROUP_ROWS, compression="zstd", store_schema=True)
    return bytes(sink.getvalue().to_pybytes())


def read_parquet_bytes(data: bytes) -> pa.Table:
    """A Parquet file's table, read by the calling thread alone.

    `pyarrow.parquet.read_table` hands even ten rows to Arrow's thread pools, and a process that ends while a pool's
    thread is still starting aborts ("terminate called without an active exception", exit -6; apache/arrow#34314).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(use_threads=False)


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _resolve(uri: str) -> tuple[FileSystem, str]:
    import pyarrow as pa
    from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem

    if "://" not in uri:
        return LocalFileSystem(), uri
    try:
        filesystem, path = FileSystem.from_uri(uri)
        return filesystem, path
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    try:
        import fsspec

        handler, path = fsspec.core.url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise StorageError(f"--storage {uri}: {error}; expected a local path, s3://, gs:// or an fsspec URI") from None
    return PyFileSystem(FSSpecHandler(handler)), path
