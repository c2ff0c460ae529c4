"""What a plug-in adds: the object that its `register` is given (see docs/extending.md). Only names are checked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assay.errors import ConfigError

ScorerKind = Literal["reference", "heuristic", "human"]


@dataclass(frozen=True)
class AddedScorer:
    """A scorer of a plug-in."""

    rate: Callable[..., Any]
    kind: ScorerKind
    low: float | None
    high: float | None
    version: int
    params: Mapping[str, str | int | float | bool | None]


@dataclass
class Registrations:
    """Parts by kind and name."""

    scorers: dict[str, AddedScorer] = field(default_factory=dict)
    heuristics: dict[str, Callable[..., Any]] = field(default_factory=dict)
    protocols: dict[str, Callable[..., Any]] = field(default_factory=dict)
    tasks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    loaders: dict[str, Callable[..., Any]] = field(default_factory=dict)
    objectives: dict[str, type[Any]] = field(default_factory=dict)
    designs: dict[str, type[Any]] = field(default_factory=dict)

    def add_scorer(
        self,
        name: str,
        rate: Callable[..., Any],
        *,
        kind: ScorerKind = "reference",
        low: float | None = 0.0,
        high: float | None = 1.0,
        version: int = 1,
        params: Mapping[str, str | int | float | bool | None] | None = None,
    ) -> None:
        """A scorer: higher is better.

        Args:
            name: its name in studies and tables.
            rate: called with a `ScoreRequest` and the parameters by name for each answer; gives a number in
                low..high, a `Rating`, an `Unscored`, or None where there is no score.
            kind: what it rests on.
            low: smallest number; None where there is no lower end.
            high: largest number; None where there is no upper end.
            version: raised whenever the same answer would get another number.
            params: parameters with their defaults, which `scorer_params` of a study may change.
        """
        self._add(self.scorers, "scorer", name, AddedScorer(rate, kind, low, high, version, dict(params or {})))

    def add_heuristic(self, name: str, rule: Callable[..., Any]) -> None:
        """A rule that tasks may name as `heuristic`: called with a `ScoreRequest`, gives 0..1, a `Rating` or None."""
        self._add(self.heuristics, "heuristic", name, rule)

    def add_protocol(self, name: str, make: Callable[..., Any]) -> None:
        """A pointwise judge protocol: `make(mode=..., ...)` gives one, see docs/extending.md.

        It is also given `temperature` and `structured` where it has such parameters.
        """
        self._add(self.protocols, "judge protocol", name, make)

    def add_task(self, name: str, **fields: Any) -> None:
        """A task, by the fields of a study file's `tasks`."""
        self._add(self.tasks, "task", name, fields)

    def add_loader(self, name: str, read: Callable[..., Any]) -> None:
        """A form of files: `read(path)` gives the rows of a file as mappings of column to value."""
        self._add(self.loaders, "loader", name, read)

    def add_objective(self, name: str, kind: type[Any]) -> None:
        """A training method: a class derived from `Objective` whose `method` is this name, see docs/extending.md."""
        self._add(self.objectives, "objective", name, kind)

    def add_design(self, name: str, kind: type[Any]) -> None:
        """A design: a class derived from `DesignBase` whose `design` is this name, see docs/extending.md."""
        self._add(self.designs, "design", name, kind)

    def _add(self, parts: dict[str, Any], what: str, name: str, part: object) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{what}: saw the name {name!r}; expected text")
        if name in parts:
            raise ConfigError(f"{what} {name!r}: saw a second definition; expected one; give one another name")
        parts[name] = part
