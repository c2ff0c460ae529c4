"""Seeded draws: every random number of the server is a hash of what it is about, never of when it was asked.

Pure. A draw is named by byte strings (request hash, replicate, purpose, ...); equal names give equal numbers.
"""

from __future__ import annotations

import hashlib
import math


def request_hash(*parts: str) -> bytes:
    """16 bytes that name a request; parts are length-delimited."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.digest()


class Draws:
    """Random numbers of one (seed, request, replicate, attempt): asked for by purpose, in any order."""

    __slots__ = ("_prefix",)

    def __init__(self, seed: int, *names: bytes) -> None:
        self._prefix = b"%d" % seed + b"".join(b"/%d:" % len(name) + name for name in names)

    def uniform(self, purpose: str) -> float:
        """In [0, 1)."""
        digest = hashlib.blake2b(self._prefix + b"|" + purpose.encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) * 2.0**-53

    def normal(self, purpose: str) -> float:
        """Standard normal, by Box-Muller over two halves of one hash."""
        digest = hashlib.blake2b(self._prefix + b"|" + purpose.encode(), digest_size=16).digest()
        first = ((int.from_bytes(digest[:8], "big") >> 11) + 1) * 2.0**-53  # in (0, 1]: its logarithm exists
        second = (int.from_bytes(digest[8:], "big") >> 11) * 2.0**-53
        return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)
