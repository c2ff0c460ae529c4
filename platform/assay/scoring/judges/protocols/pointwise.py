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
from typing import Any, Literal

from assay.llm.requests import Message, Sampling
from assay.scoring.judges.asking import read_step
from assay.scoring.judges.calls import JudgeCall, Steps
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.parsing import compat_csv_pair, parse_pair, parse_score
from assay.scoring.judges.prompting import Prompt
from assay.scoring.judges.protocols.prompted import StructuredJudge
from assay.scoring.judges.structured import pair_format, score_format

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


@dataclass(frozen=True, kw_only=True)
class IftevalJudge(StructuredJudge):
    """IFTEval's LLM judge; `run` takes a `PointwiseInstance` and returns a `PointwiseJudgement` on 0..10.

    The reference's own score, where the prompt asks for one, is `parts["reference"]`.
    """

    shipped = "ifteval"

    variant: IftevalVariant = "two_responses"
    temperature: float = 0.1
    """As published."""
    max_tokens: int = 64
    """Room for two scores and a label; what comes after the scores is not read anyway."""

    @property
    def name(self) -> str:
        """`ifteval` or `ifteval_<variant>`."""
        return "ifteval" if self.variant == "two_responses" else f"ifteval_{self.variant}"

    @property
    def is_published(self) -> bool:
        """Two of the variants are."""
        return self.variant in ("two_responses", "swapped")

    @property
    def _slots(self) -> frozenset[str]:
        return frozenset({"prompt", "response1"} | ({"response2"} if self.variant != "alone" else set()))

    def settings(self) -> dict[str, object]:
        """Sampling and the prompt."""
        prompt = self._prompt().identity
        return {"temperature": self.temperature, "max_tokens": self.max_tokens, "prompt": prompt}

    def _prompt(self) -> Prompt:
        return self.prompt(f"{'two_responses' if self.variant == 'swapped' else self.variant}.txt", self._slots)

    def messages(self, instance: PointwiseInstance) -> tuple[Message, ...]:
        """What is sent."""
        first, second = instance.response, instance.reference
        if self.variant == "swapped":
            first, second = second, first
        values = {"prompt": instance.prompt, "response1": first, "response2": second}
        return self.filled(self._prompt(), values, self._slots)

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
        (reading,) = yield from read_step([call], self.parse, self.reasks, mode=self.mode)
        if reading.value is None:
            return PointwiseJudgement(None, 0.0, 10.0, reading.status, reading.exchanges)
        score, reference = reading.value
        parts = {} if reference is None else {"reference": reference}
        return PointwiseJudgement(score, 0.0, 10.0, reading.status, reading.exchanges, parts)
