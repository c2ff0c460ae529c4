"""In which type of numbers a study trains and generates, where it does not say so.

A function of the study file alone, never of the machine that asks: bfloat16 where the stage's declared GPUs are more
than none, else float32. So `status` on a laptop finds the study that ran on a GPU machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.config import Config

AUTO = "auto"


def dtype_for(gpus: float) -> str:
    """Type of a stage that asks for this many GPUs for each of its workers."""
    return "bfloat16" if gpus > 0 else "float32"


def with_dtypes(data: Mapping[str, Any]) -> dict[str, Any]:
    """A study's fields with a type of numbers wherever it leaves it out, or says "auto"."""
    found = dict(data)
    for stage, field in (("train", "training"), ("generation", "generation")):
        found[stage] = _given(found.get(stage), dtype_for(_gpus(found, field)))
        if found[stage] is None:
            del found[stage]
    grid = found.get("grid")
    tuning = grid.get("instruction_train") if isinstance(grid, Mapping) else getattr(grid, "instruction_train", None)
    if tuning is not None:
        changed = {"instruction_train": _given(tuning, dtype_for(_gpus(found, "training")))}
        found["grid"] = {**grid, **changed} if isinstance(grid, Mapping) else grid.replace(**changed)  # type: ignore[union-attr]
    return found


def without_ruled_dtypes(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A builtin study's dumped fields without the types of numbers that follow from its GPUs.

    So an override of the GPUs takes the type along.
    """
    found = dict(plain)
    for stage, field in (("train", "training"), ("generation", "generation")):
        if found[stage]["dtype"] == dtype_for(_gpus(found, field)):
            found[stage] = {name: value for name, value in found[stage].items() if name != "dtype"}
    return found


def _gpus(data: Mapping[str, Any], stage: str) -> float:
    """GPUs that each worker of a stage asks for, before anything is validated; what is no number is refused later."""
    field = {"training": "gpus_per_worker", "generation": "gpus_per_engine"}[stage]
    resources = data.get("resources") or {}
    part = resources.get(stage) if isinstance(resources, Mapping) else getattr(resources, stage, None)
    asked = part.get(field, 0) if isinstance(part, Mapping) else getattr(part, field, 0)
    return float(asked) if isinstance(asked, int | float) else 0.0


def _given(values: Any, dtype: str) -> Any:
    if isinstance(values, Config):
        unsaid = "dtype" not in values.model_fields_set
        return values.replace(dtype=dtype) if unsaid and dtype != values.dtype else values  # type: ignore[attr-defined]
    if values is None:
        return None if dtype == "float32" else {"dtype": dtype}
    if isinstance(values, Mapping) and values.get("dtype", AUTO) == AUTO:
        return {**values, "dtype": dtype}
    return values
