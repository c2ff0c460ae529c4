"""Studies by name or file: builtin values, YAML files, and dotted overrides on either."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.config import apply_overrides, read_yaml, validate
from assay.errors import ConfigError
from assay.studies.builtin import BUILTIN
from assay.studies.spec import Study


def load_study(reference: str, overrides: Sequence[str] = ()) -> Study:
    """A study by builtin name or YAML path, with `a.b=VALUE` overrides.

    A YAML file may say `extends: NAME` to start from a builtin study and give only what differs.

    Raises:
        ConfigError: no such study, or one that does not validate; one line that names the field.
    """
    if reference in BUILTIN:
        data = BUILTIN[reference]().model_dump(mode="json")
        source = f"study {reference!r}"
    elif Path(reference).suffix in (".yaml", ".yml"):
        data = read_yaml(Path(reference))
        source = reference
        parent = data.pop("extends", None)
        if parent is not None:
            if parent not in BUILTIN:
                raise ConfigError(f"{source}: extends {parent!r}; expected one of {', '.join(sorted(BUILTIN))}")
            data = _merge(BUILTIN[parent]().model_dump(mode="json"), data)
    else:
        raise ConfigError(
            f"study {reference!r}: saw no builtin study or .yaml file of this name; "
            f"expected one of {', '.join(sorted(BUILTIN))}, or a path that ends in .yaml"
        )
    return validate(Study, apply_overrides(data, overrides), source)


def _merge(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    """`above` laid over `below`, mapping by mapping."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
