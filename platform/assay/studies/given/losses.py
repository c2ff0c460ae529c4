"""Test losses of given models out of a file: read when the study is loaded, and part of it from then on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.judging.rank import read_losses


def with_losses_read(study: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A study's fields with the losses of `grid.losses` where that is a path, from the study file's folder or whole.

    Raises:
        DataError: no such file, or a row without model and loss.
    """
    grid = study.get("grid")
    if not isinstance(grid, Mapping) or not isinstance(grid.get("losses"), str):
        return study
    return {**study, "grid": {**grid, "losses": read_losses(folder / Path(grid["losses"]).expanduser())}}
