"""Hashes of files, each computed once on one machine: a base of 15 GB is read for its name the first time alone.

What is remembered is known by device, inode, size and both times to the nanosecond: a change of content moves the
change time, which no program can set back. The memory is a folder of this machine (`$ASSAY_CACHE`, else
`~/.cache/assay`), never shared storage, where inodes of several machines could meet.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from assay.fingerprint import KEY_LENGTH, delimited_hash, file_hash

SETTLED_NS = 2_000_000_000
"""A file that changed less than so long ago is hashed and not remembered: a second change within one tick of the file
system's clock would leave its times as they were."""


def known_file_hash(path: Path) -> str:
    """`fingerprint.file_hash` of a file; read only where it is not known yet."""
    before = path.stat()
    place = _memory() / _name(before)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        known = place.read_text(encoding="ascii")
        if len(known) == KEY_LENGTH:
            return known
    found = file_hash(path)
    if _name(path.stat()) == _name(before) and time.time_ns() - before.st_ctime_ns >= SETTLED_NS:
        _remember(place, found)
    return found


def _memory() -> Path:
    return Path(os.environ.get("ASSAY_CACHE", "~/.cache/assay")).expanduser() / "file_hashes"


def _name(stat: os.stat_result) -> str:
    name = delimited_hash([str(value) for value in (stat.st_dev, stat.st_ino, stat.st_size)] + _times(stat))
    return f"{name[:2]}/{name[2:]}"


def _times(stat: os.stat_result) -> list[str]:
    return [str(stat.st_mtime_ns), str(stat.st_ctime_ns)]


def _remember(place: Path, found: str) -> None:
    """Whole or not at all; a memory that cannot be written costs time and nothing else."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        half = place.with_name(f"{place.name}.{os.getpid()}")
        half.write_text(found, encoding="ascii")
        half.replace(place)
