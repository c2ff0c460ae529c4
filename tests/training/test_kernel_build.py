"""DeepSpeed's kernel: each environment builds its own, and a dead lock is removed while a live one is not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from assay.training.kernel_build import clear_stale_locks, use_own_build


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


def test_environments_build_apart_each_with_its_own_ninja(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    roots = []
    for name in ("one", "two"):
        monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        monkeypatch.setattr(sys, "prefix", str(tmp_path / name))
        monkeypatch.setattr(sys, "executable", str(tmp_path / name / "bin/python"))
        roots.append(use_own_build(str(tmp_path)))
        assert roots[-1] == use_own_build(str(tmp_path)) == Path(os.environ["TORCH_EXTENSIONS_DIR"])
        assert os.environ["PATH"].split(":") == [str(tmp_path / name / "bin"), "/usr/bin", "/bin"]
    assert roots[0] != roots[1] and roots[0].parent == roots[1].parent == tmp_path


def test_a_folder_that_the_user_names_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    assert use_own_build(str(tmp_path)) == tmp_path / "mine"
