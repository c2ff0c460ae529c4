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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from assay.llm.requests import Message, Mode, Sampling
from assay.scoring.judges.calls import (
    Exchange,
    JudgeCall,
    JudgeReply,
    Steps,
    exchange,
    failure_reason,
    reply_text,
)
from assay.scoring.judges.judgements import OK, REFUSED, UNPARSABLE, PointwiseJudgement
from assay.scoring.judges.parsing import compat_csv_pair, looks_refused, parse_pair, parse_score
from assay.scoring.judges.prompting import SHIPPED, fill, load_prompt

IftevalVariant = Literal["two_responses", "swapped", "reference_shown", "alone"]

REMINDER = "Your last reply could not be read. Reply again, in the requested output format and with nothing else."
"""What is said to a judge whose reply cannot be read; its reply stands before it in the conversation."""

Parsed = TypeVar("Parsed")
Reading = tuple[Parsed | None, str, tuple[Exchange, ...]]
"""What was read (None: nothing), the status, and the exchanges that led to it."""


@dataclass(frozen=True, slots=True)
class PointwiseInstance:
    """One response to judge."""

    prompt: str
    """What the model was asked: the instruction, with its input where there is one."""
    response: str
    reference: str = ""
    """The gold answer; empty where there is none."""


def read_or_ask_again(
    call: JudgeCall, first: JudgeReply, parse: Callable[[str], Parsed | None], max_reasks: int
) -> Steps[Reading[Parsed]]:
    """Reads a reply; asks again, at most `max_reasks` times, while it cannot be read.

    A refusal, and a call without a reply, are not asked again: the one is an answer and the other was retried by
    the transport. Each further call repeats the conversation with the unreadable reply and a reminder of the format,
    under the next replicate number.
    """
    reply, exchanges = first, [exchange(call, first)]
    for attempt in range(max_reasks + 1):
        text = reply_text(reply)
        if text is None:
            return None, failure_reason(reply), tuple(exchanges)
        value = parse(text)
        if value is not None:
            return value, OK, tuple(exchanges)
        if looks_refused(text):
            return None, REFUSED, tuple(exchanges)
        if attempt < max_reasks:
            turns = (*call.messages, Message("assistant", text), Message("user", REMINDER))
            again = JudgeCall(f"{call.step}_again", turns, call.sampling, call.replicate + attempt + 1, call.order)
            (reply,) = yield [again]
            exchanges.append(exchange(again, reply))
    return None, UNPARSABLE, tuple(exchanges)


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

    VERSION = 1

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
            "version": self.VERSION,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "max_reasks": self.max_reasks if self.mode == "strict" else 0,
            "prompt": prompt.identity,
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
        pair = compat_csv_pair(text) if self.mode == "compat" else parse_pair(text, 0.0, 10.0)
        if pair is None:
            return None
        return pair if self.variant == "two_responses" else (pair[1], pair[0])

    def run(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        """One call; further ones only where a reply cannot be read."""
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens)
        call = JudgeCall("score", self.messages(instance), sampling)
        replies: Sequence[JudgeReply] = yield [call]
        reasks = self.max_reasks if self.mode == "strict" else 0
        value, status, exchanges = yield from read_or_ask_again(call, replies[0], self.parse, reasks)
        if value is None:
            return PointwiseJudgement(None, 0.0, 10.0, status, exchanges)
        parts = {} if value[1] is None else {"reference": value[1]}
        return PointwiseJudgement(value[0], 0.0, 10.0, OK, exchanges, parts)
