"""Studies by name or file: builtin values, YAML files, and dotted overrides on either."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.config import apply_overrides, read_yaml, validate
from assay.errors import ConfigError
from assay.records import Mode
from assay.studies.builtin.paper import BUILTIN, builtin
from assay.studies.dtypes import without_ruled_dtypes
from assay.studies.given.losses import with_losses_read
from assay.studies.ifs_models.builtin import IFS_STUDIES
from assay.studies.modes import MODES
from assay.studies.prompt_file import with_prompt_read
from assay.studies.spec import Study

MOST_EXTENSIONS = 5
"""Files that may extend one another."""


def load_study(reference: str, overrides: Sequence[str] = ()) -> Study:
    """A study by builtin name or YAML path, with `a.b=VALUE` overrides.

    A YAML file may say `extends: NAME` to start from a builtin study, or from a file beside it, and give only what
    differs.

    Raises:
        ConfigError: no such study, or one that does not validate; one line that names the field.
    """
    is_file = Path(reference).suffix in (".yaml", ".yml")
    if reference in BUILTIN or is_file:
        data = apply_overrides(_read(reference), overrides)
        if (mode := data.get("mode")) in MODES:  # a builtin below takes what follows from the mode, see `modes`
            data = apply_overrides(_read(reference, mode), overrides)
        folder = Path(reference).resolve().parent if is_file else Path.cwd()
        data = with_losses_read(with_prompt_read(data, folder), folder)
        if is_file:
            data = {**data, "study_folder": str(folder)}
        return validate(Study, data, reference if is_file else f"study {reference!r}")
    if reference in IFS_STUDIES:
        raise ConfigError(
            f"study {reference!r} compares models by IFS; expected a study with mixtures; `assay run {reference}` "
            "measures it"
        )
    raise ConfigError(
        f"study {reference!r}: saw no builtin study or .yaml file of this name; "
        f"expected one of {', '.join(sorted({**BUILTIN, **IFS_STUDIES}))}, or a path that ends in .yaml"
    )


def _read(reference: str, mode: Mode | None = None) -> dict[str, object]:
    """All fields of a builtin study, in this mode where one is named, or what a file gives."""
    if reference not in BUILTIN:
        return _read_file(Path(reference), mode)
    return without_ruled_dtypes(builtin(reference, mode).model_dump(mode="json"))


def _read_file(path: Path, mode: Mode | None, depth: int = 0) -> dict[str, object]:
    """A study file with what it extends laid under it."""
    data = read_yaml(path)
    parent = data.pop("extends", None)
    if parent is None:
        return data
    if parent in BUILTIN:
        return merge(_read(parent, mode), data)
    is_beside = isinstance(parent, str) and Path(parent).name == parent and (path.parent / parent).is_file()
    if not is_beside or depth >= MOST_EXTENSIONS:
        raise ConfigError(
            f"{path}: extends {parent!r}; expected one of {', '.join(sorted(BUILTIN))}, or a .yaml file beside it"
        )
    return merge(_read_file(path.parent / parent, mode, depth + 1), data)


def _design_of(grid: object) -> object:
    return grid.get("design", "target") if isinstance(grid, dict) else None


def merge(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    """`above` laid over `below`, mapping by mapping."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if key == "grid" and isinstance(value, dict) and value.get("design", "target") != _design_of(under):
            under = None  # another design has other fields
        merged[key] = merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
