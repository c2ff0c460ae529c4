"""The store on S3, against a real S3-compatible server on loopback: whole artifacts or none, by URI or environment."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from assay.errors import StorageError
from assay.llm.ledger.service import Finish, LedgerService, Lookup, StoredCall
from assay.llm.ledger.tables import default_ledger_url
from assay.store import Store
from support.object_store import BUCKET, SECRET, ObjectStore, object_store

KEY = "0" * 32
TABLE = pa.table({"x": [1, 2, 3]})


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    pytest.importorskip("moto", reason="moto[server,s3] is not installed")
    with object_store() as running:
        yield running


@pytest.fixture(autouse=True)
def credentials(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL")


@pytest.fixture
def store(server: ObjectStore, request: pytest.FixtureRequest) -> Store:
    return Store(server.uri(request.node.name))


def test_a_whole_round_trip(store: Store, server: ObjectStore, tmp_path: Path) -> None:
    store.check_writable()
    with store.writing("dataset", KEY, {"n": 1}) as artifact:
        artifact.table("t.parquet", TABLE)
        artifact.json("j.json", {"a": 1})
        artifact.file("sub/f.bin", b"\0\1" * 4_000_000)  # more than one part of an upload
    assert store.exists("dataset", KEY)
    assert store.keys("dataset") == {KEY}
    assert store.present("dataset", [KEY, "1" * 32]) == {KEY}
    assert store.read_table("dataset", KEY, "t.parquet").equals(TABLE)
    assert store.read_json("dataset", KEY, "j.json") == {"a": 1}
    folder = store.local_dir("dataset", KEY, tmp_path)
    assert (folder / "sub/f.bin").read_bytes() == b"\0\1" * 4_000_000
    store.write_study_table("s", "tables/t.parquet", TABLE)
    assert store.read_study_table("s", "tables/t.parquet").equals(TABLE)
    assert store.studies() == ["s"]
    assert store.study_path("s") == f"s3://{BUCKET}/test_a_whole_round_trip/studies/s"
    store.delete("dataset", KEY)
    assert not store.exists("dataset", KEY)
    names = server.names("test_a_whole_round_trip")
    assert [name for name in names if "dataset" in name and not name.endswith("/")] == []  # pyarrow marks folders so
    assert [name for name in names if ".probe" in name] == []


def test_the_endpoint_may_come_from_the_environment(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    Store(f"s3://{BUCKET}/from-environment").write_study_json("s", "done.json", {"key": "k"})
    assert server.names("from-environment") == ["from-environment/studies/s/done.json"]


def test_an_exception_leaves_no_artifact(store: Store) -> None:
    with pytest.raises(RuntimeError), store.writing("dataset", KEY) as artifact:
        artifact.json("j.json", {})
        raise RuntimeError
    assert not store.exists("dataset", KEY)
    assert store.present("dataset", [KEY]) == store.keys("dataset") == set()


def test_a_process_killed_while_it_uploads_leaves_no_half_object(store: Store, server: ObjectStore) -> None:
    """Killed at many moments of one 24 MB upload: the object is there whole or not at all, the artifact never."""
    code = (
        "import sys; from assay.store import Store\n"
        "store = Store(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        f"with store.writing('adapter', '{KEY}') as artifact:\n"
        "    artifact.file('weights', b'x' * 24_000_000)\n"
        "    print('written', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for delay_s in (0.0, 0.02, 0.05, 0.1, 0.2):
        command = [sys.executable, "-c", code, store.uri]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, env=environment, text=True, **pipes) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(delay_s)
            writer.send_signal(signal.SIGKILL)
        assert not store.exists("adapter", KEY)
        name = f"{store.uri.split('?')[0].removeprefix(f's3://{BUCKET}/')}/artifacts/adapter/{KEY}/weights"
        if name in server.names():
            assert len(store.read_bytes("adapter", KEY, "weights")) == 24_000_000
    with store.writing("adapter", KEY) as artifact:
        artifact.file("weights", b"whole")
    assert store.read_bytes("adapter", KEY, "weights") == b"whole"


def test_the_ledger_keeps_segments_there_and_another_process_reads_them(store: Store, server: ObjectStore) -> None:
    url = default_ledger_url(store.uri)
    call = {
        "key": KEY, "endpoint": "e", "model": "m", "protocol": "p", "step": "s", "replicate": 0, "status": "answered",
        "finish_reason": "stop", "reply": "7", "extra": "", "detail": "", "prompt_tokens": 3, "completion_tokens": 1,
        "usd": 0.5, "transport": "chat", "study": "s", "judge": "j", "request_json": "{}", "created_at": 1.0,
        "latency_s": 0.1, "num_attempts": 1,
    }  # fmt: skip
    writer = LedgerService(url)
    assert writer.process("a", [Lookup(KEY)]) == [None]
    writer.process("a", [Finish("id", "answered", 200, 3, 1, 0.5, call)])
    stored = LedgerService(url).process("b", [Lookup(KEY)])[0]  # the first was not closed: as after a kill
    assert isinstance(stored, StoredCall)
    assert stored.reply == "7"
    assert any("/ledger/" in name for name in server.names())


def test_what_cannot_be_used_is_one_line(server: ObjectStore) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*bucket"):
        Store(server.uri("x").replace(BUCKET, "no-such-bucket")).check_writable()
    closed = f"s3://{BUCKET}/x?endpoint_override=http://127.0.0.1:9"
    with pytest.raises(StorageError, match="check the bucket and the credentials"):
        Store(closed).exists("dataset", KEY)
    with pytest.raises(StorageError, match="Unexpected query parameter"):
        Store(f"s3://{BUCKET}/x?endpoint=elsewhere")


@pytest.mark.parametrize(
    "uri",
    [f"s3://id:{SECRET}@{BUCKET}/x", f"s3://{BUCKET}/x?secret_key={SECRET}", f"s3://{BUCKET}/x?session_token={SECRET}"],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(StorageError, match="credentials in the URI") as refused:
        Store(uri)
    assert SECRET not in str(refused.value)


def test_a_store_travels_to_workers_without_its_credentials(store: Store) -> None:
    travelling = pickle.dumps(store)
    assert SECRET.encode() not in travelling
    assert pickle.loads(travelling).uri == store.uri
