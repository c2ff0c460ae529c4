"""Beginnings of prompts that the server has read before, in blocks, as providers cache them. Pure, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

BYTES_PER_TOKEN = 4
"""As `tokens` counts."""


class PrefixCache:
    """Blocks of a fixed size, each known together with all that stands before it."""

    def __init__(self, block_tokens: int) -> None:
        """Begin with nothing known.

        Args:
            block_tokens: only whole blocks are ever cached.
        """
        self._block = block_tokens
        self._known: set[bytes] = set()

    def known_tokens(self, messages: Iterable[tuple[str, str]]) -> int:
        """Tokens of the prompt's beginning that an earlier prompt shared."""
        count = 0
        for digest in self._digests(messages):
            if digest not in self._known:
                break
            count += self._block
        return count

    def remember(self, messages: Iterable[tuple[str, str]]) -> None:
        """The prompt has been read."""
        self._known.update(self._digests(messages))

    def _digests(self, messages: Iterable[tuple[str, str]]) -> Iterable[bytes]:
        text = "".join(f"<{role}>{content}" for role, content in messages).encode("utf-8", "surrogatepass")
        size = self._block * BYTES_PER_TOKEN
        running = hashlib.sha256()
        for start in range(0, len(text) - size + 1, size):
            running.update(text[start : start + size])
            yield running.digest()
