"""Canary secrets in the environment of a whole study: in nothing that it prints, stores, tracks or logs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.secrets_in_files import files_with
from support.tiny_study import CANARIES, PATIENCE_S, assay, closed_port, finished_run, finished_study, settings

pytestmark = pytest.mark.timeout(3 * PATIENCE_S)


def files_with_a_canary(*folders: Path) -> Iterator[str]:
    """Files that hold a canary."""
    return files_with(CANARIES.values(), *folders)


def test_no_secret_is_in_what_a_study_leaves(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Results, report, MLflow, ledger, side files, and Ray's session folder with its logs and runtime_env."""
    storage = finished_study(tmp_path_factory.getbasetemp())
    said = finished_run(storage)
    assert not [word for word in CANARIES.values() if word in said.out + said.err]
    sessions = Path(tempfile.gettempdir()) / f"assay-ray-{os.getuid()}"
    began_s = (storage / "studies" / "tiny" / "study.json").stat().st_mtime  # what older runs left is not this one's
    looked_at = [storage, *(path for path in sessions.glob("session_2*") if path.stat().st_mtime >= began_s)]
    assert list(files_with_a_canary(*looked_at)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"judge.base_url": "http://127.0.0.1:{port}/v1"},
        {"judge.base_url": "http://user:{key}@127.0.0.1:{port}/v1"},
        {"tracking.uri": "http://user:{key}@127.0.0.1:{port}"},
    ],
    ids=["nothing listens there", "key in the judge's URL", "password in the tracking URI"],
)
def test_no_secret_is_in_an_error(changes: dict[str, str], tmp_path: Path) -> None:
    key = CANARIES["OPENAI_API_KEY"]
    filled = {name: value.format(port=closed_port(), key=key) for name, value in changes.items()}
    ended = assay("run", "quickstart", "--storage", str(tmp_path), *settings(filled))
    assert ended.code == 2, ended.err
    assert not [word for word in CANARIES.values() if word in ended.out + ended.err], ended.err
    assert list(files_with_a_canary(tmp_path)) == []
