"""One evaluation of another tool: its samples' scores by metric, item and repeat; and which reader a file needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from assay.errors import ConfigError

Scores = dict[str, dict[str, list[float]]]
"""Metric, item, scores of the item's repeats (NaN where unscored)."""


@dataclass(frozen=True)
class ForeignLog:
    """What a log says of its samples."""

    path: str
    tool: str
    task: str
    model: str
    scores: Mapping[str, Mapping[str, list[float]]]
    """By metric and item; higher is taken as better."""
    num_samples: int
    unscored: Mapping[str, int] = field(default_factory=dict)
    """Samples without a score, by reason."""


def is_foreign_log(name: str) -> bool:
    """Whether an argument names a log file rather than a study."""
    return Path(name).suffix in (".eval", ".json", ".jsonl") and Path(name).is_file()


def read_log(path: Path) -> ForeignLog:
    """The log in a file.

    Raises:
        ConfigError: no such file, not such a log, or a version that is not known.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: saw no such file; expected an .eval, .json or .jsonl log; check the path")
    if path.suffix == ".jsonl":
        from assay.foreign_logs.lm_eval_files import read_lm_eval_samples

        return read_lm_eval_samples(path)
    from assay.foreign_logs.inspect_files import read_inspect_log

    return read_inspect_log(path)


def as_number(value: object) -> float:
    """A score as a number: true is 1, inspect's letters C, P, I and N are 1, .5, 0 and 0; NaN for all else."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        letter = _LETTERS.get(value.strip())
        if letter is not None:
            return letter
        try:
            return float(value)
        except ValueError:
            return math.nan
    return math.nan


_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
