"""The figure of format infusion: a panel per training, and the same bytes for the same rows."""

from __future__ import annotations

import numpy as np

from assay.metaeval.statistics.ifs_stopping import StoppingRule
from assay.metaeval.study_tables.ifs import Instruments, TrialCurve, curve_rows, stopping_rows
from assay.reports.ifs_plots import infusion


def curve(seed: int, counts: list[int], *, stops: bool) -> TrialCurve:
    steps = tuple(4 * at for at in range(len(counts)))
    return TrialCurve(
        adapter_key=f"{seed}{stops}",
        base_model="tiny",
        arm="toy_sentiment N=64",
        draw=0,
        training_seed=seed,
        stops=stops,
        batch_size=16,
        steps=steps,
        labels=np.array([np.arange(300) < count for count in counts]),
        is_partial=np.arange(300) % 2 == 0,
        objective=np.array([[1.0, 0.0, np.nan]] * len(counts)),
        unscored=({},) * len(counts),
        validation_loss={step: 1.0 / step for step in steps[1:]},
    )


def test_a_panel_per_training_with_the_place_where_it_was_stopped() -> None:
    instruments, rule = Instruments((990, 1000), (990, 1000)), StoppingRule(window=2)
    full, short = [150, 240, 294, 296, 296, 296, 297], [150, 240, 294, 296, 296]
    curves = [curve(seed, counts, stops=stops) for seed in (0, 1) for stops, counts in ((False, full), (True, short))]
    curve_table, stopping = curve_rows(curves, instruments, rule), stopping_rows(curves, instruments, rule)
    plot = infusion(curve_table, stopping)
    assert plot is not None
    again = infusion(curve_table, stopping)
    assert again is not None
    assert plot.svg == again.svg
    for text in ("seed 0", "seed 1", "ObjecQA", "validation loss", "step 16, 33 % saved", "training rows seen"):
        assert text in plot.svg
    assert infusion([], []) is None
