"""The kernel that DeepSpeed compiles at its first use in an environment: where, with what, and the lock meanwhile.

It takes about half a minute, and is done again whenever the compiler's command line or Ninja's version is another. A
process that is killed meanwhile leaves a file named `lock`, for which every later training waits without end or word.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

LOCK = "lock"
STALE_AFTER_S = 600.0
"""No build takes this long, not on a machine that does ten things beside."""


def use_own_build(shared_root: str, torch_version: str) -> Path:
    """Build in a folder for this Python environment alone, with its own Ninja, however the process was started.

    Two environments that share a folder, or two Ninjas, would build the kernel in turn, again and again.

    Args:
        shared_root: PyTorch's folder for all environments; not used where $TORCH_EXTENSIONS_DIR names one.
        torch_version: with its build ("2.13.0+cpu"): an environment that changes it builds anew.
    """
    own_bin = str(Path(sys.executable).parent)
    paths = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if paths[0] != own_bin:
        os.environ["PATH"] = os.pathsep.join([own_bin, *paths])
    own = hashlib.sha256(f"{sys.prefix}\0{sys.version}\0{torch_version}".encode()).hexdigest()[:8]
    return Path(os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(Path(shared_root) / own)))


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
