"""What a training remembers: when it stops early, and that a checkpoint brings all of it back."""

from __future__ import annotations

import json

from assay.training.run_state import RunState, history_table
from assay.training.spec import StepMetrics


def metrics(step: int, validation_loss: float | None = None) -> StepMetrics:
    return StepMetrics(
        step=step,
        total_steps=10,
        loss=2.0 / step,
        learning_rate=1e-3,
        grad_norm=0.5,
        answer_tokens=7,
        step_s=0.25,
        eval_s=0.0,
        validation_loss=validation_loss,
        metrics={"ifs/raw": 0.5},
    )


def test_early_stopping_counts_validations_in_a_row_that_are_no_better() -> None:
    run = RunState()
    seen = []
    for step, loss in enumerate((3.0, 3.0, 2.0, 2.5, 2.0), 1):
        run.step = step
        seen.append(run.judge(loss, patience=2))
        assert (run.stop_reason != "") == (step == 5)
    assert seen == [True, False, True, False, False]
    assert (run.best_step, run.best_validation_loss, run.stop_reason) == (3, 2.0, "early stopping")


def test_without_patience_nothing_stops() -> None:
    run = RunState(step=1)
    assert run.best_validation_loss is None
    assert [run.judge(loss, patience=None) for loss in (1.0, 2.0, 3.0)] == [True, False, False]
    assert run.stop_reason == ""


def test_a_checkpoint_brings_all_back() -> None:
    run = RunState(step=2)
    run.record(metrics(1))
    run.record(metrics(2, validation_loss=1.5))
    for _ in range(2):
        again = RunState.from_checkpoint(run.step, json.loads(json.dumps(run.to_info())), None)
        assert again == run
        run.judge(1.5, patience=None)
    assert (run.trained_tokens, run.step_s) == (14, 0.5)


def test_history_is_one_line_a_step() -> None:
    run = RunState()
    run.record(metrics(1, validation_loss=1.5))
    run.record(metrics(2))
    table = history_table(run.history)
    assert table.column("step").to_pylist() == [1, 2]
    assert table.column("validation_loss").to_pylist() == [1.5, None]
    assert json.loads(table.column("hooks_json")[0].as_py()) == {"ifs/raw": 0.5}
    assert history_table([]).column_names == table.column_names
