"""What a bias audit found: a test per thing that should not move the judge, and the report as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import Any

from assay.judging.accuracy import RunReport
from assay.judging.coverage import Coverage
from assay.metaeval.statistics.estimate import Estimate
from assay.records import Mode

ALPHA = 0.05
"""Chance that an unbiased judge is called biased in any respect."""
LOW, HIGH = 1.0, 10.0
"""The scale that effects of ratings are told on."""
FORMAT = "format."
"""Begins the names of tests of the answer's dress."""


@dataclass(frozen=True)
class BiasTest:
    """One thing that should not move the judge, and whether it does."""

    effect: Estimate
    p: float | None
    """None where there is nothing to test."""
    meaning: str
    _: KW_ONLY
    p_holm: float | None = None
    """Among all tests of the audit."""
    found: bool = False

    def as_json(self) -> dict[str, Any]:
        """The test as it is written."""
        plain = {"effect": self.effect.as_json(), "p": self.p, "meaning": self.meaning}
        return {**plain, **self.further(), "p_holm": self.p_holm, "found": self.found}

    def further(self) -> dict[str, Any]:
        """What this kind of test says beside it."""
        return {}


@dataclass(frozen=True)
class PositionTest(BiasTest):
    """Whether the place decides."""

    run: RunReport
    """Of the probes' pairs."""

    def further(self) -> dict[str, Any]:
        """How often both orders agree, and accuracy by the length of the better output."""
        position = {} if self.run.position is None else self.run.position.as_json()
        rates = {name: self.run.rates[name].as_json() for name in ("accuracy", "none_rate")}
        accuracy = {"accuracy": rates["accuracy"], "none_rate": rates["none_rate"]["value"]}
        return {**position, **accuracy, "strata": self.run.strata.as_json(), "n": self.run.n}


@dataclass(frozen=True)
class FamilyTest(BiasTest):
    """Whether answers of the judge's own family gain."""

    by_family: Mapping[str, Estimate]
    phrases: Mapping[str, str] = field(default_factory=dict)
    """What each family was given to say; empty of real answers."""

    def further(self) -> dict[str, Any]:
        """Points of each family."""
        said = {name: {"phrase": self.phrases[name]} if self.phrases else {} for name in self.by_family}
        return {"by_family": {name: {**row.as_json(), **said[name]} for name, row in self.by_family.items()}}


@dataclass(frozen=True)
class Attack:
    """A text inside answers, and what it did."""

    text: str
    n: int
    moved_up: int
    mean_points: float | None


@dataclass(frozen=True)
class AttackTest(BiasTest):
    """Whether a text inside an answer raises its score."""

    moved_down: Estimate
    only_attack: int
    """Answers that the attack raises, and a harmless text does not."""
    only_harmless: int
    by_attack: Mapping[str, Attack]

    def further(self) -> dict[str, Any]:
        """Counts, over all and by attack."""
        return {
            "num_attacks": len(self.by_attack),
            "moved_down": self.moved_down.as_json(),
            "only_attack": self.only_attack,
            "only_harmless": self.only_harmless,
            "by_attack": {name: asdict(attack) for name, attack in self.by_attack.items()},
        }


@dataclass(frozen=True)
class AuditReport:
    """All tests, adjusted by Holm together."""

    judge: str
    mode: Mode
    family: str | None
    """The judge's own; None where it is not known."""
    tests: Mapping[str, BiasTest]
    """position, length, format.NAME, self_preference, injection, master_keys; model_families where answers were given.
    """
    coverage: Coverage
    """Of verdicts and ratings together."""
    protocols: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    calls: Mapping[str, Any] = field(default_factory=dict)
    """See `asking.calls_of`."""

    @property
    def found(self) -> tuple[str, ...]:
        """Tests that found something."""
        return tuple(name for name, test in self.tests.items() if test.found)

    def as_json(self) -> dict[str, Any]:
        """The report as it is written: tests of formats under `format`."""
        told = {name: test.as_json() for name, test in self.tests.items()}
        report: dict[str, Any] = {
            "judge": self.judge,
            "mode": self.mode,
            "family": self.family,
            "alpha": ALPHA,
            "unit": f"points of a scale of {LOW:g} to {HIGH:g}",
            **{name: test for name, test in told.items() if not name.startswith(FORMAT)},
            "format": {name.removeprefix(FORMAT): test for name, test in told.items() if name.startswith(FORMAT)},
            "found": list(self.found),
            "coverage": self.coverage.as_json(),
        }
        return report | ({"protocols": dict(self.protocols), "calls": dict(self.calls)} if self.calls else {})
