from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.store import Store
from assay.training.checkpoints import Checkpoints, TrialState


def state(step: int) -> TrialState:
    return TrialState(step, {"weight/a": np.full((2, 3), step, np.float32)}, {"best_step": None, "step_s": 0.5})


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(Store(str(tmp_path)), "0" * 32)


def test_the_newest_checkpoint_wins(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None
    for step in (5, 10, 15):
        checkpoints.save(state(step))
        latest = checkpoints.latest()
        assert latest is not None
        assert latest.step == step
        assert latest.info == {"best_step": None, "step_s": 0.5}
        np.testing.assert_array_equal(latest.tensors["weight/a"], state(step).tensors["weight/a"])


def test_a_writer_killed_midway_leaves_the_older_checkpoint(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(state(5))
    checkpoints.save(state(10))

    def dies(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.numpy.save", dies)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(state(15))
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step == 10


def test_cleared_checkpoints_are_gone(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(state(5))
    checkpoints.save(state(10))
    checkpoints.clear()
    assert checkpoints.latest() is None
    assert Store(str(tmp_path)).keys("checkpoint") == set()


def test_a_training_that_stops_early_does_not_go_on_from_a_later_step(tmp_path: Path) -> None:
    store, key = Store(str(tmp_path)), "0" * 32
    for step in (5, 10):
        Checkpoints(store, key).save(state(step))
    steps = {at: Checkpoints(store, key, at).latest() for at in (4, 5, 9, 10)}
    assert {at: None if found is None else found.step for at, found in steps.items()} == {4: None, 5: 5, 9: 5, 10: 10}
