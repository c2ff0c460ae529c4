"""What the study tables count as one: draws, not adapters; and whose spread an interval knows."""

from __future__ import annotations

import numpy as np

from assay.metaeval.statistics.bootstrap import seeded
from assay.metaeval.study_tables.agreement import metaeval_rows, paired_rows
from assay.metaeval.study_tables.frame import Panel, ScorerInfo, StudyFrame
from assay.metaeval.study_tables.options import TableOptions
from assay.metaeval.study_tables.series import set_mean_rows
from bench.coverage import TRUE_SCORER, null_frame

OTHER = ScorerInfo("noisy", 1, "higher", 0.0, 1.0, "heuristic")


def frame_of(seeds_at_zero: int, seeds: int) -> StudyFrame:
    """A study of nothing, under the truth and a scorer that errs in a fifth of the answers."""
    frame = null_frame(seeded("units"), seeds_at_zero, seeds, 0.3)
    rng = np.random.default_rng(0)
    panels = {}
    for name, panel in frame.panels.items():
        wrong = rng.random(panel.values.shape) < 0.2
        values = np.concatenate([np.where(wrong, 1 - panel.values, panel.values), panel.values])
        panels[name] = Panel(name, panel.runs, panel.items, values)
    return StudyFrame((OTHER, TRUE_SCORER), panels, {})


def test_seeds_of_one_draw_are_one_cluster_of_correlations() -> None:
    # 4 sizes x 3 draws and 3 runs at N = 0, of 7 tasks; with 3 seeds a draw there are still as many
    for seeds in (1, 3):
        frame = frame_of(3, seeds)
        rows = paired_rows(frame, list(frame.panels.values()), 0, 1, "run")
        assert rows.num_rows == 7 * (4 * 3 * seeds + 3)
        assert rows.num_runs == 7 * (4 * 3 + 3)


def test_gains_over_one_run_borrow_its_spread() -> None:
    options = TableOptions(human="truth", seed_key="units", resamples=50)
    methods = {}
    for at_zero in (1, 3):
        rows = metaeval_rows(frame_of(at_zero, 1), options)
        methods[at_zero] = {row["method"] for row in rows if row["statistic"] == "TFA_absolute"}
    assert all("borrowed" in method for method in methods[1])
    assert methods[3] == {"studentised, items and runs"}


def test_sizes_that_differ_are_no_spread_of_runs() -> None:
    # every answer of N = 500 right, all others wrong: fixed sizes say nothing about what a further run would do
    frame = frame_of(3, 1)
    widths = []
    for gain in (False, True):
        panels = {}
        for name, panel in frame.panels.items():
            values = panel.values.copy()
            at_most = [row for row, run in enumerate(panel.runs) if run.num_target == 500]
            if gain:
                values[:, at_most] = 1.0
            panels[name] = Panel(name, panel.runs, panel.items, values)
        rows = set_mean_rows(StudyFrame(frame.scorers, panels, {}))
        widths.append(np.mean([row["high"] - row["low"] for row in rows if row["scorer"] == "truth"]))
        assert {row["unit"] for row in rows} == {"items and runs"}
    assert widths[1] < widths[0]
