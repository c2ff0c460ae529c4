"""The rubric server's answer to "which patterns do these errors show": counts of what rules can see. Pure.

A stand-in for an LLM's reading of errors: it reports how answers differ in form and which answers stand in for which,
and says that it is rules.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from assay.judge_server.rubric.shown_rows import shown_rows

ANALYST = "You read what a model got wrong"
"""How the system turn of such a prompt begins."""
FIELDS = ("input", "prediction", "reference")
"""Of a row that the prompt shows."""
SHORT = 40
"""An answer or reference of at most so many characters is shown whole."""


def error_patterns(prompt: str) -> str:
    """Sentences with counts, most frequent first."""
    rows = [{name: str(row[name]) for name in FIELDS} for row in shown_rows(prompt) if set(FIELDS) <= set(row)]
    if not rows:
        return "By rules: the prompt shows no rows."
    checks: Sequence[tuple[str, int]] = (
        ("the answer is empty", sum(not row["prediction"].strip() for row in rows)),
        ("the answer holds the reference, with more around it", sum(_wraps(row) for row in rows)),
        ("the answer is at least three times as long as the reference", sum(_is_long(row) for row in rows)),
        ("the answer repeats a part of the input", sum(_copies(row) for row in rows)),
        ("the answer repeats itself", sum(_loops(row["prediction"]) for row in rows)),
    )
    found = [f"{text} ({count} of {len(rows)})" for text, count in sorted(checks, key=lambda c: -c[1]) if count]
    pairs = Counter(
        (row["prediction"].strip(), row["reference"].strip())
        for row in rows
        if len(row["prediction"]) <= SHORT and len(row["reference"]) <= SHORT
    )
    for (prediction, reference), count in pairs.most_common(3):
        if count > 1:
            found.append(
                f"{json.dumps(prediction)} stands where {json.dumps(reference)} is right ({count} of {len(rows)})"
            )
    return "By rules: " + ("; ".join(found) if found else f"no pattern in {len(rows)} rows") + "."


def _wraps(row: dict[str, str]) -> bool:
    prediction, reference = row["prediction"].casefold().strip(), row["reference"].casefold().strip()
    return bool(reference) and reference in prediction and reference != prediction


def _is_long(row: dict[str, str]) -> bool:
    return len(row["prediction"].split()) >= 3 * max(1, len(row["reference"].split()))


def _copies(row: dict[str, str]) -> bool:
    words = row["prediction"].casefold().split()
    source = " ".join(row["input"].casefold().split())
    return any(" ".join(words[start : start + 6]) in source for start in range(len(words) - 5))


def _loops(text: str) -> bool:
    words = text.casefold().split()
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    return any(count >= 3 for count in triples.values())
