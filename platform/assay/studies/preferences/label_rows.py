"""Rows of `preference_labels`: one for each source of pairs, and one for each principle where answers are revised."""

from __future__ import annotations

from collections import Counter
from typing import Any

from assay.metaeval.preference.answers import Label
from assay.metaeval.preference.labels import label_row
from assay.mixtures.sampling import VALIDATION_FILE
from assay.mixtures.spec import KIND as MIXTURE_KIND
from assay.preference.principles import principle_for
from assay.preference.rows import KIND, read_rows
from assay.store import Store
from assay.studies.preferences.making import no_pair, stored_answers
from assay.studies.preferences.wanted import WantedPairs, answer_id
from assay.tasks.datasets.preferences import SUMMARY_FILE


def label_rows(store: Store, wanted: WantedPairs, base_model: str, source: str, label: Label) -> list[dict[str, Any]]:
    """The source's own row, then those of its principles in the order of their file.

    Args:
        store: holds the pairs and the answers that they were made of.
        wanted: the pairs.
        base_model: as tables call it.
        source: the study's name of the source; sources that say the same share their pairs.
        label: who labelled.
    """
    rows, kind = read_rows(store, wanted.key), wanted.asked.spec.kind
    left_out = store.read_json(KIND, wanted.key, SUMMARY_FILE)["left_out"]
    found = [label_row(base_model, source, label, rows, left_out, kind=kind)]
    without = _left_out_by_line(store, wanted)
    for line in wanted.principles:
        held = [row for row in rows if principle_for(row.id, wanted.principles) == line]
        found.append(label_row(base_model, source, label, held, without.get(line, {}), kind=kind, line=line))
    return found


def _left_out_by_line(store: Store, wanted: WantedPairs) -> dict[str, Counter[str]]:
    """Why prompts have no pair, by the principle that their answers were held to."""
    if wanted.samples is None or wanted.losing is None or not wanted.principles:
        return {}
    winner, loser = (stored_answers(store, side.job.key) for side in (wanted.samples, wanted.losing))
    prompts = store.read_table(MIXTURE_KIND, wanted.losing.prompts, VALIDATION_FILE)["example_id"].to_pylist()
    found: dict[str, Counter[str]] = {}
    for name in prompts:
        if fault := no_pair(answer_id(name, 0), winner, loser):
            found.setdefault(principle_for(name, wanted.principles), Counter())[fault] += 1
    return found
