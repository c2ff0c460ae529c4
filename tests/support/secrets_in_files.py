"""Which files hold a secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path


def files_with(secrets: Iterable[str], *folders: Path) -> Iterator[str]:
    """Files that hold a secret as plain bytes; databases and logs keep text so."""
    words = [word.encode() for word in secrets]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_size:
                data = path.read_bytes()
                if any(word in data for word in words):
                    yield str(path)
