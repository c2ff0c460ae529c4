"""The lock that PyTorch holds while it compiles an extension, and that a killed process leaves behind.

DeepSpeed compiles its shared-memory kernel at its first use on a machine (about half a minute). Killed meanwhile, it
leaves a file named `lock`, and every later training of that user waits for it without end or word.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

LOCK = "lock"
STALE_AFTER_S = 600.0
"""No build takes this long, not on a machine that does ten things beside."""


def clear_stale_locks(root: Path, *, now_s: float, stale_after_s: float = STALE_AFTER_S) -> list[Path]:
    """Remove locks of extensions under `root` that are too old to belong to a build that runs; returns them.

    Args:
        root: PyTorch's folder of extensions; need not exist.
        now_s: seconds since the epoch, as file times are.
        stale_after_s: age from which a lock is nobody's.
    """
    removed = []
    for lock in sorted(root.rglob(LOCK)):
        with suppress(FileNotFoundError):  # its build ended just now, or another process was faster
            if now_s - lock.stat().st_mtime > stale_after_s:
                lock.unlink()
                removed.append(lock)
    return removed
