"""Tokens of a text in any script, for metrics that compare words. Pure.

Scripts that put blanks between words give words; those that do not (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan)
give one token per character, as nothing but a dictionary knows their words. Marks stay with their letter (Hindi vowel
signs, accents), case is folded, and the Unicode form is NFC. On plain ASCII the tokens are those of the rouge-score
package: runs of letters and digits.
"""

from __future__ import annotations

import re
import unicodedata

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?%?")
_ENDS = ".,;:!?()[]{}\"'`´“”‘’«»…。、，！？：；（）「」"
_NO_BLANKS = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)


def script_tokens(text: str) -> list[str]:
    """The tokens, in order; punctuation ends a word."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _words(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()))


def answer_tokens(text: str) -> list[str]:
    """The tokens of an answer, as SQuAD normalises it: punctuation inside a word is dropped (U.S. is us), blanks part.

    A number keeps its point and sign: 3.14 is not 314, -1 is not 1.
    """
    tokens: list[str] = []
    for word in unicodedata.normalize("NFC", text).casefold().replace("−", "-").split():
        bare = word.strip(_ENDS)
        if _NUMBER.fullmatch(bare):
            tokens.append(bare)
        else:
            kept = "".join(char for char in word if unicodedata.category(char)[0] not in "PS")
            tokens += [kept] if kept.isascii() and kept else _words(unicodedata.normalize("NFC", kept))
    return tokens


def with_blanks(text: str) -> str:
    """The text with a blank on both sides of each character of a script without blanks: for tokenizers of words."""
    if text.isascii():
        return text
    return "".join(f" {char} " if _stands_alone(char) else char for char in unicodedata.normalize("NFC", text))


def _words(text: str) -> list[str]:
    tokens: list[str] = []
    word = ""
    for char in text:
        kind = unicodedata.category(char)[0]
        if kind == "M" and (word or tokens):
            if word:
                word += char
            else:
                tokens[-1] += char
        elif kind not in "LN":
            if word:
                tokens.append(word)
            word = ""
        elif _stands_alone(char):
            if word:
                tokens.append(word)
            word = ""
            tokens.append(char)
        else:
            word += char
    return [*tokens, word] if word else tokens


def _stands_alone(char: str) -> bool:
    code = ord(char)
    return (
        code >= 0x0E00
        and any(low <= code <= high for low, high in _NO_BLANKS)
        and unicodedata.category(char)[0] in "LN"
    )
