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
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from assay.errors import StorageError
from assay.fingerprint import canonical_json
from assay.storage_uri import open_location

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileInfo

MANIFEST = "manifest.json"
REQUESTS_AT_ONCE = 32
"""Questions to an object store in flight at a time; each waits for a round trip."""
FLAT = ("s3", "gcs")
"""File systems without folders: creating one costs requests and means nothing."""
ROW_GROUP_ROWS = 65_536
"""Fixed, so that equal tables are equal bytes."""


class Store:
    """Artifacts and study folders under one storage URI. Cheap to build and to pickle."""

    def __init__(self, uri: str) -> None:
        """Open a store; nothing is created until something is written.

        Args:
            uri: an absolute or relative local path, or a URI, see `storage_uri`.

        Raises:
            StorageError: the URI's scheme is unknown, its bucket cannot be reached, or it holds credentials.
        """
        self._at = open_location(uri)
        self.uri = self._at.uri
        self._fs = self._at.fs
        self.is_mount = uri.startswith("file://")
        """Whether the location was given as `file:///PATH`: a folder that every machine of a cluster reaches."""

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return (Store, (Path(self.uri).as_uri() if self.is_mount else self.uri,))

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    @property
    def is_local(self) -> bool:
        """Whether the store lies on this machine's file system."""
        return self._at.is_local

    # --- artifacts ---------------------------------------------------------------------------------------

    def exists(self, kind: str, key: str) -> bool:
        """Whether the artifact is whole: its manifest is there."""
        return self._is_file(self._artifact(kind, key, MANIFEST))

    def present(self, kind: str, keys: Iterable[str]) -> set[str]:
        """Which of these artifacts are whole.

        Asks for their manifests alone, many at once, so that it costs what a study wants, whatever else the store
        holds; there is no index that could be out of date.
        """
        from pyarrow.fs import FileType

        paths = {self._artifact(kind, key, MANIFEST): key for key in keys}
        if self._at.is_local:
            infos = self._fs.get_file_info(list(paths))
        else:
            with self._at.failing("be asked"), ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
                infos = list(pool.map(self._fs.get_file_info, paths))
        return {paths[info.path] for info in infos if info.type == FileType.File}

    def keys(self, kind: str) -> set[str]:
        """Keys of all whole artifacts of a kind. Lists everything: for people and tests, not for a study's way."""
        found = (info.path for info in self._list("artifacts", kind) if info.base_name == MANIFEST)
        return {PurePosixPath(path).parent.name for path in found}

    def inventory(self) -> list[StoredArtifact]:
        """All artifacts, the half-written ones included, in order of kind and key. Lists everything."""
        from pyarrow.fs import FileType

        home = self._join("artifacts")
        found: dict[tuple[str, str], StoredArtifact] = {}
        for info in self._list("artifacts"):
            parts = PurePosixPath(info.path).relative_to(home).parts
            if info.type != FileType.File or len(parts) < 3:
                continue
            place = (parts[0], parts[1])
            before = found.get(place, StoredArtifact(*place, num_bytes=0, written_at=0.0, whole=False))
            found[place] = StoredArtifact(
                *place,
                num_bytes=before.num_bytes + (info.size or 0),
                written_at=max(before.written_at, (info.mtime_ns or 0) / 1e9),
                whole=before.whole or parts[2:] == (MANIFEST,),
            )
        return [found[place] for place in sorted(found)]

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
        if self._at.is_local:
            return Path(self._artifact(kind, key))
        home = cache or Path(os.environ.get("ASSAY_CACHE", "~/.cache/assay")).expanduser()
        target = home / "artifacts" / kind / key
        if not (target / MANIFEST).is_file():
            for name in [*self.manifest(kind, key)["files"], MANIFEST]:
                _write_whole(target / name, self.read_bytes(kind, key, name))
        return target

    def delete(self, kind: str, key: str) -> None:
        """Remove an artifact, manifest first, so that a half-removed one does not exist."""
        from pyarrow.fs import FileType

        with self._at.failing("delete from it"):
            if self.exists(kind, key):
                self._fs.delete_file(self._artifact(kind, key, MANIFEST))
            if self._fs.type_name not in FLAT:
                self._fs.delete_dir(self._artifact(kind, key))
                return
            for info in self._list("artifacts", kind, key):
                if info.type == FileType.File:
                    self._fs.delete_file(info.path)

    # --- study folders -----------------------------------------------------------------------------------

    def study_path(self, study: str, *names: str) -> str:
        """Where a file of a study lies, for people and links."""
        path = self._join("studies", study, *names)
        return self._at.shown(path)

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

    def study_files(self, study: str, folder: str) -> list[str]:
        """Names of the files below a folder of a study, sorted."""
        from pyarrow.fs import FileType

        home = self._join("studies", study)
        files = [info.path for info in self._list("studies", study, folder) if info.type == FileType.File]
        return sorted(str(PurePosixPath(path).relative_to(home)) for path in files)

    def studies(self) -> list[str]:
        """Names of the studies in this store, sorted."""
        from pyarrow.fs import FileType

        home = self._join("studies")  # by their files: an object store need not report folders
        files = [info.path for info in self._list("studies") if info.type == FileType.File]
        return sorted({PurePosixPath(path).relative_to(home).parts[0] for path in files})

    def check_writable(self) -> None:
        """Prove that the store can be written, before hours of work depend on it.

        Raises:
            StorageError: it cannot.
        """
        probe = self._join(f".probe-{uuid.uuid4().hex}")
        self._put(probe, b"assay")
        with self._at.failing("delete from it"):
            self._fs.delete_file(probe)

    # --- plumbing ----------------------------------------------------------------------------------------

    def _join(self, *parts: str) -> str:
        for part in parts:
            if part in ("", ".", "..") or part.startswith("/") or ".." in PurePosixPath(part).parts or "\\" in part:
                raise StorageError(f"storage: saw the name {part!r}; expected a plain name without '..'")
        return "/".join([self._at.root, *parts])

    def _artifact(self, kind: str, key: str, *names: str) -> str:
        return self._join("artifacts", kind, key, *names)

    def _is_file(self, path: str) -> bool:
        from pyarrow.fs import FileType

        with self._at.failing("be read"):
            return bool(self._fs.get_file_info(path).type == FileType.File)

    def _list(self, *parts: str) -> list[FileInfo]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._join(*parts), recursive=True, allow_not_found=True)
        with self._at.failing("be listed"):
            return list(self._fs.get_file_info(selector))

    def _get(self, path: str) -> bytes:
        # as a file, not as a stream: a stream fetches an object in small pieces, each of them a request
        with self._at.failing("be read"), self._fs.open_input_file(path) as file:
            return bytes(file.read())

    def _put(self, path: str, data: bytes) -> None:
        with self._at.failing(f"write {path}"):
            if self._at.is_local:
                self._write_local(Path(path), data)
                return
            if self._fs.type_name not in FLAT:
                self._fs.create_dir(str(PurePosixPath(path).parent), recursive=True)
            with self._fs.open_output_stream(path) as stream:  # published whole, when its upload ends
                stream.write(data)

    def _write_local(self, path: Path, data: bytes) -> None:
        try:
            _write_whole(path, data)
        except FileNotFoundError as error:  # no folder can be made there, as in /proc
            raise StorageError(
                f"storage {self.uri}: cannot write {path} ({error.strerror}); expected a location that can be used; "
                "pass another --storage"
            ) from error

    def _json(self, path: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self._get(path))
        return value

    def _table(self, path: str) -> pa.Table:
        return read_parquet_bytes(self._get(path))


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """What an inventory says of one artifact."""

    kind: str
    key: str
    num_bytes: int
    written_at: float
    """When its newest file was written, in seconds since 1970."""
    whole: bool
    """Whether it has its manifest, and so exists."""


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
