"""A whole study whose storage is an object store: the same tables as on a disk, the ledger in segments beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.object_store import ObjectStore, object_store
from support.tiny_study import CANARIES, PATIENCE_S, assay, finished_study, settings, table_bytes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * PATIENCE_S)]


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    pytest.importorskip("moto", reason="moto[server,s3] is not installed")
    with object_store() as running:
        yield running


def test_a_study_on_s3_has_the_tables_of_a_study_on_disk(
    server: ObjectStore, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = {**server.environment, "ASSAY_CACHE": str(tmp_path / "cache")}
    del environment["AWS_ENDPOINT_URL"]
    uri = server.uri("tiny")
    run = ["run", "quickstart", "--storage", uri, *settings()]
    refused = assay(*run, **environment)
    assert refused.code == 2, "a remote storage needs a tracking server, and is told so before any work"
    assert "tracking.uri" in refused.one_line()
    assert not any("/artifacts/" in name for name in server.names())

    run += ["--set", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"]
    ended = assay(*run, **environment)
    assert ended.code == 0, ended.err
    names = server.names("tiny/")
    assert any(name.startswith("tiny/ledger/") for name in names)
    assert not any(".part" in name or "/." in name for name in names)
    tables = {
        name: f"tiny/studies/tiny/tables/{name}" for name in table_bytes(finished_study(tmp_path_factory.getbasetemp()))
    }
    on_s3 = {name: hashlib.sha256(server.read(path)).hexdigest() for name, path in tables.items()}
    assert on_s3 == table_bytes(finished_study(tmp_path_factory.getbasetemp()))

    again = assay(*run, **environment)
    assert (again.code, "nothing to do" in again.out) == (0, True), again.err
    status = assay("status", "quickstart", "--storage", uri, *settings(), **environment)
    assert "tiny: finished" in status.out, status.err
    for name in names:
        if name.endswith("/"):
            continue
        data = server.read(name)
        assert not [word for word in CANARIES.values() if word.encode() in data], name
    for text in (ended.out, ended.err, again.out, status.out, refused.err):
        assert not [word for word in CANARIES.values() if word in text]
