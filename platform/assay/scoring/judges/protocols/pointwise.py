"""IFTEval's judge: a score from 0 to 10 for a prediction, as published and in three variants.

Source: Faysse et al. 2023 (arXiv 2310.14103), A.3. One prompt holds the instruction, the prediction as Response 1
and the gold answer as Response 2 and asks for two scores as CSV, so the published judge is not reference-free.

    two_responses      as published
    swapped            the gold answer as Response 1, the prediction as Response 2
    reference_shown    the gold answer shown as a reference, one score
    alone              no gold answer at all: truly reference-free, one score

`compat` is the published prompt and parser. `strict` fences the texts, reads more forms, checks the range, and
asks again a bounded number of times where a reply cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assay.llm.requests import Message, Sampling
from assay.records import Mode
from assay.scoring.judges.asking import read_step, readers_version
from assay.scoring.judges.calls import JudgeCall, Steps
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.parsing import compat_csv_pair, parse_pair, parse_score
from assay.scoring.judges.prompting import SHIPPED, fill, load_prompt
from assay.scoring.judges.structured import check_structured, identity_of, pair_format, score_format

IftevalVariant = Literal["two_responses", "swapped", "reference_shown", "alone"]


@dataclass(frozen=True, slots=True)
class PointwiseInstance:
    """One response to judge."""

    prompt: str
    """What the model was asked: the instruction, with its input where there is one."""
    response: str
    reference: str = ""
    """The gold answer; empty where there is none."""
    task: str = ""
    """Task of the row, for protocols that differ by it; no prompt shows it."""


@dataclass(frozen=True)
class IftevalJudge:
    """IFTEval's LLM judge; `run` takes a `PointwiseInstance` and returns a `PointwiseJudgement` on 0..10.

    The reference's own score, where the prompt asks for one, is `parts["reference"]`.
    """

    mode: Mode = "strict"
    variant: IftevalVariant = "two_responses"
    temperature: float = 0.1
    """As published."""
    max_tokens: int = 64
    """Room for two scores and a label; what comes after the scores is not read anyway."""
    max_reasks: int = 1
    """In `strict`: how often an unreadable reply is asked for again."""
    prompts_dir: Path = SHIPPED / "ifteval"
    structured: bool = False
    """Ask for a JSON schema (endpoints with structured output, `strict` only); the same parser reads the reply."""

    def __post_init__(self) -> None:
        check_structured(self.name, self.mode, self.structured)

    @property
    def name(self) -> str:
        """`ifteval` or `ifteval_<variant>`."""
        return "ifteval" if self.variant == "two_responses" else f"ifteval_{self.variant}"

    @property
    def _file(self) -> str:
        return f"{'two_responses' if self.variant == 'swapped' else self.variant}.txt"

    @property
    def _slots(self) -> frozenset[str]:
        return frozenset({"prompt", "response1"} | ({"response2"} if self.variant != "alone" else set()))

    def identity(self) -> dict[str, object]:
        """All that shapes the judgement apart from the model."""
        prompt = load_prompt(self.prompts_dir, self._file, self._slots)
        return {
            "protocol": self.name,
            "mode": self.mode,
            "version": readers_version(self.mode, is_published=self.variant in ("two_responses", "swapped")),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "max_reasks": self.max_reasks if self.mode == "strict" else 0,
            "prompt": prompt.identity,
            **identity_of(self.structured),
        }

    def messages(self, instance: PointwiseInstance) -> tuple[Message, ...]:
        """What is sent."""
        prompt = load_prompt(self.prompts_dir, self._file, self._slots)
        first, second = instance.response, instance.reference
        if self.variant == "swapped":
            first, second = second, first
        values = {"prompt": instance.prompt, "response1": first, "response2": second}
        return fill(prompt, values, fenced=self._slots if self.mode == "strict" else frozenset())

    def parse(self, text: str) -> tuple[float, float | None] | None:
        """Score of the prediction, and of the reference where it was rated too."""
        if self.variant in ("alone", "reference_shown"):
            score = parse_score(text, 0.0, 10.0)
            return None if score is None else (score, None)
        pair = compat_csv_pair(text) if self.mode == "compat" else parse_pair(text, 0.0, 10.0, comma_separates=True)
        if pair is None:
            return None
        return pair if self.variant == "two_responses" else (pair[1], pair[0])

    def _response_format(self) -> dict[str, Any] | None:
        if not self.structured:
            return None
        return score_format(0, 10) if self.variant in ("alone", "reference_shown") else pair_format(0, 10)

    def run(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        """One call; further ones only where a reply cannot be read."""
        sampling = Sampling(
            temperature=self.temperature, max_tokens=self.max_tokens, response_format=self._response_format()
        )
        call = JudgeCall("score", self.messages(instance), sampling)
        reasks = self.max_reasks if self.mode == "strict" else 0
        (reading,) = yield from read_step([call], self.parse, reasks, mode=self.mode)
        if reading.value is None:
            return PointwiseJudgement(None, 0.0, 10.0, reading.status, reading.exchanges)
        score, reference = reading.value
        parts = {} if reference is None else {"reference": reference}
        return PointwiseJudgement(score, 0.0, 10.0, reading.status, reading.exchanges, parts)
