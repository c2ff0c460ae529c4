"""Criteria of a task of its own: a judge rates by what the study says of that task; other tasks keep their protocol.

The criteria are the study's own words and stand plain in the prompt; question and answer are fenced. No reference is
shown: the criteria say all. A judge that says it cannot judge by them leaves the row unscored with that reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.llm.requests import Sampling
from assay.scoring.judges.asking import read_step
from assay.scoring.judges.calls import JudgeCall, JudgeProtocol, Steps
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.parsing import parse_score
from assay.scoring.judges.prompting import Prompt, fill, parse_prompt
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.protocols.prompted import StructuredJudge
from assay.scoring.judges.protocols.wrapped import WrappedJudge
from assay.scoring.judges.structured import score_format

CANNOT = "cannot judge by these criteria"
"""Why a row is unscored whose judge says so."""
STEP = "criteria"
_SAID = "CANNOT JUDGE"
_SLOTS = frozenset({"prompt", "response"})


@dataclass(frozen=True)
class CriteriaJudge(StructuredJudge):
    """Rates an answer from `low` to `high` by criteria, or by a prompt of the study's own."""

    shipped = "criteria"
    published = False

    criteria: str
    """Empty only with a prompt that holds them."""
    low: float = 1.0
    high: float = 5.0
    temperature: float | None = 0.1
    max_tokens: int = 64
    prompt_text: str = ""
    """ChatML text with the slots {prompt} and {response} (and {reference}, {low}, {high} where wished);
    empty: the shipped prompt."""
    name: str = "criteria"

    def __post_init__(self) -> None:
        """Refuse a prompt that lacks a slot, and a schema in compat.

        Raises:
            ConfigError: says which.
        """
        known = {"reference", "low", "high", *(["criteria"] if self.criteria else [])}
        super().__post_init__()
        unknown = sorted(self._prompt().slots - _SLOTS - known)
        if unknown:
            raise ConfigError(
                f"prompt {self.name}: saw the slot {{{unknown[0]}}}; expected some of {{prompt}}, {{response}}, "
                "{reference}, {low}, {high}; fix the file"
            )

    @property
    def reasks(self) -> int:
        """In both modes."""
        return self.max_reasks

    def settings(self) -> dict[str, object]:
        """Criteria, scale, sampling and the prompt."""
        return {
            "criteria": fingerprint([self.criteria]),
            "scale": [self.low, self.high],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "prompt": self._prompt().identity,
        }

    def run(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        """One call; further ones only where a reply cannot be read."""
        prompt = self._prompt()
        values = {
            "criteria": self.criteria,
            "low": f"{self.low:g}",
            "high": f"{self.high:g}",
            "prompt": instance.prompt,
            "response": instance.response,
            "reference": instance.reference,
        }
        reply_format = score_format(self.low, self.high) if self.structured else None
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens, response_format=reply_format)
        call = JudgeCall(STEP, fill(prompt, values, fenced=_SLOTS | {"reference"}), sampling)
        (reading,) = yield from read_step([call], self._read, self.reasks, mode=self.mode)
        if isinstance(reading.value, float):
            return PointwiseJudgement(reading.value, self.low, self.high, reading.status, reading.exchanges)
        status = reading.status if reading.value is None else CANNOT
        return PointwiseJudgement(None, self.low, self.high, status, reading.exchanges)

    def _read(self, text: str) -> float | str | None:
        if text.strip().strip("*\"'.").upper().startswith(_SAID):
            return CANNOT
        return parse_score(text, self.low, self.high)

    def _prompt(self) -> Prompt:
        if self.prompt_text:
            return parse_prompt(self.name, self.prompt_text, _SLOTS)
        return self.prompt("Rate.txt", _SLOTS | {"criteria"})


@dataclass(frozen=True)
class JudgeByTask(WrappedJudge[PointwiseInstance, PointwiseJudgement]):
    """The study's pointwise protocol, and another one for rows of some tasks."""

    own: tuple[tuple[str, CriteriaJudge], ...]
    """Task -> its judge, sorted."""

    def identity(self) -> dict[str, object]:
        """Of all judges."""
        return {**self.protocol.identity(), "by_task": {task: judge.identity() for task, judge in self.own}}

    def run(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        """As the judge of the row's task does it."""
        judge = dict(self.own).get(instance.task, self.protocol)
        return (yield from judge.run(instance))


def by_task(
    protocol: JudgeProtocol[PointwiseInstance, PointwiseJudgement], own: Mapping[str, CriteriaJudge]
) -> JudgeProtocol[PointwiseInstance, PointwiseJudgement]:
    """The protocol with these judges for rows of their tasks; without any, the protocol itself."""
    return JudgeByTask(protocol, tuple(sorted(own.items()))) if own else protocol
