"""Judges with known errors, behind the real joint protocol, so that what they find can be scored against the truth.

A judge's score of an answer is 50 + item + model + answer + mood of the call + place in the prompt + reading error,
rounded, on 0..100. The mood is what a call shares: rated alone, every answer meets its own.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assay.judge_server.server.tokens import count_prompt, count_tokens
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.judgements import JointJudgement
from assay.scoring.judges.protocols.joint import LABELS, JointInstance, JointJudge
from support.replayed import replay_protocol

ANSWER = "The answer to the question, as given here, goes through the matter in a few sentences and then ends. " * 4


@dataclass
class SimulatedJudge:
    """Standard deviations are in points of 100."""

    quality: Mapping[str, float]
    seed: int
    item_sd: float = 8.0
    answer_sd: float = 5.0
    mood_sd: float = 10.0
    reading_sd: float = 3.0
    place_points: float = 1.5
    """Lost with every place further back."""
    tokens: int = 0
    """Spent so far, prompts and replies."""
    calls: int = 0
    _drawn: dict[str, float] = field(default_factory=dict)

    def instance(self, item: int, models: Sequence[str]) -> JointInstance:
        """What these models answered to a prompt; answers say whose they are, so that the judge can look it up."""
        return JointInstance(f"Question number {item}?", {m: f"{ANSWER}[{m}/{item}]" for m in models})

    def judge(self, protocol: JointJudge, item: int, models: Sequence[str]) -> JointJudgement:
        """One item through the protocol."""
        return replay_protocol(protocol, self.instance(item, models), self._answer)

    def _answer(self, call: JudgeCall) -> str:
        text = call.messages[-1].content
        shown = re.findall(r"\[(\w+)/(\d+)\]", text)
        self.calls += 1
        mood = random.Random(f"{self.seed}/mood/{self.calls}").gauss(0, self.mood_sd)
        reply = {}
        for place, (model, item) in enumerate(shown):
            value = 50 + self.quality[model] + mood - self.place_points * place
            value += self._fixed(f"item/{item}", self.item_sd) + self._fixed(f"answer/{model}/{item}", self.answer_sd)
            value += random.Random(f"{self.seed}/{self.calls}/{place}").gauss(0, self.reading_sd)
            reply[LABELS[place]] = {"reason": "it does what was asked", "score": round(min(100.0, max(0.0, value)))}
        written = json.dumps(reply)
        self.tokens += count_prompt(tuple((m.role, m.content) for m in call.messages)) + count_tokens(written)
        return written

    def _fixed(self, name: str, sd: float) -> float:
        """Drawn once: whoever asks, and however, the answer is the same answer."""
        if name not in self._drawn:
            self._drawn[name] = random.Random(f"{self.seed}/{name}").gauss(0, sd)
        return self._drawn[name]


def mean_scores(judgements: Sequence[JointJudgement], models: Sequence[str]) -> list[float]:
    """Per model the mean over items."""
    values: dict[str, list[float]] = {model: [] for model in models}
    for judgement in judgements:
        for model, score in judgement.scores.items():
            if score is not None:
                values[model].append(score)
    return [sum(found) / len(found) for found in values.values()]


def solo(judge: SimulatedJudge, num_items: int, repeats: int = 1) -> list[float]:
    """Mean score per model, every answer rated in a call of its own."""
    models = list(judge.quality)
    protocol = JointJudge(repeats=repeats)
    return mean_scores([judge.judge(protocol, item, [m]) for item in range(num_items) for m in models], models)


def joint(judge: SimulatedJudge, num_items: int, repeats: int = 2) -> list[float]:
    """Mean score per model, all answers to a prompt in one call, in balanced orders."""
    models = list(judge.quality)
    protocol = JointJudge(repeats=repeats)
    return mean_scores([judge.judge(protocol, item, models) for item in range(num_items)], models)
