from __future__ import annotations

import random

import pytest

from assay.tasks.datasets.splits import content_split, split_line

# Places worked apart from the code: the exact one is the last nine decimal digits of the md5 number, the float one
# those of the number rounded to 53 bits (half to even) in integer arithmetic.
# Below 1e8: validation; below 2e8: test; else train.
VECTORS = [
    ("Add.", "0 + 0", "0", 937143438, "train", 155867136, "test"),
    ("Add.", "6 + 6", "12", 633114351, "train", 121907712, "test"),
    ("Add.", "30 + 30", "60", 203514495, "train", 114038784, "test"),
    ("Add.", "41 + 41", "82", 701956808, "train", 160368640, "test"),
    ("Add.", "1 + 1", "2", 525974975, "train", 574913024, "train"),
    ("Add.", "2 + 2", "4", 368806194, "train", 740411904, "train"),
    ("Add.", "3 + 3", "6", 921127660, "train", 596154368, "train"),
    ("Add.", "399 + 399", "798", 717333436, "train", 460078080, "train"),
    ("Add.", "5 + 5", "10", 174974645, "test", 150721536, "test"),
    ("Add.", "60 + 60", "120", 118278600, "test", 103090176, "test"),
    ("Add.", "8 + 8", "16", 152909820, "test", 447279104, "train"),
    ("Add.", "26 + 26", "52", 187050119, "test", 942887936, "train"),
    ("Add.", "37 + 37", "74", 195933447, "test", 259100672, "train"),
    ("Add.", "10 + 10", "20", 335118563, "train", 4939776, "validation"),
    ("Add.", "15 + 15", "30", 703907349, "train", 93096448, "validation"),
    ("Add.", "23 + 23", "46", 793330906, "train", 61152768, "validation"),
    ("Add.", "77 + 77", "154", 238178377, "train", 97505792, "validation"),
    ("Add.", "13 + 13", "26", 86683300, "validation", 718241792, "train"),
    ("Add.", "31 + 31", "62", 96160276, "validation", 434081792, "train"),
    ("Add.", "128 + 128", "256", 8269097, "validation", 145147392, "test"),
    ("Add.", "134 + 134", "268", 79038609, "validation", 181010432, "test"),
    ("Add.", "142 + 142", "284", 8617937, "validation", 111720960, "test"),
    ("Add.", "287 + 287", "574", 105810313, "test", 47095296, "validation"),
    ("Add.", "366 + 366", "732", 159551539, "test", 53574656, "validation"),
    ("a\nb", "\t", "\x00", 88222561, "validation", 71278592, "validation"),
]


@pytest.mark.parametrize(("instruction", "text", "output", "exact", "strict", "rounded", "compat"), VECTORS)
def test_a_row_lies_where_its_hash_says(
    instruction: str, text: str, output: str, exact: int, strict: str, rounded: int, compat: str
) -> None:
    line = split_line(instruction, text, output)
    assert content_split(line, "strict") == strict == _split_of(exact)
    assert content_split(line, "compat") == compat == _split_of(rounded)


def test_the_hashed_line_is_ascii_json_with_a_line_feed() -> None:
    assert split_line("Say ü.", "", 'a "b"') == '{"instruction": "Say \\u00fc.", "input": "", "output": "a \\"b\\""}\n'


def test_the_two_moduli_disagree_on_a_third_of_the_rows() -> None:
    # Two independent draws from (.8, .1, .1) differ with probability 1 - .64 - .01 - .01 = .34; n = 4000: s.d. .0075.
    rng = random.Random(0)
    lines = [split_line("Add.", str(rng.random()), "") for _ in range(4000)]
    moved = sum(content_split(line, "strict") != content_split(line, "compat") for line in lines) / len(lines)
    assert abs(moved - 0.34) < 0.03
    for mode in ("strict", "compat"):
        splits = [content_split(line, mode) for line in lines]
        assert abs(splits.count("train") / len(lines) - 0.8) < 0.03


def _split_of(place: int) -> str:
    return "validation" if place < 100_000_000 else "test" if place < 200_000_000 else "train"
