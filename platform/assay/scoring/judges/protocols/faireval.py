"""FairEval: evidence before scores, k samples in both orders, and the mean of the 2k scores decides.

Source: Wang et al. 2023 (arXiv 2305.17926), multiple evidence calibration (MEC) with balanced position calibration
(BPC). Scores are from 1 to 10; equal means are a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.llm.requests import Message, Sampling
from assay.scoring.judges.asking import Reading, read_step
from assay.scoring.judges.calls import JudgeCall, Order, Steps
from assay.scoring.judges.judgements import OK, UNPARSABLE, Choice, PairVerdict, Winner
from assay.scoring.judges.parsing import compat_last_lines_pair, parse_pair
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.protocols.prompted import PromptedJudge

LOW, HIGH = 1.0, 10.0
_SLOTS = frozenset({"question", "answer_1", "answer_2"})
_ORDERS: tuple[Order, Order] = ("original", "swapped")


@dataclass(frozen=True, kw_only=True)
class FairEvalJudge(PromptedJudge):
    """`run` takes a `PairInstance` and returns a `PairVerdict` whose `overall` is the calibrated choice.

    `original` and `swapped` hold the mean scores of their own k samples, already mapped back.
    """

    shipped = "faireval"

    samples: int = 3
    """k: replicates per order."""
    temperature: float = 1.0
    """As published; with 0 all samples of an order would be one."""
    max_tokens: int = 512

    @property
    def name(self) -> str:
        return "faireval"

    def settings(self) -> dict[str, object]:
        """Sampling and the prompt."""
        return {
            "samples": self.samples,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "prompt": self.prompt("Evidence.txt", _SLOTS).identity,
        }

    def messages(self, instance: PairInstance, order: Order) -> tuple[Message, ...]:
        """What is sent in this order."""
        first, second = instance.output_1, instance.output_2
        if order == "swapped":
            first, second = second, first
        values = {"question": instance.input, "answer_1": first, "answer_2": second}
        return self.filled(self.prompt("Evidence.txt", _SLOTS), values, _SLOTS)

    def run(self, instance: PairInstance) -> Steps[PairVerdict]:
        """All 2k samples at once."""
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens)
        calls = [
            JudgeCall("compare", self.messages(instance, order), sampling, sample, order)
            for order in _ORDERS
            for sample in range(self.samples)
        ]
        steps: Steps[list[Reading[tuple[float, float]]]] = read_step(calls, self._parse, self.reasks, mode=self.mode)
        readings = yield from steps
        original = [reading.value for reading in readings[: self.samples] if reading.value is not None]
        swapped = [pair.value[::-1] for pair in readings[self.samples :] if pair.value is not None]
        status = next((reading.status for reading in readings if reading.status != OK), UNPARSABLE)
        return PairVerdict(
            _choice(original, status),
            _choice(swapped, status),
            "rating",
            tuple(item for reading in readings for item in reading.exchanges),
            _choice([*original, *swapped], status),
        )

    def _parse(self, text: str) -> tuple[float, float] | None:
        return compat_last_lines_pair(text) if self.mode == "compat" else parse_pair(text, LOW, HIGH)


def _choice(pairs: Sequence[tuple[float, ...]], status: str) -> Choice:
    if not pairs:
        return Choice(None, status)
    first, second = (sum(pair[place] for pair in pairs) / len(pairs) for place in (0, 1))
    winner: Winner = 0 if first == second else 1 if first > second else 2
    return Choice(winner, OK, first, second)
