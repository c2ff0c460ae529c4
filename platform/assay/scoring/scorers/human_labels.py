"""Human labels as a scorer: the rating that people gave an answer, wherever the same answer to the same task turns up.

A label belongs to what was shown (instruction, input, answer), not to the model that wrote it: annotators did not know.
`assay label import` writes the file. Pure but for reading it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from assay.errors import DataError
from assay.fingerprint import delimited_hash
from assay.records import Outcome, Rating, Unscored
from assay.scoring.protocol import ScoreRequest, ScorerSpec

NOT_LABELLED = Unscored("not labelled")


def answer_key(instruction: str, given: str, prediction: str) -> str:
    """32 hex digits that name an answer as annotators saw it."""
    return delimited_hash([instruction, given, prediction])


class HumanScorer:
    """Mean of the annotators' ratings, in 0..1; answers that nobody rated stay unscored."""

    def __init__(self, spec: ScorerSpec) -> None:
        """A scorer of a resolved spec."""
        self.spec = spec

    def score(self, batch: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, same order."""
        ratings = read_labels(Path(self.spec.path))
        outcomes: list[Outcome] = []
        for request in batch:
            key = answer_key(request.example.instruction, request.example.input, request.prediction)
            outcomes.append(Rating(ratings[key]) if key in ratings else NOT_LABELLED)
        return outcomes


@lru_cache(maxsize=4)
def read_labels(path: Path) -> dict[str, float]:
    """Rating in 0..1 by `answer_key`.

    Raises:
        DataError: a line that is no label; names file and line.
    """
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            key, rating = str(row["answer_key"]), float(row["human"])
        except (ValueError, TypeError, KeyError):
            raise DataError(
                f"{path}:{number}: saw {line[:60]!r}; expected a row that `assay label import` wrote"
            ) from None
        if not 0 <= rating <= 1:
            raise DataError(f"{path}:{number}: saw the rating {rating:g}; expected 0 to 1; import the labels again")
        found[key] = rating
    return found
