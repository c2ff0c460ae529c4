"""What commands ask of a study, whichever kind it is: `plan`, `run`, `status`, `report`, `compare` and `track`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from assay.commands.options import RunFlags
from assay.studies.planning.throughput import Rates

if TYPE_CHECKING:
    from assay.store import Store


@dataclass(frozen=True)
class Named:
    """A study as a command line names it."""

    reference: str
    """A builtin study, or a YAML file."""
    overrides: Sequence[str]
    storage: str


@dataclass(frozen=True)
class Points:
    """Numbers of a finished study that those of another one may be held against."""

    what: str
    """What one is of, for messages: "task, scorer and N"."""
    named: tuple[str, ...]
    """What the parts of a key after the first are."""
    points: Mapping[tuple[Any, ...], Mapping[str, Any]]
    """Model and the values of `named` -> mean, low and high; None where there is none."""


class StudyKind(Protocol):
    """One kind. Each method is what the command of that name does; it prints, or raises an `AssayError`."""

    def knows(self, reference: str) -> bool:
        """Whether a builtin name or a study file is of this kind."""
        ...

    def wrote(self, store: Store, name: str) -> bool:
        """Whether the study of this folder is of this kind."""
        ...

    def plan(self, study: Named, speed: Rates | None, *, as_json: bool) -> None:
        """What it takes, before anything is started."""
        ...

    def run(self, study: Named, flags: RunFlags) -> None:
        """Run it, or continue it."""
        ...

    def status(self, study: Named, *, as_json: bool) -> None:
        """How far it is."""
        ...

    def report(self, store: Store, name: str, audit: Path | None) -> None:
        """Write its report again, from what it stored."""
        ...

    def points(self, store: Store, name: str) -> Mapping[str, Points]:
        """What a finished study can be compared by, the most telling first.

        Raises:
            ConfigError: it is not finished.
        """
        ...

    def track(self, store: Store, name: str, uri: str | None) -> None:
        """Send its runs to MLflow, to `uri` or where the study says."""
        ...
