"""How strongly labels follow length: of preferences, which are longer, and whether larger differences are. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assay.metaeval.preference.answers import Label, num_words
from assay.metaeval.statistics.rates import bounded_mean
from assay.preference.rows import PreferenceRow


def label_row(
    base_model: str, pairs: str, label: Label, rows: Sequence[PreferenceRow], left_out: Mapping[str, int]
) -> dict[str, Any]:
    """The row of `preference_labels` of one `pairs` artifact; unpaired rows compare nothing."""
    paired = [row for row in rows if len(row.answers) > 1]
    lengths = np.array([[num_words(row.chosen), num_words(row.rejected)] for row in paired], dtype=float).reshape(-1, 2)
    longer = (np.sign(lengths[:, 0] - lengths[:, 1]) + 1) / 2
    share = bounded_mean(longer) if longer.size else None
    scored = [(row, row.scores) for row in paired if row.scores is not None]
    gaps = [scores[0] - scores[-1] for _, scores in scored]
    stretches = [float(num_words(row.chosen) - num_words(row.rejected)) for row, _ in scored]
    return {
        "base_model": base_model,
        "pairs": pairs,
        "label": label.scorer if label.is_scorer else "given",
        "length_bias": label.length_bias,
        "num_rows": len(rows),
        "left_out": json.dumps(dict(sorted(left_out.items()))),
        "longer_share": math.nan if share is None else share.value,
        "low": math.nan if share is None else share.low,
        "high": math.nan if share is None else share.high,
        "length_correlation": _rank_correlation(gaps, stretches),
        "num_scored": len(scored),
    }


def _rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    if len(first) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return math.nan
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)
