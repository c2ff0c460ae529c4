"""The store on Google Cloud Storage, against fake-gcs-server where that program is installed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from assay.store import Store

KEY = "0" * 32
TABLE = pa.table({"x": [1, 2, 3]})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    program = shutil.which("fake-gcs-server")
    if program is None:
        pytest.skip("fake-gcs-server is not on the path")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    at = f"127.0.0.1:{port}"
    command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    command += ["-public-host", at, "-external-url", f"http://{at}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        body = json.dumps({"name": "studies"}).encode()
        request = urllib.request.Request(f"http://{at}/storage/v1/b?project=p", body, method="POST")
        for _ in range(100):
            try:
                urllib.request.urlopen(request, timeout=10).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield at
        server.terminate()


def test_a_whole_round_trip(address: str, tmp_path: Path) -> None:
    store = Store(f"gs://anonymous@studies/some/prefix?endpoint_override={address}&scheme=http")
    store.check_writable()
    with store.writing("dataset", KEY) as artifact:
        artifact.table("t.parquet", TABLE)
        artifact.file("sub/f.bin", b"\0\1" * 4_000_000)
    assert store.keys("dataset") == store.present("dataset", [KEY, "1" * 32]) == {KEY}
    assert store.read_table("dataset", KEY, "t.parquet").equals(TABLE)
    assert (store.local_dir("dataset", KEY, tmp_path) / "sub/f.bin").read_bytes() == b"\0\1" * 4_000_000
    store.write_study_json("s", "done.json", {"key": "k"})
    assert store.studies() == ["s"]
    store.delete("dataset", KEY)
    assert store.keys("dataset") == set()


def test_a_writer_that_fails_leaves_no_artifact(address: str) -> None:
    store = Store(f"gs://anonymous@studies/failing?endpoint_override={address}&scheme=http")
    with pytest.raises(RuntimeError), store.writing("dataset", KEY) as artifact:
        artifact.json("j.json", {})
        raise RuntimeError
    assert store.present("dataset", [KEY]) == store.keys("dataset") == set()
