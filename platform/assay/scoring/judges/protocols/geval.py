"""G-Eval: a score on one dimension, as the mean over samples or weighted with the tokens' probabilities.

Source: Liu et al. 2023 (arXiv 2303.16634): 20 samples at temperature 1 stand in for the probabilities where an
endpoint gives none. Samples that cannot be read are left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from assay.errors import ConfigError
from assay.llm.requests import Answer, Message, Sampling
from assay.scoring.judges.asking import Reading, read_reply, read_step
from assay.scoring.judges.calls import JudgeCall, Steps
from assay.scoring.judges.judgements import OK, UNPARSABLE, PointwiseJudgement
from assay.scoring.judges.parsing import parse_score
from assay.scoring.judges.parsing.thinking import read_spoken
from assay.scoring.judges.prompting import fence, fence_nonce, fill, with_fence_note
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.protocols.prompted import StructuredJudge
from assay.scoring.judges.structured import MORE_TOKENS, score_format

_SLOTS = frozenset({"dimension", "definition", "low", "high", "steps", "prompt", "response", "reference_part"})


@dataclass(frozen=True, slots=True)
class Dimension:
    """What is rated, and on which scale."""

    name: str
    definition: str
    steps: tuple[str, ...]
    """Evaluation steps, written or generated once and then fixed: part of the judge."""
    low: int = 1
    high: int = 5


DIMENSIONS: dict[str, Dimension] = {
    item.name.lower(): item
    for item in (
        Dimension(
            "Coherence",
            "the response as a whole builds up to a well-organised, connected body of text on its topic",
            (
                "Read the prompt and find its topic and key points.",
                "Read the response and see how its sentences connect and in which order they come.",
                "Assign one score for coherence.",
            ),
        ),
        Dimension(
            "Consistency",
            "all that the response states as fact is supported by the prompt; nothing is invented or contradicted",
            (
                "Read the prompt and note its facts.",
                "Check each statement of the response against them.",
                "Assign one score for consistency.",
            ),
        ),
        Dimension(
            "Fluency",
            "the sentences are grammatical, well formed and easy to read",
            (
                "Read the response sentence by sentence.",
                "Note mistakes of grammar, spelling, punctuation and wording.",
                "Assign one score for fluency.",
            ),
        ),
        Dimension(
            "Relevance",
            "the response gives what the prompt asks for, all that matters of it and nothing beside it",
            (
                "Read the prompt and note what it asks for.",
                "Check what of it the response gives, and what it adds.",
                "Assign one score for relevance.",
            ),
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class GEvalJudge(StructuredJudge):
    """`run` takes a `PointwiseInstance` and returns a `PointwiseJudgement` on the dimension's scale.

    `parts` holds `samples` (asked) and `parsed`, or with `logprobs` the probability `mass` on valid scores.
    """

    shipped = "geval"
    published = False

    dimension: Dimension
    samples: int = 20
    logprobs: bool = False
    """Ask once and weight each score with the probability of its token, where the endpoint gives these."""
    temperature: float = 1.0
    max_tokens: int = 16
    min_parsed: int = 1
    """Fewer readable samples than this leave the response unscored."""
    max_reasks: int = field(default=0, init=False)
    """Unreadable samples are left out."""

    def __post_init__(self) -> None:
        if self.samples < 1 or not self.dimension.low < self.dimension.high:
            raise ConfigError(
                f"G-Eval: saw {self.samples} samples on {self.dimension.low}..{self.dimension.high}; "
                "expected at least one sample and a scale that rises"
            )
        super().__post_init__()
        if self.structured and self.logprobs:
            raise ConfigError("G-Eval: saw logprobs with structured; expected one of them; drop one")

    @property
    def name(self) -> str:
        return f"geval_{self.dimension.name.lower()}"

    def identity(self) -> dict[str, object]:
        """As of each prompted judge, without what it never does."""
        return {name: value for name, value in super().identity().items() if name != "max_reasks"}

    def settings(self) -> dict[str, object]:
        """Dimension, samples and the prompt."""
        d = self.dimension
        return {
            "dimension": [d.name, d.definition, list(d.steps), d.low, d.high],
            "samples": 1 if self.logprobs else self.samples,
            "logprobs": self.logprobs,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "min_parsed": self.min_parsed,
            "prompt": self.prompt("Rate.txt", _SLOTS).identity,
        }

    def messages(self, instance: PointwiseInstance) -> tuple[Message, ...]:
        """What is sent."""
        d = self.dimension
        values = {
            "dimension": d.name,
            "definition": d.definition,
            "low": str(d.low),
            "high": str(d.high),
            "steps": "\n".join(f"{number}. {step}" for number, step in enumerate(d.steps, 1)),
            "prompt": instance.prompt,
            "response": instance.response,
            "reference_part": f"# Reference\n{instance.reference}\n\n" if instance.reference else "",
        }
        prompt = self.prompt("Rate.txt", _SLOTS)
        if self.mode == "compat":
            return fill(prompt, values)
        nonce = fence_nonce([instance.prompt, instance.response, instance.reference])
        values["prompt"], values["response"] = fence(instance.prompt, nonce), fence(instance.response, nonce)
        if instance.reference:
            values["reference_part"] = f"# Reference\n{fence(instance.reference, nonce)}\n\n"
        return with_fence_note(fill(prompt, values), nonce)

    def run(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        """All samples at once; unreadable ones are left out, not asked again."""
        if self.logprobs:
            return (yield from self._weighted(instance))
        return (yield from self._sampled(instance, {}))

    def _sampled(self, instance: PointwiseInstance, more: Mapping[str, float]) -> Steps[PointwiseJudgement]:
        low, high = float(self.dimension.low), float(self.dimension.high)
        sampling = Sampling(
            temperature=self.temperature,
            max_tokens=self.max_tokens + MORE_TOKENS * self.structured,
            response_format=score_format(self.dimension.low, self.dimension.high) if self.structured else None,
        )
        messages = self.messages(instance)
        calls = [JudgeCall("score", messages, sampling, sample) for sample in range(self.samples)]
        readings = yield from read_step(calls, self._parse, mode=self.mode)
        values = [reading.value for reading in readings if reading.value is not None]
        exchanges = tuple(item for reading in readings for item in reading.exchanges)
        parts = {"samples": float(self.samples), "parsed": float(len(values)), **more}
        if len(values) < max(1, self.min_parsed):
            status = next((reading.status for reading in readings if reading.status != OK), UNPARSABLE)
            return PointwiseJudgement(None, low, high, status, exchanges, parts)
        return PointwiseJudgement(sum(values) / len(values), low, high, OK, exchanges, parts)

    def _weighted(self, instance: PointwiseInstance) -> Steps[PointwiseJudgement]:
        """One call; where the endpoint gives no probabilities, samples stand in for them and the mass is 0."""
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens, logprobs=True, top_logprobs=20)
        call = JudgeCall("score", self.messages(instance), sampling)
        (reply,) = yield [call]
        reading: Reading[float] = read_reply(call, reply, self._parse, self.mode)
        if isinstance(reply, Answer) and _tokens(reply.logprobs) is None:
            return (yield from self._sampled(instance, {"mass": 0.0}))
        low, high = float(self.dimension.low), float(self.dimension.high)
        if reading.value is None:
            return PointwiseJudgement(None, low, high, reading.status, reading.exchanges, {"mass": 0.0})
        logprobs = reply.logprobs if isinstance(reply, Answer) else None
        score, mass = weighted_score(logprobs, low, high, self._read_whole) or (reading.value, 0.0)
        return PointwiseJudgement(score, low, high, OK, reading.exchanges, {"mass": mass})

    def _parse(self, text: str) -> float | None:
        return parse_score(text, float(self.dimension.low), float(self.dimension.high))

    def _read_whole(self, text: str) -> float | None:
        """The score of a raw reply, as `read_step` reads it."""
        if self.mode == "compat":
            return self._parse(text)
        return read_spoken(text, self._parse)


def weighted_score(
    logprobs: Any, low: float, high: float, read: Callable[[str], float | None] | None = None
) -> tuple[float, float] | None:
    """Mean of the integer scores that the accepted number's token could have been, and the probability on them.

    The token is the one whose exchange for another score changes what `read` reads accordingly: whatever other numbers
    the reply holds ("On a scale of 1-5: 4"), they carry no weight.

    Args:
        logprobs: OpenAI's `choices[0].logprobs` object: `content`, a list of tokens with `top_logprobs`.
        low: end of the scale.
        high: other end.
        read: the parser of the whole reply; None is `parse_score` on the scale.

    Returns:
        None where the object has another form, or the number that `read` accepts is no single token (a decimal, a
        number of several tokens).
    """
    content = _tokens(logprobs)
    if content is None:
        return None
    read = read or partial(parse_score, low=low, high=high)
    tokens = [str(item["token"]) for item in content]
    accepted = read("".join(tokens))
    if accepted is None:
        return None
    other = accepted + 1 if accepted + 1 <= high else accepted - 1
    for place in reversed(range(len(tokens))):
        token = tokens[place]
        if _as_score(token, low, high) != accepted:
            continue
        exchanged = token.replace(token.strip(), f"{other:g}")
        if read("".join([*tokens[:place], exchanged, *tokens[place + 1 :]])) == other:
            return _mean_of(content[place].get("top_logprobs"), low, high)
    return None


def _tokens(logprobs: Any) -> list[Mapping[str, Any]] | None:
    """The reply's tokens; None where there are none."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(content, Sequence) or isinstance(content, str) or not content:
        return None
    return list(content) if all(isinstance(item, Mapping) and "token" in item for item in content) else None


def _mean_of(alternatives: Any, low: float, high: float) -> tuple[float, float] | None:
    if not isinstance(alternatives, Sequence) or isinstance(alternatives, str):
        return None
    mass: dict[float, float] = {}
    for item in alternatives:
        score = _as_score(item.get("token"), low, high) if isinstance(item, Mapping) else None
        logprob = item.get("logprob") if isinstance(item, Mapping) else None
        if score is not None and isinstance(logprob, (int, float)) and not math.isnan(logprob):
            mass[score] = mass.get(score, 0.0) + math.exp(min(float(logprob), 0.0))
    total = sum(mass.values())
    return (sum(score * weight for score, weight in mass.items()) / total, min(total, 1.0)) if total > 0 else None


def _as_score(token: object, low: float, high: float) -> float | None:
    bare = token.strip() if isinstance(token, str) else ""
    if not bare.isascii() or not bare.isdigit() or len(bare) > 3:
        return None
    return float(bare) if low <= int(bare) <= high else None
