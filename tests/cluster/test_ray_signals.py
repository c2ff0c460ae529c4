"""Ray and Tune take signals for themselves; a study takes them back."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from assay.cluster import ray_cluster
from assay.cluster.environment import prepare_ray_environment
from assay.commands.stopping import clean_stop
from assay.errors import LimitReached, ResourceError
from assay.studies.resources import StudyResources


def as_ray_does(**_: object) -> None:
    """`ray.init` as of 2.60: its handler ends the process with the signal's number."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))


def test_sigterm_after_ray_has_started_is_still_a_clean_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster.ray, "init", as_ray_does)
    with pytest.raises(LimitReached, match="stopped by SIGTERM"), clean_stop():
        ray_cluster._start(StudyResources())
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


def test_a_ray_that_does_not_start_leaves_the_handler_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(**_: object) -> None:
        as_ray_does()
        raise RuntimeError("no room")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ray_cluster.ray, "init", failing)
    monkeypatch.setattr(ray_cluster.ray, "shutdown", lambda: None)
    with pytest.raises(ResourceError, match="no room"):
        ray_cluster._start(StudyResources())
    assert signal.getsignal(signal.SIGTERM) is before


def test_tune_leaves_ctrl_c_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"PATH": ""})  # what is set here stays here
    prepare_ray_environment()
    assert os.environ["TUNE_DISABLE_SIGINT_HANDLER"] == "1"
