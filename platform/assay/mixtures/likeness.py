"""When two texts are the same text: forms of Unicode, case, white space and a final full stop aside. Pure.

Words are what white space and punctuation part; in scripts that write none (Chinese, Japanese, Thai, Lao, Khmer,
Burmese) each character is one, and runs of words are shorter there.
"""

from __future__ import annotations

import re
import unicodedata

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_CHARACTERS = re.compile(rf"[{_UNSPACED}]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff]")
_END = ".!?…。！？।"


def normal_form(text: str) -> str:
    """The text in NFKC, casefolded, invisible characters and end marks off, white space as single spaces."""
    if text.isascii():
        return " ".join(text.casefold().split()).rstrip(_END + " ")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_INVISIBLE.sub("", folded).split()).rstrip(_END + " ")


def words_of(normal: str) -> list[str]:
    """Words of a text in its normal form."""
    return _WORDS.findall(normal)


def run_length(words: list[str], size: int) -> int:
    """Words in a run that is compared: `size`, or half as many characters of a script without spaces, at least 3."""
    characters = sum(len(word) == 1 and _CHARACTERS.match(word) is not None for word in words)
    return max(3, size // 2) if 2 * characters > len(words) else size
