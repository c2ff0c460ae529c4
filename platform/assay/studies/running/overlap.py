"""The judge of a wave beside the training of the next one: when, how many judges, and whose error is told.

Trainings stay in the caller's thread, where signals arrive; the judge gets one of its own. What either side does,
others say: nothing here knows an engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass

from assay.errors import LimitReached
from assay.hooks import Progress
from assay.llm.endpoint import EndpointSpec
from assay.studies.spec import Study

LEAST_CPUS = 4
"""Of the cluster; with fewer, waves are judged before the next one trains."""
JUDGES_SHARE = 0.25
"""Of the cluster's CPUs, what judges may have at most beside trainings."""
STOP_S = 5.0
"""For a judge that is told to stop: it looks up once a second."""

Stop = Callable[[], bool]
"""Whether to stop, asked as often as the work likes."""
Work = Callable[[Stop], None]


def may_overlap(study: Study, endpoint: EndpointSpec) -> bool:
    """Whether a judge may be asked while the next wave trains: it has no model here, and nobody waits for its scores.

    A study with `decide` goes by them between its waves. Barriers of `exits` go by validation losses, before any wave.
    """
    return endpoint.kind.is_remote and study.decide is None


def judges_beside(wanted: int, cpus_per_judge: float, cpus: float) -> int:
    """Judges that CPUs are set aside for, of those wanted; 0: nothing overlaps.

    Args:
        wanted: judge actors as they would be without trainings beside them.
        cpus_per_judge: CPUs of one.
        cpus: of the cluster.
    """
    if cpus < LEAST_CPUS:
        return 0
    return min(wanted, int(cpus * JUDGES_SHARE / cpus_per_judge))


def run_beside(main: Work, beside: Work) -> None:
    """Both works at once, `main` in this thread; returns when both are over.

    Where `beside` fails, `main` is asked to stop, and the error of `beside` is the one that is raised: it comes first
    where one follows the other. Where `main` fails, `beside` goes on to its end, as what it pays for is wanted in any
    case. A signal (any exception that is no `Exception`) stops both.

    Raises:
        Exception: what `beside` raised, else what `main` did.
    """
    stop_main, stop_beside = threading.Event(), threading.Event()
    over = threading.Event()  # `Thread.join`, interrupted by a signal, takes the thread for dead from then on
    failures: list[BaseException] = []
    late: list[BaseException] = []

    def run() -> None:
        try:
            beside(stop_beside.is_set)
        except BaseException as error:
            failures.append(error)
            stop_main.set()
        finally:
            over.set()

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True, name="assay-judging")
    try:
        thread.start()
        try:
            main(stop_main.is_set)
        except Exception as error:
            if _comes_of_a_signal(error):
                raise
            late.append(error)
        over.wait()
    except BaseException:  # a signal, wherever it came
        stop_beside.set()
        over.wait(STOP_S)
        raise
    for failure in (*failures, *late):
        raise failure


def _comes_of_a_signal(error: BaseException) -> bool:
    """Whether an engine told of its interruption in words of its own: Ray's `wait` raises a SystemError."""
    seen: BaseException | None = error
    while seen is not None:
        if not isinstance(seen, Exception):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


@dataclass(frozen=True)
class StoppableProgress:
    """A stage's progress whose next call ends the stage once it is to stop."""

    inner: Progress
    stop: Stop

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        """A stage begins."""
        self._look()
        self.inner.start(stage, total, done=done, unit=unit)

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        """More is done.

        Raises:
            LimitReached: it is to stop.
        """
        self._look()
        self.inner.advance(stage, count, **info)

    def finish(self, stage: str, note: str = "") -> None:
        """The stage is over."""
        self.inner.finish(stage, note)

    def _look(self) -> None:
        if self.stop():
            raise LimitReached("stopped; the same command continues from here")
