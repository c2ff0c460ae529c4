"""The scorers by name. Local ones are made here; those with a model import their engine then, and no other does.

Judges are made elsewhere, as they need an endpoint. `make_scorer("rouge1")` or `make_scorer(spec)`
gives a ready scorer; `register_scorer` adds one.
"""

from __future__ import annotations

from collections.abc import Callable

from assay.config import validate
from assay.errors import ConfigError
from assay.records import Mode
from assay.scoring.protocol import Scorer, ScorerSpec
from assay.scoring.scorers import heuristics, models, references
from assay.scoring.scorers import tone as tone_scorer

_Make = Callable[[ScorerSpec], Scorer]

_SPECS: dict[str, Callable[[Mode], ScorerSpec]] = {}
_MAKERS: dict[str, _Make] = {}


def register_scorer(name: str, spec: Callable[[Mode], ScorerSpec], make: _Make) -> None:
    """Add a local scorer.

    Args:
        name: its name in studies and tables.
        spec: its default spec in a mode.
        make: a scorer from a spec of this name.

    Raises:
        ConfigError: the name is taken.
    """
    if name in _MAKERS:
        raise ConfigError(f"scorer {name!r}: saw a second definition; expected one; give yours another name")
    _SPECS[name], _MAKERS[name] = spec, make


def make_scorer(scorer: str | ScorerSpec, mode: Mode = "strict") -> Scorer:
    """A local scorer by name (in a mode) or by its full spec (which states its mode).

    Raises:
        ConfigError: no local scorer has this name; the message lists them.
    """
    spec = scorer_spec(scorer, mode) if isinstance(scorer, str) else scorer
    check_scorer(spec)
    return _MAKERS[spec.name](spec)


def check_scorer(spec: ScorerSpec) -> None:
    """Refuse the spec of a scorer that does not exist, without making one.

    Raises:
        ConfigError: no local scorer has this name; the message lists them.
    """
    if spec.name not in _MAKERS:
        raise _unknown(spec.name)


def scorer_spec(name: str, mode: Mode = "strict", **params: str | int | float | bool | None) -> ScorerSpec:
    """The spec of a local scorer, with these parameters changed.

    Raises:
        ConfigError: no local scorer has this name, or it has no such parameter.
    """
    if name not in _SPECS:
        raise _unknown(name)
    spec = _SPECS[name](mode)
    if stray := sorted(set(params) - set(spec.params)):
        raise ConfigError(
            f"scorer {name!r}: saw the parameter {stray[0]!r}; expected one of {sorted(spec.params) or 'none'}"
        )
    return validate(ScorerSpec, {**spec.model_dump(), "params": {**spec.params, **params}}, f"scorer {name!r}")


def scorer_names() -> tuple[str, ...]:
    """Names of all local scorers, sorted."""
    return tuple(sorted(_MAKERS))


def _unknown(name: str) -> ConfigError:
    return ConfigError(f"scorer: saw {name!r}; expected one of {', '.join(scorer_names())}; take one of these")


for _name, _spec, _make in (*references.SCORERS, *heuristics.SCORERS, *models.SCORERS, *tone_scorer.SCORERS):
    register_scorer(_name, _spec, _make)
