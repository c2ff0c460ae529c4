"""Preference files as pairs with a gold choice: what people preferred is right, and a judge is asked what it prefers.

Of a row of more than two answers the best and the worst are shown. Which of them stands first is decided by the row's
content, so that a judge that always names the first output is right in half of the pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.config import validate
from assay.errors import ConfigError, DataError
from assay.fingerprint import content_hash
from assay.judging.accuracy import PairItem
from assay.judging.llmbar import PairSet
from assay.preference.rows import PreferenceRow, question_text
from assay.row_files import expand, subset_names
from assay.tasks.datasets.preference_formats import LAYOUTS
from assay.tasks.datasets.preferences import load_preferences
from assay.tasks.datasets.sources import SourceSpec

UNPAIRED = "one answer"


@dataclass(frozen=True)
class GivenPairs:
    """The pairs of one preference file."""

    pairs: PairSet
    left_out: Mapping[str, int]
    """Reason -> rows that make no pair."""


def read_given_pairs(paths: Sequence[Path], layout: str, limit: int | None = None) -> list[GivenPairs]:
    """The pairs of all files.

    Args:
        paths: files or folders of them.
        layout: how rows are laid out, one of `LAYOUTS`.
        limit: at most so many pairs of each file, the first ones.

    Raises:
        ConfigError: another layout.
        DataError: a file is missing, a row is not laid out so, or no row makes a pair; names file and row.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"--preference {layout}: expected one of {', '.join(LAYOUTS)}")
    files = expand(paths)
    return [_given(name, file, layout, limit) for name, file in zip(subset_names(files), files, strict=True)]


def _given(name: str, file: Path, layout: str, limit: int | None) -> GivenPairs:
    fields = {"loader": "jsonl", "path": file.name, "name": name, "preference": layout, "split_rule": "strict"}
    found = load_preferences(validate(SourceSpec, fields, "--preference"), file.parent)
    paired = [row for row in found.rows if len(row.answers) > 1]
    unpaired = len(found.rows) - len(paired)
    if not paired:
        raise DataError(
            f"--data {file}: saw {unpaired:,} rows of one answer and no pair; expected pairs; a label of one answer "
            "compares nothing"
        )
    left_out = {**found.left_out, **({UNPAIRED: unpaired} if unpaired else {})}
    return GivenPairs(PairSet(name, tuple(map(_item, paired[:limit]))), left_out)


def _item(row: PreferenceRow) -> PairItem:
    question = question_text(row.prompt)
    if int(content_hash(row.id.encode()), 16) % 2:
        return PairItem(question, row.rejected, row.chosen, 2)
    return PairItem(question, row.chosen, row.rejected, 1)
