"""Locks of extension builds: a dead one is removed, a live one is not."""

from __future__ import annotations

import os
from pathlib import Path

from assay.training.build_lock import clear_stale_locks


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
