"""The scorers by name. Local ones are made here; those with a model import their engine then, and no other does.

Judges are made elsewhere, as they need an endpoint. `SHIPPED_SCORERS.make("rouge1")`, or `make(spec)`, gives a ready
scorer. What ships is one immutable value; a study with scorers of its own has another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from assay.config import validate
from assay.errors import ConfigError
from assay.records import Mode
from assay.scoring.named import check_names_differ
from assay.scoring.protocol import Scorer, ScorerSpec
from assay.scoring.scorers import heuristics, models, references
from assay.scoring.scorers import tone as tone_scorer


@dataclass(frozen=True)
class ScorerEntry:
    """A local scorer of the table."""

    name: str
    """In studies and tables."""
    spec: Callable[[Mode], ScorerSpec]
    """Its default spec in a mode."""
    make: Callable[[ScorerSpec], Scorer]
    """A scorer from a spec of this name."""
    reads_tasks: bool = False
    """Whether its ratings depend on what a task says of its answers: then a study's own tasks are part of its spec."""
    origin: str = "assay"
    """What brings it."""


@dataclass(frozen=True)
class Scorers:
    """Local scorers by name. Immutable."""

    entries: tuple[ScorerEntry, ...]

    def make(self, scorer: str | ScorerSpec, mode: Mode = "strict") -> Scorer:
        """A local scorer by name (in a mode) or by its full spec (which states its mode).

        Raises:
            ConfigError: no local scorer has this name; the message lists them.
        """
        spec = self.spec(scorer, mode) if isinstance(scorer, str) else scorer
        return self._entry(spec.name).make(spec)

    def check(self, spec: ScorerSpec) -> None:
        """Refuse the spec of a scorer that does not exist, without making one.

        Raises:
            ConfigError: no local scorer has this name; the message lists them.
        """
        self._entry(spec.name)

    def spec(self, name: str, mode: Mode = "strict", **params: str | int | float | bool | None) -> ScorerSpec:
        """The spec of a local scorer, with these parameters changed.

        Raises:
            ConfigError: no local scorer has this name, or it has no such parameter.
        """
        default = self._entry(name).spec(mode)
        if stray := sorted(set(params) - set(default.params)):
            raise ConfigError(
                f"scorer {name!r}: saw the parameter {stray[0]!r}; expected one of {sorted(default.params) or 'none'}"
            )
        fields = {**default.model_dump(), "params": {**default.params, **params}}
        return validate(ScorerSpec, fields, f"scorer {name!r}")

    def origin(self, name: str) -> str:
        """What brings a scorer: "assay", or a plug-in."""
        return self._entry(name).origin

    def replaced(self, entry: ScorerEntry) -> Scorers:
        """These with one made in another way."""
        return Scorers(tuple(entry if known.name == entry.name else known for known in self.entries))

    def reads_tasks(self, name: str) -> bool:
        return self._entry(name).reads_tasks

    @property
    def names(self) -> tuple[str, ...]:
        """Of all local scorers, sorted."""
        return tuple(sorted(self._by_name))

    def extended(self, further: Iterable[ScorerEntry]) -> Scorers:
        """These and further ones.

        Raises:
            ConfigError: a name is taken.
        """
        added = (*self.entries, *further)
        check_names_differ("scorer", (entry.name for entry in added))
        return Scorers(added)

    def _entry(self, name: str) -> ScorerEntry:
        if name not in self._by_name:
            raise ConfigError(f"scorer: saw {name!r}; expected one of {', '.join(self.names)}; take one of these")
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, ScorerEntry]:
        return {entry.name: entry for entry in self.entries}


SHIPPED_SCORERS = Scorers(
    tuple(
        ScorerEntry(name, spec, make, reads_tasks=name in ("heuristic", "exact_match"))
        for name, spec, make in (
            *references.SCORERS,
            *heuristics.SCORERS,
            *models.SCORERS,
            *tone_scorer.SCORERS,
        )
    )
)
"""What Assay brings."""
