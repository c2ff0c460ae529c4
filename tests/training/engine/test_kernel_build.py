"""DeepSpeed's kernel: each environment builds its own, and a dead lock is removed while a live one is not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from assay.training.engine.kernel_build import clear_stale_locks, use_own_build


def test_only_a_lock_that_is_too_old_is_removed(tmp_path: Path) -> None:
    old, fresh = tmp_path / "a" / "lock", tmp_path / "b" / "lock"
    for lock, written_s in ((old, 1_000.0), (fresh, 1_500.0)):
        lock.parent.mkdir()
        lock.touch()
        os.utime(lock, (written_s, written_s))
    (tmp_path / "a" / "kernel.so").touch()
    assert clear_stale_locks(tmp_path, now_s=1_650.0, stale_after_s=600.0) == [old]
    assert not old.exists()
    assert fresh.exists()
    assert (tmp_path / "a" / "kernel.so").exists()


def test_a_machine_that_never_built_has_none(tmp_path: Path) -> None:
    assert clear_stale_locks(tmp_path / "absent", now_s=0.0) == []


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment variables of a process, of which none stay behind."""
    found = {"PATH": "/usr/bin:/bin"}
    monkeypatch.setattr(os, "environ", found)
    return found


def test_environments_build_apart_each_with_its_own_ninja(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], tmp_path: Path
) -> None:
    roots = []
    for prefix, version in (("one", "2+cpu"), ("two", "2+cpu"), ("two", "2+cu130")):
        variables.clear()
        variables["PATH"] = "/usr/bin:/bin"
        monkeypatch.setattr(sys, "prefix", str(tmp_path / prefix))
        monkeypatch.setattr(sys, "executable", str(tmp_path / prefix / "bin/python"))
        roots.append(use_own_build(str(tmp_path), version))
        assert roots[-1] == use_own_build(str(tmp_path), version) == Path(variables["TORCH_EXTENSIONS_DIR"])
        assert variables["PATH"].split(":") == [str(tmp_path / prefix / "bin"), "/usr/bin", "/bin"]
    assert len(set(roots)) == 3 and {root.parent for root in roots} == {tmp_path}


def test_a_folder_that_the_user_names_is_taken(variables: dict[str, str], tmp_path: Path) -> None:
    variables["TORCH_EXTENSIONS_DIR"] = str(tmp_path / "mine")
    assert use_own_build(str(tmp_path), "2+cpu") == tmp_path / "mine"
