"""The audit of a study's judge is kept with the study, and only where it is one of that judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.errors import ConfigError, DataError, InputError
from assay.store import Store
from assay.studies.folder import StudyFolder, open_folder
from assay.studies.results.stored_audit import PARTS, keep_audit, read_audit, stored_audit

RESOLVED = {"scorers": ["heuristic", "judge"], "judge": {"model": "rubric", "protocol": "ifteval"}}
AUDIT: dict[str, object] = {**{name: {} for name in PARTS}, "judge": "rubric"}


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return open_folder(Store(str(tmp_path)), "s", "a" * 32, RESOLVED)


def test_an_audit_is_kept_with_the_protocol_that_the_study_asks_by(folder: StudyFolder) -> None:
    assert stored_audit(folder) is None
    keep_audit(folder, AUDIT, RESOLVED)
    assert stored_audit(folder) == {**AUDIT, "study_protocol": "ifteval"}


def test_an_audit_of_another_judge_is_refused(folder: StudyFolder) -> None:
    with pytest.raises(ConfigError, match=r"saw an audit of the judge 'gpt-4o'; expected one of 'rubric'"):
        keep_audit(folder, {**AUDIT, "judge": "gpt-4o"}, RESOLVED)
    with pytest.raises(ConfigError, match="asks no judge"):
        keep_audit(folder, AUDIT, {**RESOLVED, "scorers": ["heuristic"]})
    assert stored_audit(folder) is None


def test_only_the_report_of_an_audit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    with pytest.raises(InputError, match="cannot be read"):
        read_audit(path)
    path.write_text("{")
    with pytest.raises(DataError, match="saw no JSON"):
        read_audit(path)
    path.write_text("[1]")
    with pytest.raises(DataError, match="saw a JSON list"):
        read_audit(path)
    path.write_text(json.dumps({name: {} for name in PARTS if name != "length"}))
    with pytest.raises(DataError, match="saw no field 'length'"):
        read_audit(path)
    path.write_text(json.dumps(AUDIT))
    assert read_audit(path) == AUDIT
