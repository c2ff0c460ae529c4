"""What a command without a study of its own may name: what ships, and what a study file given beside it brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.studies.registry import Registry
    from assay.studies.spec import Study


def study_beside(reference: str | None) -> Study | None:
    """The study that `--study` names.

    Raises:
        ConfigError: it does not validate.
    """
    if reference is None:
        return None
    from assay.studies.catalog import load_study

    return load_study(reference)


def registry_of(study: Study | None) -> Registry:
    """The tasks, scorers and judge protocols of a study; without one, what ships and what is installed."""
    from assay.studies.registry import make_registry

    return make_registry({}) if study is None else study.registry
