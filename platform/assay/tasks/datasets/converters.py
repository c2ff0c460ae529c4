"""Rows whose answer has to be made, not only read: similarity scores rounded, entity tags gathered into lists. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from assay.errors import DataError

Converter = Literal["none", "stsb", "conll", "scitldr"]
CONLL_TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
"""Names of the tag numbers in the CoNLL-2003 files of the hub."""
CONLL_KEYS = ("LOC", "PER", "ORG")


def convert(name: Converter, row: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The row with `input` and `output` in the form of the local files.

    Raises:
        DataError: the row lacks a column, or holds something else in it.
    """
    if name == "none":
        return row
    try:
        return {**row, **_CONVERTERS[name](row)}
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: cannot be read as {name} ({type(error).__name__}: {error}); expected the columns of the hub's "
            "own dataset; map them with columns and set convert: none"
        ) from None


def _stsb(row: Mapping[str, Any]) -> dict[str, str]:
    """Label 0 to 5, rounded half up and clipped to 1..5."""
    score = min(5, max(1, math.floor(float(row["label"]) + 0.5)))
    return {"input": f"Sentence1: {row['sentence1']}\nSentence2: {row['sentence2']}", "output": str(score)}


def _conll(row: Mapping[str, Any]) -> dict[str, str]:
    """Tokens with BIO tags (numbers or names): locations, persons and organizations in text order, repeats kept."""
    tags = [CONLL_TAGS[tag] if isinstance(tag, int) else str(tag) for tag in row.get("ner_tags", row.get("tags"))]
    found = entities(row["tokens"], tags)
    output = {key: [text for kind, text in found if kind == key] for key in CONLL_KEYS}
    return {"input": "Text: " + " ".join(row["tokens"]), "output": json.dumps(output, ensure_ascii=False)}


def entities(tokens: Sequence[str], tags: Sequence[str]) -> list[tuple[str, str]]:
    """(kind, text) of each entity in order; an I- tag that continues nothing begins one (IOB1 as well as IOB2)."""
    if len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} tokens, {len(tags)} tags")
    found: list[tuple[str, list[str]]] = []
    before = "O"
    for token, tag in zip(tokens, tags, strict=True):
        mark, _, kind = tag.partition("-")
        if mark == "I" and before.endswith(f"-{kind}"):
            found[-1][1].append(token)
        elif mark in ("B", "I"):
            found.append((kind, [token]))
        before = tag
    return [(kind, " ".join(words)) for kind, words in found]


def _scitldr(row: Mapping[str, Any]) -> dict[str, Any]:
    """Sentences of the abstract joined; the first summary is the reference, all of them are kept as references."""
    return {"input": "Article: " + " ".join(row["source"]), "output": row["target"][0], "references": row["target"]}


_CONVERTERS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "stsb": _stsb,
    "conll": _conll,
    "scitldr": _scitldr,
}
