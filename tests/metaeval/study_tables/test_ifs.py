"""What stopping saved and lost, worked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from assay.metaeval.statistics.ifs_stopping import StoppingRule
from assay.metaeval.study_tables.columns import make_table
from assay.metaeval.study_tables.ifs import (
    IFS_COLUMNS,
    Instruments,
    JudgeTest,
    TrialCurve,
    curve_rows,
    instrument_rows,
    stopping_rows,
)

NUM_PROMPTS = 300
PERFECT = Instruments(
    (1000, 1000), (1000, 1000), case_rule=(95, 100), judge={"validation": JudgeTest((57, 58), {"refused": 2})}
)
RULE = StoppingRule(window=2)


def curve(
    counts: Sequence[int], *, stops: bool, objective: Sequence[float], exact: dict[str, float | None]
) -> TrialCurve:
    steps = tuple(4 * at for at in range(len(counts)))
    return TrialCurve(
        adapter_key="s" * 32 if stops else "f" * 32,
        base_model="tiny",
        arm="a N=8",
        draw=0,
        training_seed=1,
        stops=stops,
        batch_size=16,
        steps=steps,
        labels=np.array([np.arange(NUM_PROMPTS) < count for count in counts]),
        is_partial=np.arange(NUM_PROMPTS) % 2 == 0,
        objective=np.tile(np.array(objective, dtype=float), (len(counts), 1)),
        unscored=tuple({"refused": 1} for _ in counts),
        validation_loss={step: 1.0 / step for step in steps[1:]},
        target_scores=exact,
    )


FULL = curve(
    [100, 280, 290, 290, 291, 293], stops=False, objective=[1, 1, 0, math.nan], exact={"x": 1.0, "y": 1.0, "z": None}
)
STOPPED = curve(
    [100, 280, 290, 290, 291], stops=True, objective=[1, 0, 0, math.nan], exact={"x": 1.0, "y": 0.0, "z": 1.0}
)  # fmt: skip


def test_a_pair_of_runs_says_what_stopping_saved_and_lost() -> None:
    """The gain over two evaluations is 1 of 300 at step 16, and 10 of 300 one evaluation before."""
    (row,) = stopping_rows([FULL, STOPPED], PERFECT, RULE)
    assert (row["full_steps"], row["stopped_steps"], row["infused_step"], row["steps_saved"]) == (20, 16, 16, 4)
    assert row["infused_examples"] == 16 * 16
    assert row["share_saved"] == pytest.approx(0.2)
    assert row["same_prefix"]
    assert row["ifs_lost"] == pytest.approx(2 / 300)  # 293 - 291
    assert row["ifs_lost_low"] < 0 < row["ifs_lost_high"]
    assert (row["objecqa_full"], row["objecqa_stopped"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (row["objecqa_n"], row["objecqa_missing"]) == (3, 1)
    assert row["objecqa_drift"] == pytest.approx(1 / 3)
    assert (row["exact_match_n"], row["exact_match_missing"]) == (2, 1)
    assert row["exact_match_lost"] == pytest.approx(0.5)
    assert (row["validation_loss_full"], row["validation_loss_stopped"]) == (1 / 20, 1 / 16)
    assert row["reason"] == ""
    make_table("early_stopping", [row], IFS_COLUMNS)


def test_curves_start_before_training_and_count_what_changed() -> None:
    rows = curve_rows([FULL, STOPPED], PERFECT, RULE)
    table = make_table("ifs_curves", rows, IFS_COLUMNS)
    assert table.num_rows == 11
    first, second, *_, last = [row for row in rows if row["run"] == "full"]
    assert (first["step"], first["examples"], first["num_changed"]) == (0, 0, None)
    assert (second["examples"], second["num_changed"]) == (64, 180)
    assert [first["ifs"], first["corrected"]] == pytest.approx(
        [1 / 3, 1 / 3]
    )  # a perfect classifier needs no correction
    assert math.isnan(first["validation_loss"])
    assert last["ifs_partial"] == pytest.approx(147 / 150)
    assert [row["infused"] for row in rows if row["run"] == "stopped"] == [False, False, False, False, True]
    assert first["objecqa_unscored"] == '{"refused": 1}'


def test_a_rule_that_never_held_says_so() -> None:
    low = curve([100, 110, 120], stops=True, objective=[1.0], exact={})
    (row,) = stopping_rows([curve([100, 110, 120], stops=False, objective=[1.0], exact={}), low], PERFECT, RULE)
    assert row["infused_step"] is None
    assert row["steps_saved"] == 0
    assert "never held" in row["reason"]
    assert math.isnan(row["exact_match_full"])


def test_instruments_say_over_how_many_texts() -> None:
    rows = {(row["instrument"], row["measure"]): row for row in instrument_rows(PERFECT)}
    assert rows["ObjecQA judge", "accuracy (validation part of the sample)"]["rate"] == pytest.approx(57 / 58)
    assert rows["ObjecQA judge", "accuracy (validation part of the sample)"]["unscored"] == '{"refused": 2}'
    assert rows["case rule", "accuracy"]["n"] == 100
    assert rows["tone classifier", "sensitivity"]["rate_high"] == 1.0
