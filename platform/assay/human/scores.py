"""Every scorer's numbers for the texts of a human set, from the store where they are there already."""

from __future__ import annotations

import json
import math

import numpy as np

from assay.fingerprint import artifact_key, fingerprint
from assay.hooks import Progress
from assay.human.sets import IS_REFERENCE, HumanSet
from assay.metaeval.statistics.estimate import FloatArray
from assay.records import INSTRUCTIONS, TEST, Example, Outcome, Rating, ScoreRow, Unscored, from_table, to_table
from assay.scoring.jobs import SCORES_FILE, score_row
from assay.scoring.protocol import ScoreRequest, ScorerSpec
from assay.scoring.scorers.models import resolve
from assay.scoring.table import SHIPPED_SCORERS
from assay.store import Store
from assay.tasks.catalog import SHIPPED_TASKS

KIND = "human_scores"
SCHEMA_VERSION = 1
LENGTH = ScorerSpec(name="length", kind="reference", high=None)
"""Words of a text: what a scorer has to beat before it deserves a look."""


def human_set_scores(part: HumanSet, spec: ScorerSpec, store: Store, progress: Progress) -> list[ScoreRow]:
    """One row per text, in the set's order; scored once and then read.

    Raises:
        InputError: the scorer's model cannot be found or loaded.
    """
    spec = spec if spec.name == LENGTH.name else resolve(spec)
    content = fingerprint([list(part.outputs), [list(texts) for texts in part.references], list(part.sources)])
    key = artifact_key(KIND, SCHEMA_VERSION, spec.identity(), {"texts": content})
    if store.exists(KIND, key):
        progress.advance("scores", part.num_rows)
        return sorted(from_table(store.read_table(KIND, key, SCORES_FILE), ScoreRow), key=lambda row: row.example_id)
    outcomes = _outcomes(part, spec)
    rows = [score_row(spec.name, part.name, f"{place:06d}", outcome) for place, outcome in enumerate(outcomes)]
    with store.writing(KIND, key, {"scorer": spec.identity(), "set": part.name}) as writer:
        writer.table(SCORES_FILE, to_table(rows, ScoreRow))
    progress.advance("scores", len(rows), scorer=spec.name, set=part.name)
    return rows


def column(rows: list[ScoreRow]) -> FloatArray:
    """Ratings, NaN where there is none."""
    return np.array([math.nan if row.rating is None else row.rating for row in rows])


def _outcomes(part: HumanSet, spec: ScorerSpec) -> list[Outcome]:
    outcomes: list[Outcome] = [Unscored(IS_REFERENCE)] * part.num_rows
    if spec.name == LENGTH.name:
        return [
            Rating(float(len(text.split()))) if golds else Unscored(IS_REFERENCE)
            for text, golds in zip(part.outputs, part.references, strict=True)
        ]
    places = [place for place, golds in enumerate(part.references) if golds]
    requests = [_request(part, place) for place in places]
    for place, outcome in zip(places, SHIPPED_SCORERS.make(spec).score(requests), strict=True):
        outcomes[place] = outcome
    return outcomes


def _request(part: HumanSet, place: int) -> ScoreRequest:
    golds = part.references[place]
    example = Example(
        example_id=f"{place:06d}",
        task=INSTRUCTIONS,
        split=TEST,
        instruction="",
        input=part.sources[place],
        reference=golds[0],
        meta_json=json.dumps({"references": list(golds)}) if len(golds) > 1 else "",
    )
    return ScoreRequest(example, SHIPPED_TASKS.get(INSTRUCTIONS), part.outputs[place])
