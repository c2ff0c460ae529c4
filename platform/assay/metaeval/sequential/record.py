"""Rounds as JSON: what was known after each, what was dropped and why. No time, cost or order of arrival."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from assay.metaeval.sequential.arms import Round, Rule, more_needed


def rounds_record(rounds: Sequence[Round], rule: Rule, unit: str) -> dict[str, Any]:
    """The record of one question; ends that are not known are None."""
    told = []
    for one in rounds:
        findings = []
        for finding in one.findings:
            plain = {name: _known(value) for name, value in asdict(finding).items()}
            findings.append({**plain, "more": more_needed(finding, one.look)})
        ends = {name: _known(getattr(one, name)) for name in ("leader_low", "leader_high")}
        told.append({**asdict(one), **ends, "findings": findings, **_why(one)})
    return {"unit": unit, "rule": asdict(rule), "rounds": told, "is_answered": bool(rounds and rounds[-1].is_answered)}


def _why(one: Round) -> dict[str, dict[str, str]]:
    return {"dropped": dict(sorted(one.dropped.items())), "kept": dict(sorted(one.kept.items()))}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
