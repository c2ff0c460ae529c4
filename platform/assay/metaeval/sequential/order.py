"""The order in which items are looked at: random, the same for all arms, on every machine and in every run. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from assay.fingerprint import delimited_hash


def hashed_order(ids: Iterable[str], key: str, seed: int = 0) -> list[str]:
    """Ids by a hash of key, seed and id: as good as drawn at random, whatever the ids say or how they are sorted.

    Items that are left out, or come later, change nothing about the order of the others.
    """
    return sorted(ids, key=lambda item: (delimited_hash([key, str(seed), item]), item))
