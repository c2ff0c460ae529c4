"""How strongly labels follow length: of preferences, which are longer, and whether larger differences are. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assay.metaeval.preference.answers import Label
from assay.metaeval.statistics.correlation import spearman
from assay.metaeval.statistics.rates import bounded_mean
from assay.preference.labelling import num_words
from assay.preference.rows import PreferenceRow


def label_row(
    base_model: str,
    pairs: str,
    label: Label,
    rows: Sequence[PreferenceRow],
    left_out: Mapping[str, int],
    *,
    kind: str,
    line: str = "",
) -> dict[str, Any]:
    """The row of `preference_labels` of one `pairs` artifact; unpaired rows compare nothing.

    Args:
        base_model: as tables call it.
        pairs: the study's name of the source.
        label: who labelled.
        rows: preferences.
        left_out: reason -> prompts without one.
        kind: of the source.
        line: the principle that these rows alone were made by; empty: rows are all of the source.
    """
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
        "line": line,
        "kind": kind,
        "label": label.named or label.scorer,
        "length_bias": label.length_bias,
        "num_rows": len(rows),
        "left_out": json.dumps(dict(sorted(left_out.items()))),
        "longer_share": math.nan if share is None else share.value,
        "low": math.nan if share is None else share.low,
        "high": math.nan if share is None else share.high,
        "length_correlation": spearman(gaps, stretches) if len(gaps) > 2 else math.nan,  # of two rows it is +-1
        "num_scored": len(scored),
    }
