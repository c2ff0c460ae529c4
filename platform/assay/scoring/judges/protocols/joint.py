"""Joint judging: the responses of all models to one instruction in one call, so that their scores share its noise.

Per item: identical responses are rated once; where not all fit into a call, overlapping blocks share anchor
models; each block is asked `repeats` times in balanced, seeded label orders; a missing label leaves that model
alone unscored. Raw scores per call are kept with their places, for the additive item + model + position fit.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.errors import ConfigError
from assay.llm.requests import Message, Sampling
from assay.scoring.judges.asking import Reading, read_step
from assay.scoring.judges.calls import JudgeCall, Steps
from assay.scoring.judges.judgements import UNPARSABLE, JointJudgement, JointReading
from assay.scoring.judges.parsing.joint import LabelledScore, joint_schema, parse_joint
from assay.scoring.judges.prompting import fence, fence_nonce, fill, with_fence_note
from assay.scoring.judges.protocols.joint_layout import balanced_orders, blocks_with_anchors, deduplicate, item_rng
from assay.scoring.judges.protocols.prompted import PromptedJudge

LABELS = tuple(string.ascii_uppercase)
LOW, HIGH = 0.0, 100.0
CHARS_PER_TOKEN = 3.5
"""A cautious ratio for English; only the split into blocks rests on it."""
TOKENS_PER_ENTRY = 90
"""Room in the reply for one label's reason and score."""
_SLOTS = frozenset({"prompt", "responses", "form", "count", "reference_part"})


@dataclass(frozen=True, slots=True)
class JointInstance:
    """One instruction and what every model answered."""

    prompt: str
    responses: Mapping[str, str]
    """Model to response. Model names never reach the judge."""
    reference: str = ""


@dataclass(frozen=True, kw_only=True)
class JointJudge(PromptedJudge):
    """`run` takes a `JointInstance` and returns a `JointJudgement` on 0..100.

    One step, `rate`, with all blocks and repeats at once; then at most `max_reasks` more for replies without any
    readable label. It has no published form to be compatible with: both modes are the same.
    """

    shipped = "joint"
    published = False

    repeats: int = 2
    """Calls per block, each in another order; an even number balances the places."""
    seed: int = 0
    max_models: int = 12
    """Most responses in a call; at most 26, one per letter."""
    max_prompt_tokens: int = 12_000
    """Most tokens of responses in a call, estimated from their characters."""
    anchors: int = 2
    """Models that every block shares where one call does not hold all."""
    structured: bool = False
    """Ask for a JSON schema (endpoints with structured output); the same parser reads the reply."""
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if not 2 <= self.max_models <= len(LABELS):
            raise ConfigError(f"joint: saw max_models {self.max_models}; expected 2 to {len(LABELS)}; change it")
        if self.repeats < 1:
            raise ConfigError(
                f"joint: saw {self.repeats} repeats; expected at least 1 (2 balance the order); change it"
            )

    @property
    def name(self) -> str:
        return "joint"

    @property
    def reasks(self) -> int:
        """In both modes."""
        return self.max_reasks

    def settings(self) -> dict[str, object]:
        """Layout, sampling and the prompt."""
        return {
            "repeats": self.repeats,
            "seed": self.seed,
            "max_models": self.max_models,
            "max_prompt_tokens": self.max_prompt_tokens,
            "anchors": self.anchors,
            "structured": self.structured,
            "temperature": self.temperature,
            "prompt": self.prompt("Rate.txt", _SLOTS).identity,
        }

    def layout(self, instance: JointInstance) -> tuple[list[tuple[int, int, tuple[str, ...]]], Mapping[str, str]]:
        """(block, repeat, models in the order shown) of every call, and who is represented by whom."""
        distinct = deduplicate(instance.responses)
        rng = item_rng(self.seed, instance.prompt)
        lengths = {m: int(len(instance.responses[m]) / CHARS_PER_TOKEN) + 20 for m in distinct.representatives}
        blocks = blocks_with_anchors(
            distinct.representatives, lengths, self.max_models, self.max_prompt_tokens, self.anchors, rng
        )
        calls = []
        for number, block in enumerate(blocks):
            for repeat, order in enumerate(balanced_orders(len(block), self.repeats, rng)):
                calls.append((number, repeat, tuple(block[place] for place in order)))
        return calls, distinct.same_as

    def messages(self, instance: JointInstance, models: Sequence[str]) -> tuple[Message, ...]:
        """What is sent for these models in this order."""
        texts = [instance.responses[model] for model in models]
        nonce = fence_nonce([instance.prompt, instance.reference, *texts])
        shown = "\n\n".join(
            f"# Response {label}\n{fence(text, nonce)}" for label, text in zip(LABELS, texts, strict=False)
        )
        reference = ""
        if instance.reference:
            shown_reference = fence(instance.reference, nonce)
            reference = f"# A correct reference answer (other correct answers are as good)\n{shown_reference}\n\n"
        form = ", ".join(f'"{label}": {{"reason": "a few words", "score": 0 to 100}}' for label in LABELS[: len(texts)])
        values = {
            "prompt": fence(instance.prompt, nonce),
            "responses": shown,
            "reference_part": reference,
            "count": str(len(texts)),
            "form": "{" + form + "}",
        }
        return with_fence_note(fill(self.prompt("Rate.txt", _SLOTS), values), nonce)

    def run(self, instance: JointInstance) -> Steps[JointJudgement]:
        """Asks every block in every order at once."""
        if not instance.responses:
            return JointJudgement({}, LOW, HIGH, (), {})
        plan, same_as = self.layout(instance)
        calls = []
        for _, repeat, models in plan:
            sampling = Sampling(
                temperature=self.temperature,
                max_tokens=TOKENS_PER_ENTRY * len(models) + 60,
                response_format=joint_schema(LABELS[: len(models)], LOW, HIGH) if self.structured else None,
            )
            calls.append(JudgeCall("rate", self.messages(instance, models), sampling, repeat))
        steps: Steps[list[Reading[dict[str, LabelledScore]]]] = read_step(calls, _parse, self.reasks, mode=self.mode)
        readings = yield from steps
        read = tuple(
            _joint_reading(block, repeat, models, reading)
            for (block, repeat, models), reading in zip(plan, readings, strict=True)
        )
        exchanges = tuple(item for reading in readings for item in reading.exchanges)
        scores, unscored = _mean_scores(instance.responses, read, same_as)
        return JointJudgement(scores, LOW, HIGH, read, dict(same_as), exchanges, unscored)


def _parse(text: str) -> dict[str, LabelledScore] | None:
    return parse_joint(text, LABELS, LOW, HIGH) or None


def _joint_reading(
    block: int, repeat: int, models: tuple[str, ...], reading: Reading[dict[str, LabelledScore]]
) -> JointReading:
    found = reading.value or {}
    entries = [found.get(label) for label in LABELS[: len(models)]]
    scores = tuple(None if entry is None else entry.score for entry in entries)
    reasons = tuple("" if entry is None else entry.reason for entry in entries)
    return JointReading(block, repeat, models, scores, reasons, reading.status)


def _mean_scores(
    models: Mapping[str, str], readings: Sequence[JointReading], same_as: Mapping[str, str]
) -> tuple[dict[str, float | None], dict[str, str]]:
    heard: dict[str, list[float]] = {}
    why: dict[str, str] = {}
    for reading in readings:
        for model, score in zip(reading.models, reading.scores, strict=True):
            if score is not None:
                heard.setdefault(model, []).append(score)
            else:
                why[model] = UNPARSABLE if reading.status == "ok" else reading.status
    scores: dict[str, float | None] = {}
    unscored: dict[str, str] = {}
    for model in sorted(models):
        values = heard.get(same_as.get(model, model))
        scores[model] = sum(values) / len(values) if values else None
        if not values:
            unscored[model] = why.get(same_as.get(model, model), UNPARSABLE)
    return scores, unscored
