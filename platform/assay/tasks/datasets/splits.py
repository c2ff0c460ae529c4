"""Train, validation or test by content: the md5 of a row's JSON line decides, so a row never changes sides.

Source: the IFTEval study's data code. Both modes hash the same line; they differ in the modulus. `strict` takes the
exact integer modulus. `compat` first rounds the 128-bit hash to a float, as the published code did, which moves
about a third of the rows to other splits (0.1, 0.1 and 0.8 independent draws agree with probability 0.66).
"""

from __future__ import annotations

import hashlib
import json

from assay.records import TEST, TRAIN, VALIDATION, Mode

_MODULUS = 1_000_000_000
_VALIDATION_BELOW = 100_000_000
_TEST_BELOW = 200_000_000


def split_line(instruction: str, input: str, output: str) -> str:  # noqa: A002
    """The line that is hashed: JSON of the three fields in this order, ASCII-escaped, and a line feed."""
    return json.dumps({"instruction": instruction, "input": input, "output": output}) + "\n"


def content_split(line: str, mode: Mode) -> str:
    """The split of a line: validation below 0.1, test below 0.2, else train, of the hash modulo 1e9."""
    number = int(hashlib.md5(line.encode(), usedforsecurity=False).hexdigest(), 16)
    place = number % _MODULUS if mode == "strict" else float(number) % 1e9
    if place < _VALIDATION_BELOW:
        return VALIDATION
    return TEST if place < _TEST_BELOW else TRAIN
