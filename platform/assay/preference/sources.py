"""Where preferences come from: what a study says of each source. Plain configuration, part of the pairs' keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from assay.config import Config, Later


class GivenPairs(Config):
    """A dataset of preferences, as people or other models made them."""

    kind: Literal["given"] = "given"
    dataset: str
    """Name of a source of `data.sources` with its field `preference` set."""


JUDGE = "judge"
"""The label of the study's judge that rates each answer."""
PAIRWISE, SELF = "pairwise", "self"
"""Labels by comparing answers two by two: the study's judge, and the start itself (RLAIF)."""
VANILLA = "vanilla"


class LabelledAnswers(Config):
    """Answers of the start model, and who says which is better."""

    temperature: float = Field(0.8, gt=0, le=2)
    """Of sampling."""
    label: str = JUDGE
    """One of the study's `scorers`: "judge" rates each answer, or a local scorer by name ("truth", "heuristic",
    "reward"). Or "pairwise": the judge compares every two answers in both orders; "self": the start itself does. The
    score of an answer is then the share of its comparisons that it won."""
    strategy: Annotated[str, Later(VANILLA)] = VANILLA
    """Of the labels "pairwise" and "self": how two answers are compared, a strategy of `assay metaeval llmbar`."""
    length_bias: float = 0.0
    """Planted: added to the score for each word of an answer. For data whose truth is known; 0 plants nothing."""

    @model_validator(mode="after")
    def _is_compared_where_it_says_how(self) -> Self:
        if self.strategy != VANILLA and not self.is_compared:
            raise ValueError(f"strategy: saw {self.strategy!r} with the label {self.label!r}, which compares nothing")
        if self.length_bias and self.is_compared:
            raise ValueError(f"length_bias={self.length_bias:g}: expected 0 with the label {self.label!r}, no scorer's")
        return self

    @property
    def is_compared(self) -> bool:
        """Whether answers are compared two by two, instead of rated one by one."""
        return self.label in (PAIRWISE, SELF)

    @property
    def is_judged_by_start(self) -> bool:
        """Whether the start says which of its answers is better."""
        return self.label == SELF

    @property
    def scorer(self) -> str:
        """What makes its labels: labels of one name by two strategies are two."""
        return f"{self.label} by {self.strategy}" if self.is_compared else self.label


class SampledPairs(LabelledAnswers):
    """Several answers to each prompt: a row holds those that differ in score, best first."""

    kind: Literal["sampled"] = "sampled"
    num: int = Field(8, ge=2, le=64)
    """Answers to a prompt."""


class RsoPairs(LabelledAnswers):
    """Answers by rejection sampling towards the optimal policy (RSO), then labelled as `sampled` are."""

    kind: Literal["rso"] = "rso"
    num: int = Field(64, ge=2, le=256)
    """Answers sampled to a prompt."""
    keep: int = Field(8, ge=2, le=64)
    """Of these, answers accepted."""
    beta: float = Field(0.5, gt=0)
    """Strength of the divergence penalty in the policy that is aimed at, in the score's unit."""
    seed: int = 0
    """Decides what is accepted."""


START = "start"
"""What sources and arms call the model that all arms start from, as it is."""

REPORTED_SET = "preferences"
"""Evaluation set of the prompts that are reported."""


class StrongerPairs(Config):
    """Nobody labels: what a stronger model answers, or the start with a better prompt (RLCD), is preferred."""

    kind: Literal["stronger"] = "stronger"
    winner: str = START
    """A model, as `base_models` name theirs, without any tuning of ours; or the start."""
    loser: Literal["start"] = "start"
    winner_prefix: str = ""
    """Stands before the questions that the winner is asked; pairs have the plain ones."""
    loser_prefix: str = ""
    temperature: float = Field(0.8, gt=0, le=2)
    """Of sampling."""

    @model_validator(mode="after")
    def _sides_differ(self) -> StrongerPairs:
        if self.winner == START and self.winner_prefix == self.loser_prefix:
            raise ValueError("winner: saw the start on both sides with one prompt; name a model, or give prefixes")
        return self


class PrinciplePairs(Config):
    """Constitutional: the start criticises its own answer by a principle and writes it anew, which is preferred."""

    kind: Literal["principles"] = "principles"
    file: str
    """Principles, one a line, below `data.root`; known by its content."""
    temperature: float = Field(0.8, gt=0, le=2)
    """Of sampling."""

    @field_validator("file")
    @classmethod
    def _stays_below_root(cls, file: str) -> str:
        path = PurePosixPath(file.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or not file.strip():
            raise ValueError("expected a path below data.root, without '..'")
        return file


def answers_to_a_prompt(spec: Config) -> int:
    """Answers that a source samples to each prompt."""
    if isinstance(spec, (SampledPairs, RsoPairs)):
        return spec.num
    return 2 if isinstance(spec, StrongerPairs) else 3 if isinstance(spec, PrinciplePairs) else 0


def judge_verdicts(spec: Config) -> int:
    """Most that the study's judge is asked about the answers to one prompt: ratings, or both orders of every two."""
    is_asked = isinstance(spec, (SampledPairs, RsoPairs)) and not spec.is_judged_by_start
    return verdicts_about(spec, answers_to_a_prompt(spec)) if is_asked else 0


def start_verdicts(spec: Config) -> int:
    """The same of the start itself."""
    is_asked = isinstance(spec, (SampledPairs, RsoPairs)) and spec.is_judged_by_start
    return verdicts_about(spec, answers_to_a_prompt(spec)) if is_asked else 0


def verdicts_about(spec: Config, num: int) -> int:
    """Most verdicts that a source's label takes about `num` answers to one prompt; a local scorer's are none."""
    if not isinstance(spec, LabelledAnswers):
        return 0
    return num * (num - 1) if spec.is_compared else num if spec.label == JUDGE else 0


def _kind_of(value: Any) -> str:
    return f"@{value.get('kind') if isinstance(value, Mapping) else value.kind}"


PairsSpec = Annotated[
    Annotated[GivenPairs, Tag("@given")]
    | Annotated[SampledPairs, Tag("@sampled")]
    | Annotated[RsoPairs, Tag("@rso")]
    | Annotated[StrongerPairs, Tag("@stronger")]
    | Annotated[PrinciplePairs, Tag("@principles")],
    Discriminator(_kind_of),
]
"""A source of preferences, told apart by its `kind`."""


def named_kinds(sources: Any) -> Any:
    """Sources whose name is a kind need not say their kind."""
    if not isinstance(sources, Mapping):
        return sources
    return {
        name: {"kind": name, **spec} if isinstance(spec, Mapping) and "kind" not in spec else spec
        for name, spec in sources.items()
    }


PairSources = Annotated[Mapping[str, PairsSpec], BeforeValidator(named_kinds)]
"""Name -> source; several make an axis."""


@dataclass(frozen=True)
class PairsAsked:
    """The preferences that a condition is trained on."""

    name: str
    """The study's name of the source."""
    spec: PairsSpec
    rounds: int = 1
    """Expert iteration: so many times answers are sampled, from what the last round trained, and trained on."""
