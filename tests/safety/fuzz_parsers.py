"""Coverage-guided fuzzing of the parsers: `python tests/safety/fuzz_parsers.py -max_total_time=600`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

with atheris.instrument_imports(include=["assay"]):
    from support.parsers import PARSERS

NAMES = list(PARSERS)


def one_input(data: bytes) -> None:
    """The first byte picks the parser, the rest is the reply."""
    if not data:
        return
    parse, allowed = PARSERS[NAMES[data[0] % len(NAMES)]]
    value = parse(data[1:].decode("utf-8", "replace"))
    assert allowed(value), value


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
