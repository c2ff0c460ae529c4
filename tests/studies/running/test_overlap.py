"""The judge beside the next wave's training: when, on how many CPUs, who stops whom, and whose error is told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import partial

import pytest

from assay.errors import EndpointError, LimitReached, StageError
from assay.hooks import SilentProgress
from assay.llm.endpoint import EndpointSpec
from assay.studies.builtin.paper import quickstart
from assay.studies.running.overlap import Stop, StoppableProgress, judges_beside, may_overlap, run_beside

PATIENCE_S = 60
"""For what happens at once unless it never does."""


def nothing(stop: Stop) -> None:
    """A work that is over at once."""


def raises(error: BaseException) -> Callable[[Stop], None]:
    """A work that fails at once."""

    def work(stop: Stop) -> None:
        raise error

    return work


def until_stopped(stop: Stop, ended: threading.Event | None = None) -> None:
    """A work that goes on until it is told to stop, and then sets `ended`."""
    clock = threading.Event()
    for _ in range(PATIENCE_S * 100):
        if stop():
            if ended is not None:
                ended.set()
            raise LimitReached("stopped half way")
        clock.wait(0.01)
    raise AssertionError("nobody told it to stop")


@pytest.mark.parametrize(
    ("wanted", "cpus_per_judge", "cpus", "judges"),
    [
        (1, 1, 3.9, 0),
        (1, 1, 4, 1),
        (8, 1, 4, 1),
        (8, 1, 8, 2),
        (1, 2, 4, 0),
        (1, 2, 8, 1),
        (8, 0.5, 4, 2),
        (8, 0.1, 3, 0),
    ],
)
def test_judges_get_a_quarter_of_four_cpus_or_more(
    wanted: int, cpus_per_judge: float, cpus: float, judges: int
) -> None:
    assert judges_beside(wanted, cpus_per_judge, cpus) == judges


def test_a_model_on_these_machines_and_a_study_that_goes_by_scores_wait_for_each_other() -> None:
    study, asked = quickstart(), EndpointSpec(model="m")
    assert may_overlap(study, asked)
    assert may_overlap(study, asked.replace(transport="batch"))
    assert not may_overlap(study, asked.replace(transport="local"))
    decide = {"rounds": [{"draws": 2, "items": 10}], "baseline": "a", "scorer": "judge", "margin": 0.1}
    decided = study.model_copy(update={"decide": decide})
    assert not may_overlap(decided, asked)


def test_both_works_go_on_at_once() -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE_S)
    threads = []

    def meets(stop: Stop) -> None:
        meeting.wait()
        threads.append(threading.current_thread())
        assert not stop()

    run_beside(meets, meets)
    assert len(set(threads)) == 2 and threading.main_thread() in threads


def test_the_error_beside_stops_the_training_and_is_the_one_that_is_told() -> None:
    with pytest.raises(EndpointError, match="down"):
        run_beside(until_stopped, raises(EndpointError("the judge is down")))
    with pytest.raises(LimitReached, match="budget"):
        run_beside(nothing, raises(LimitReached("the budget is spent")))


def test_a_training_that_fails_lets_the_judge_come_to_its_end() -> None:
    failed, ended = threading.Event(), threading.Event()

    def fails(stop: Stop) -> None:
        failed.set()
        raise StageError("a training failed")

    def judges(stop: Stop) -> None:
        assert failed.wait(PATIENCE_S)
        assert not stop()
        ended.set()

    with pytest.raises(StageError, match="a training failed"):
        run_beside(fails, judges)
    assert ended.is_set()


def test_where_both_fail_it_is_as_if_one_had_followed_the_other() -> None:
    failed = threading.Event()

    def fails(stop: Stop) -> None:
        failed.set()
        raise StageError("a training failed")

    def judges(stop: Stop) -> None:
        assert failed.wait(PATIENCE_S)
        raise LimitReached("the budget is spent")

    with pytest.raises(LimitReached, match="budget"):
        run_beside(fails, judges)


@pytest.mark.parametrize("trains", [True, False], ids=["while it trains", "while it waits for the judge"])
def test_a_signal_stops_both(trains: bool) -> None:
    began, ended = threading.Event(), threading.Event()

    def train(stop: Stop) -> None:
        assert began.wait(PATIENCE_S)
        if trains:
            raise KeyboardInterrupt

    def judges(stop: Stop) -> None:
        began.set()
        if not trains:  # the other thread has nothing left to do but to wait
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        until_stopped(stop, ended)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs tests in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_beside(train, judges)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.is_set()


def test_an_engine_that_tells_of_a_signal_in_its_own_words_is_interrupted_all_the_same() -> None:
    ended = threading.Event()

    def train(stop: Stop) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as signalled:
            raise SystemError("wait returned a result with an exception set") from signalled

    with pytest.raises(SystemError):
        run_beside(train, partial(until_stopped, ended=ended))
    assert ended.is_set()


def test_a_stage_that_is_to_stop_ends_at_its_next_word() -> None:
    stop = threading.Event()
    progress = StoppableProgress(SilentProgress(), stop.is_set)
    progress.start("scoring", 3)
    progress.advance("scoring", 0)
    stop.set()
    with pytest.raises(LimitReached):
        progress.advance("scoring", 0)
    progress.finish("scoring")
