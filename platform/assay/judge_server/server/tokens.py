"""The server's tokenizer, stated: a token is four bytes of UTF-8, rounded up per text; each message adds four.

No vocabulary is at hand offline and none is needed: limits and bills only have to be the same every time. English
prose comes out within about a tenth of what common vocabularies give.
"""

from __future__ import annotations

from collections.abc import Iterable

STATEMENT = "ceil(UTF-8 bytes / 4) per text, plus 4 per message and 3 per prompt"
PER_MESSAGE, PER_PROMPT = 4, 3


def count_tokens(text: str) -> int:
    """Tokens of one text."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return (size + 3) // 4


def count_prompt(messages: Iterable[tuple[str, str]]) -> int:
    """Tokens of a prompt of (role, content) messages."""
    return PER_PROMPT + sum(PER_MESSAGE + count_tokens(content) for _, content in messages)


def cut_tokens(text: str, limit: int) -> str:
    """At most `limit` tokens of `text`, whole characters."""
    if count_tokens(text) <= limit:
        return text
    return text.encode("utf-8", "surrogatepass")[: 4 * limit].decode("utf-8", "ignore")
