"""The store: an artifact exists whole or not at all, on every kind of file system."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from assay.errors import StorageError
from assay.records import Example, MixtureRow, Prediction, ScoreRow, from_table, schema_of, to_table
from assay.store import Store, parquet_bytes

KEY = "0" * 32
TABLE = pa.table({"x": [1, 2, 3]})


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path / "s") if request.param == "local" else f"memory://{tmp_path.name}-{id(request)}")


def test_artifact_round_trip(store: Store) -> None:
    with store.writing("dataset", KEY, {"n": 1}) as artifact:
        artifact.table("t.parquet", TABLE)
        artifact.json("j.json", {"a": 1})
        artifact.file("sub/f.bin", b"\0\1")
    assert store.exists("dataset", KEY)
    assert store.keys("dataset") == {KEY}
    assert store.manifest("dataset", KEY)["files"] == ["j.json", "sub/f.bin", "t.parquet"]
    assert store.manifest("dataset", KEY)["spec"] == {"n": 1}
    assert store.read_table("dataset", KEY, "t.parquet").equals(TABLE)
    assert store.read_json("dataset", KEY, "j.json") == {"a": 1}
    assert store.read_bytes("dataset", KEY, "sub/f.bin") == b"\0\1"


def test_an_exception_leaves_no_artifact(store: Store) -> None:
    with pytest.raises(RuntimeError), store.writing("dataset", KEY) as artifact:
        artifact.json("j.json", {})
        raise RuntimeError
    assert not store.exists("dataset", KEY)
    assert store.keys("dataset") == set()


def test_a_killed_writer_leaves_no_artifact_and_the_next_one_succeeds(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from assay.store import Store\n"
        f"with Store({str(tmp_path)!r}).writing('adapter', '{KEY}') as artifact:\n"
        "    artifact.file('weights', b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -9
    store = Store(str(tmp_path))
    assert not store.exists("adapter", KEY)
    with store.writing("adapter", KEY) as artifact:
        artifact.file("weights", b"whole")
    assert store.read_bytes("adapter", KEY, "weights") == b"whole"


def test_two_writers_of_one_key_do_no_harm(tmp_path: Path) -> None:
    store = Store(str(tmp_path))

    def write() -> None:
        for _ in range(20):
            with store.writing("dataset", KEY) as artifact:
                artifact.file("f", b"same" * 1000)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read_bytes("dataset", KEY, "f") == b"same" * 1000
    assert sorted(path.name for path in (tmp_path / "artifacts/dataset" / KEY).iterdir()) == ["f", "manifest.json"]


def test_local_dir_is_the_artifact_or_a_fetched_copy(store: Store, tmp_path: Path) -> None:
    with store.writing("adapter", KEY) as artifact:
        artifact.file("a/b", b"x")
    folder = store.local_dir("adapter", KEY, tmp_path / "cache")
    assert (folder / "a/b").read_bytes() == b"x"


def test_delete_makes_it_absent(store: Store) -> None:
    with store.writing("dataset", KEY) as artifact:
        artifact.file("f", b"x")
    store.delete("dataset", KEY)
    assert not store.exists("dataset", KEY)


def test_study_files(store: Store) -> None:
    store.write_study_json("s", "done.json", {"key": "k"})
    store.write_study_table("s", "tables/t.parquet", TABLE)
    assert store.study_has("s", "done.json")
    assert store.read_study_json("s", "done.json") == {"key": "k"}
    assert store.read_study_table("s", "tables/t.parquet").equals(TABLE)
    assert store.studies() == ["s"]


@pytest.mark.parametrize("name", ["..", "../x", "/etc/passwd", "a/../../b", "", "a\\b"])
def test_names_cannot_leave_the_store(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError):
        Store(str(tmp_path)).write_study_json("s", name, {})


def test_unknown_scheme_and_unwritable_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="--storage nope://x"):
        Store("nope://x")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StorageError, match=r"cannot write /proc/assay.*pass another --storage"):
        Store("/proc/assay").check_writable()
    with pytest.raises(StorageError, match="cannot write"):
        Store(str(blocked / "below")).check_writable()


def test_a_store_travels_to_workers(store: Store) -> None:
    assert pickle.loads(pickle.dumps(store)).uri == store.uri


def test_equal_tables_are_equal_bytes() -> None:
    again = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    assert parquet_bytes(again.combine_chunks()) == parquet_bytes(TABLE)


@pytest.mark.parametrize(
    "row",
    [
        Example("e", "t", "train", "i", "\x00\x1b[31m", "r", "Code", "", "{}"),
        MixtureRow(0, "d", "e", "c"),
        Prediction("e", "", "error", 3, 0, "too long"),
        ScoreRow("p", "e", "judge", None, "refused", ""),
    ],
)
def test_rows_survive_a_table(row: object) -> None:
    table = to_table([row], type(row))
    assert table.schema == schema_of(type(row))
    assert from_table(table, type(row)) == [row]


def test_an_empty_table_keeps_its_schema() -> None:
    assert from_table(to_table([], ScoreRow), ScoreRow) == []


def test_reading_a_store_starts_no_thread_that_could_outlive_the_process(tmp_path: Path) -> None:
    """Arrow's pool threads abort a process that ends while they start; the fault needs a loaded machine to show."""
    store = Store(str(tmp_path))
    store.write_study_table("s", "tables/t.parquet", TABLE)
    with store.writing("dataset", KEY) as artifact:
        artifact.table("t.parquet", TABLE)
    code = (
        "import os, pyarrow.parquet; from assay.store import Store\n"
        "def threads(): return len(os.listdir('/proc/self/task'))\n"
        f"before, store = threads(), Store({str(tmp_path)!r})\n"
        "store.keys('dataset'), store.studies(), store.manifest('dataset', store.keys('dataset').pop())\n"
        "store.read_study_table('s', 'tables/t.parquet').to_pylist()\n"
        f"store.read_table('dataset', '{KEY}', 't.parquet')\n"
        "print(threads() - before)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "0"


def test_a_mount_stays_one_when_it_travels(tmp_path: Path) -> None:
    store = Store((tmp_path / "a b%20").as_uri())
    travelled = copy.copy(store)
    assert (travelled.uri, travelled.is_mount) == (str(tmp_path / "a b%20"), True)
    assert not copy.copy(Store(str(tmp_path))).is_mount
