"""How far a study is, for people: Rich bars on a terminal, plain lines elsewhere (job logs, pipes, CI)."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assay.hooks import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

LINE_EVERY_S = 5.0
SAME_EVERY_S = 30.0
"""A line that says what the last one said: proof of life, not news."""


def console_progress() -> Progress:
    """Bars where standard error is a terminal, else lines."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


@dataclass
class _Stage:
    total: int
    done: int
    unit: str
    started_s: float
    printed_s: float = 0.0
    told: str = ""
    info: dict[str, object] = field(default_factory=dict)
    first: tuple[float, int] | None = None
    """When something was first done, and how much was then: an engine's start says nothing about its speed."""

    def advance(self, count: int, info: dict[str, object], now_s: float) -> None:
        self.done += count
        self.info |= info
        if self.first is None and count:
            self.first = (now_s, self.done)


class LineProgress:
    """A line per stage at its start and end, and one every few seconds between."""

    def __init__(self) -> None:
        self._stages: dict[str, _Stage] = {}

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        """Announce a stage."""
        now = time.monotonic()
        self._stages[stage] = _Stage(total, done, unit, now, now)
        found = f", {done} already in the store" if done else ""
        self._print(f"{stage}: {total} {unit}".rstrip() + found)

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        """Count; print when it is time."""
        state = self._stages.get(stage)
        if state is None:
            return
        now = time.monotonic()
        state.advance(count, info, now)
        if now - state.printed_s < LINE_EVERY_S:
            return
        told = f"{stage}: {_position(state)}{_figures(state.info)}"
        if told == state.told and now - state.printed_s < SAME_EVERY_S:
            return
        state.printed_s, state.told = now, told
        self._print(told + _left(state, now))

    def finish(self, stage: str, note: str = "") -> None:
        """Say that the stage is over."""
        state = self._stages.pop(stage, None)
        if state is not None:
            took = time.monotonic() - state.started_s
            self._print(f"{stage}: done in {took:.1f} s{_figures(state.info)}" + (f"; {note}" if note else ""))

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the progress output


class BarProgress:
    """Live bars, one per stage."""

    def __init__(self) -> None:
        self._stages: dict[str, _Stage] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars: RichBars | None = None

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        """Show a bar."""
        bars = self._live()
        self._stages[stage] = _Stage(total, done, unit, time.monotonic())
        if stage in self._tasks:
            bars.remove_task(self._tasks.pop(stage))
        self._tasks[stage] = bars.add_task(stage, total=max(total, 1), completed=done, unit=unit, figures="")

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        """Move the bar."""
        state = self._stages.get(stage)
        if state is not None:
            state.advance(count, info, time.monotonic())
            self._live().update(self._tasks[stage], completed=state.done, figures=_figures(state.info))

    def finish(self, stage: str, note: str = "") -> None:
        """Leave the bar full; the last stage ends the live display."""
        state = self._stages.pop(stage, None)
        if state is None:
            return
        bars = self._live()
        figures = _figures(state.info) + (f"  {note}" if note else "")
        bars.update(self._tasks[stage], completed=max(state.total, 1), figures=figures)
        bars.stop_task(self._tasks[stage])
        if not self._stages:
            bars.stop()
            self._bars, self._tasks = None, {}

    def _live(self) -> RichBars:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description:<12}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("[dim]{task.fields[figures]}"),
                console=Console(stderr=True),
                refresh_per_second=4,
            )
            self._bars.start()
        return self._bars


def _position(state: _Stage) -> str:
    share = f" ({100 * state.done / state.total:.0f} %)" if state.total else ""
    return f"{state.done}/{state.total} {state.unit}".rstrip() + share


def _figures(info: dict[str, object]) -> str:
    parts = [f"{name.replace('_', ' ')} {_figure(value)}" for name, value in info.items() if value is not None]
    return "  " + ", ".join(parts) if parts else ""


def _figure(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"


def _left(state: _Stage, now: float) -> str:
    if state.first is None or state.done >= state.total:
        return ""
    since_s, counted = state.first
    new = state.done - counted
    return f", about {(now - since_s) / new * (state.total - state.done):.0f} s left" if new else ""
