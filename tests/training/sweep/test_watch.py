"""What a sweep hands to Tune may hold what cannot be pickled: a terminal's bars, a lock."""

from __future__ import annotations

import threading

import ray.cloudpickle

from assay.commands.log_lines import LoggedProgress
from assay.commands.progress import BarProgress
from assay.training.sweep.first_failures import FirstFailures
from assay.training.sweep.ray_sweep import GiveUp
from assay.training.sweep.ray_watch import STAGE, SweepWatch


def test_tune_can_write_down_its_settings_while_a_terminal_shows_bars() -> None:
    bars = BarProgress()
    bars.start(STAGE, 3)
    try:
        watch = SweepWatch(LoggedProgress(bars), None, 0.0, FirstFailures(1))
        assert ray.cloudpickle.dumps([watch, GiveUp(watch.first_failures, threading.Event().is_set)])
    finally:
        bars.finish(STAGE)
