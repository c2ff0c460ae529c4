"""Several numbers with labels of their own: a score per criterion, and which of them is the overall one.

Pure; never raises on any text. Two criteria without an overall score rate parts of an answer and not the answer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from assay.scoring.judges.parsing.text_numbers import Number

_LABEL = re.compile(
    r"(?:^|[\n,;.|(])[ ]{0,2}[-#>•*+]{0,4}[ ]{0,2}(?:\(?[\da-z][.)][ ]{1,2})?(?P<label>[^\W\d_][^\n:=,;."
    r"|()0-9]{0,50}(?:[ #]?\d)?)"
    r"(?:[ ]?\([^()\n]{0,40}\))?[ ]{0,2}[:=][ ]{0,3}"
)
_GENERIC = re.compile(
    r"(?:a|an|the|my|your|our|this|its|it|is|of|for|to|i|would|give|as|in|on|and|so|therefore|thus|hence"
    r"|final|finally|overall|total|average|mean|aggregate|combined|score|scores|rating|ratings|grade"
    r"|stars|points|value|number|result|verdict|conclusion|answer|output|response|summary|text"
    r"|evaluation|assessment|judgement|judgment|form|given|assigned|quality|revised|new|updated)"
)
_OVERALL = re.compile(r"\b(?:final|overall|total|average|mean|aggregate|combined|verdict|result|conclusion)\b", re.I)
_SUM = re.compile(r"\b(?:total|sum)\b", re.I)


class Criteria(NamedTuple):
    """What a text with labelled numbers says of the whole."""

    num_criteria: int
    """Different criteria that have a number of their own."""
    overall: Number | None
    """The last number under an overall label, else under a label that names no criterion ("Score")."""
    starts: frozenset[int]
    """Where the criteria's own numbers stand."""


def labelled_criteria(text: str, found: list[Number]) -> Criteria:
    """The criteria of a text and its overall number.

    Args:
        text: plain lines.
        found: its numbers, scales left out.
    """
    starts = {item.start: item for item in found}
    parts: dict[str, float] = {}
    own: set[int] = set()
    overall = generic = None
    for match in _LABEL.finditer(text):
        item = starts.get(match.end())
        if item is None:
            continue
        label = match["label"].strip().lower()
        named = any(_GENERIC.fullmatch(word.strip("'’-/&")) is None for word in label.split())
        if named and not _OVERALL.match(label):
            parts.setdefault(label, item.value)
            own.add(item.start)
        elif not _OVERALL.search(label):
            generic = item
        elif not (_SUM.search(label) and len(parts) > 1 and item.value == sum(parts.values())):
            overall = item  # a total that adds the parts up is on no scale
    return Criteria(len(parts), overall or generic, frozenset(own))
