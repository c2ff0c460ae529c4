"""A bias audit of the study's judge, as `assay audit-judge` wrote it, in lines for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assay.reports.wording import number, signed

SHARES = ("injection", "master_keys")
"""Tests whose effect is a share of answers; the others are differences."""
MOST_ATTACKS = 60


def audit_lines(audit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One line per test, in the order in which the audit makes them."""
    tests = {name: audit[name] for name in ("position", "length")}
    tests |= {f"format: {name}": test for name, test in audit["format"].items()}
    tests |= {name: audit[name] for name in ("self_preference", *SHARES)}
    if "model_families" in audit:
        tests["model_families"] = audit["model_families"]
    return [
        {
            "name": name.replace("_", " "),
            "value": (number if name in SHARES else signed)(test["effect"]["value"]),
            "low": test["effect"]["low"],
            "high": test["effect"]["high"],
            "n": test["effect"].get("n"),
            "p": test["p_holm"],
            "found": test["found"],
            "meaning": test["meaning"],
            "reason": test["effect"].get("reason", "") if test["effect"]["value"] is None else "",
        }
        for name, test in tests.items()
    ]


def audit_shares(audit: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Agreement of both orders, and accuracy where the better answer is the longer and the shorter one."""
    position = audit["position"]
    found = [
        ("same verdict in both orders", position.get("agreement")),
        ("right where the better answer is the longer one", position["strata"].get("gold_longer")),
        ("right where the better answer is the shorter one", position["strata"].get("gold_shorter")),
    ]
    return [(name, share) for name, share in found if share]


def audit_attacks(audit: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Attacks that raised a score, those that did so most often first."""
    worked = [
        {"kind": part.replace("_", " "), "name": name, **attack}
        for part in SHARES
        for name, attack in audit[part]["by_attack"].items()
        if attack["moved_up"]
    ]
    return sorted(worked, key=lambda row: (-row["moved_up"] / row["n"], row["kind"], row["name"]))[:MOST_ATTACKS]
