"""The bias audit of a study's judge, kept beside its results so that the report shows how far to trust its scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import ConfigError, DataError, InputError
from assay.studies.spec import JUDGE

if TYPE_CHECKING:
    from assay.studies.folder import StudyFolder

AUDIT = "side/audit.json"
PARTS = ("judge", "mode", "position", "length", "format", "self_preference", "injection", "master_keys", "coverage")
"""What every report of `assay audit-judge` has."""


def read_audit(path: Path) -> dict[str, Any]:
    """A report of `assay audit-judge`.

    Raises:
        InputError: the file cannot be read, or is no such report.
    """
    try:
        audit = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"--audit {path}: cannot be read ({reason}); expected a file of `assay audit-judge`") from None
    except ValueError:
        raise DataError(f"--audit {path}: saw no JSON; expected a file of `assay audit-judge --out`") from None
    if not isinstance(audit, dict) or (missing := [name for name in PARTS if name not in audit]):
        seen = f"no field {missing[0]!r}" if isinstance(audit, dict) else f"a JSON {type(audit).__name__}"
        raise DataError(f"--audit {path}: saw {seen}; expected a file of `assay audit-judge --out`")
    return audit


def keep_audit(folder: StudyFolder, audit: Mapping[str, Any], resolved: Mapping[str, Any]) -> None:
    """Store the audit with the study.

    Args:
        folder: of the study.
        audit: see `read_audit`.
        resolved: the study as its folder holds it.

    Raises:
        ConfigError: the study asks no judge, or another one than was audited.
    """
    judge = resolved["judge"]["model"]
    if JUDGE not in resolved["scorers"]:
        raise ConfigError(f"--audit: study {folder.name!r} asks no judge; expected {JUDGE!r} among its scorers")
    if audit["judge"] != judge:
        raise ConfigError(
            f"--audit: saw an audit of the judge {audit['judge']!r}; expected one of {judge!r}, the judge of study "
            f"{folder.name!r}; run assay audit-judge --judge {judge}"
        )
    folder.store.write_study_json(folder.name, AUDIT, {**audit, "study_protocol": resolved["judge"]["protocol"]})


def stored_audit(folder: StudyFolder) -> dict[str, Any] | None:
    """The audit that is kept with the study, if there is one."""
    if not folder.store.study_has(folder.name, AUDIT):
        return None
    return folder.store.read_study_json(folder.name, AUDIT)
