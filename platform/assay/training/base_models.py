"""Base models of a study: see `assay.model_folders`."""

from __future__ import annotations

from assay.model_folders import FoundModel as BaseModel
from assay.model_folders import find_model

__all__ = ["BaseModel", "resolve_base"]


def resolve_base(name: str, *, revision: str | None = None, local_name: str | None = None) -> BaseModel:
    """Find a base model, a local folder or a hub id, and check that it can be loaded safely.

    Raises:
        InputError: one line, see `find_model`.
    """
    return find_model(name, "base model", revision=revision, local_name=local_name)
