"""What a run of a study spent, stage by stage; shown in the report and in no result table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Costs:
    """Seconds and a sentence per stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    trainings: dict[str, float] = field(default_factory=dict)
    """Adapter key -> device-seconds of its optimizer steps, of those that runs of this study trained."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; a stage entered again adds to its time."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started

    def note(self, name: str, text: str) -> None:
        """Say in one sentence what a stage did."""
        self.notes[name] = f"{self.notes[name]}; {text}" if name in self.notes else text

    def rows(self) -> list[dict[str, Any]]:
        """One row per stage in order of its start."""
        return [
            {"stage": name, "seconds": seconds, "what": self.notes.get(name, "")}
            for name, seconds in self.seconds.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """All of it, for `add`."""
        return {"stages": self.rows(), "trainings": self.trainings}

    def add(self, spent: Mapping[str, Any]) -> None:
        """Take in what earlier runs of the study spent."""
        self.trainings.update(spent.get("trainings", {}))  # not there in studies begun before
        for row in spent["stages"]:
            self.seconds[row["stage"]] = self.seconds.get(row["stage"], 0.0) + row["seconds"]
            if row["what"]:
                self.note(row["stage"], row["what"])
