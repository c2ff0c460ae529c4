"""What stages may be handed from outside: progress reporting and evaluations that run inside a trial.

Stages never import each other. Where one needs another's ability (a training loop that must score what its
own model writes), the composition root binds it to one of these protocols.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

EVENTS = logging.getLogger("assay.events")
"""What a run says of itself for machines; `commands/log_lines` writes it, nobody else listens."""

Generate = Callable[[Sequence[str], int], list[str]]
"""Greedy continuation of each prompt by at most so many new tokens, with the trial's own model."""


class EvalHook(Protocol):
    """An evaluation inside a trial. Its spec is part of the trial's identity where it can stop the trial."""

    name: str
    every_steps: int

    def __call__(self, generate: Generate, step: int) -> Mapping[str, float]:
        """Metrics at this optimizer step; a key `stop` with value 1.0 ends the trial after this step."""
        ...


@runtime_checkable
class RecordingHook(EvalHook, Protocol):
    """An `EvalHook` that also evaluates before the first step, and whose records are kept with the adapter.

    What it remembers is in the trial's checkpoints, so a resumed trial has the curve of one that was never stopped.
    """

    def begin(self, generate: Generate, state: Mapping[str, Any] | None) -> None:
        """Called once before the first step of this process: with `state()` of a checkpoint, or None in a new trial."""
        ...

    def state(self) -> dict[str, Any]:
        """All that it remembers, as JSON."""
        ...

    def write(self, folder: Path) -> None:
        """Put its records into the adapter's folder: no times, so that equal trials leave equal files."""
        ...


class Progress(Protocol):
    """Where a stage says how far it is. Calls are cheap and may come often, of two stages from two threads at a time.

    An error that a call raises ends the stage.
    """

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        """A stage begins: `total` units of work, `done` of them found in the store."""
        ...

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        """`count` more units are done; `info` holds live figures (loss, calls per minute, dollars)."""
        ...

    def finish(self, stage: str, note: str = "") -> None:
        """The stage is over."""
        ...


def log_event(stage: str, event: str, **fields: object) -> None:
    """Tell the structured log, where there is one. `cell` names the cell: its arm, draw and seed.

    Only keys, labels, counts and one-line errors belong in `fields`: no prompts, no replies.
    """
    EVENTS.info(event, extra={"stage": stage, "fields": fields})


class SilentProgress:
    """The `Progress` that says nothing, for tests and library use."""

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        """Nothing."""

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        """Nothing."""

    def finish(self, stage: str, note: str = "") -> None:
        """Nothing."""
