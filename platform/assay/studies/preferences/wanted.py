"""Which pairs a study wants, by key: answers of its start, their labels, and what becomes of both. Pure.

Answers to one prompt are rows of one predictions artifact: the prompt stands in the evaluation set `num` times, under
ids that end in `#000`, `#001`, ... and decide the sampling seed. So methods and sources that sample alike share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from assay.fingerprint import artifact_key
from assay.generation.spec import GenerationJob, GenerationSpec
from assay.preference.principles import CRITIQUE, REVISION
from assay.preference.rows import KIND
from assay.preference.sources import GivenPairs, PairsAsked, PrinciplePairs, RsoPairs, StrongerPairs
from assay.records import Example
from assay.scoring.jobs import ScoringBatch, make_batches, scores_key
from assay.scoring.protocol import ScorerSpec
from assay.studies.spec import Study

PAIRS_SCHEMA = 1
RSO_SCHEMA = 2
"""Apart from that of other pairs since what is accepted follows the whole id of a prompt, not its first letters."""
SAMPLES_SCHEMA = 1


@dataclass(frozen=True)
class PreferenceInputs:
    """What pairs rest on beside the start."""

    labels: Mapping[str, ScorerSpec] = field(default_factory=dict)
    """Scorer by what a source calls it, `LabelledAnswers.scorer`."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Key of the pairs of each given dataset, by the study's name for it."""
    principles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By the file that a source names."""


@dataclass(frozen=True)
class Samples:
    """Several answers of one model to each prompt of a set."""

    job: GenerationJob
    spec: GenerationSpec
    num: int
    prompts: str
    """Mixture whose validation rows are the prompts, or key of an evaluation set."""

    def at(self, paths: Mapping[str, str]) -> Samples:
        """The same with the folders, by key, of bases that the study makes."""
        return replace(self, job=replace(self.job, base_path=paths.get(self.job.base_key, self.job.base_path)))

    @property
    def batch(self) -> ScoringBatch:
        """As scorers take it."""
        return make_batches([(self.job.key, self.job.evaluation_key)])[0]


@dataclass(frozen=True)
class Sampler:
    """The model whose answers are sampled."""

    base_key: str
    base_path: str
    """Empty where it is not made yet."""
    adapter_key: str | None = None
    lora_rank: int = 0


@dataclass(frozen=True)
class WantedPairs:
    """A `pairs` artifact."""

    key: str
    asked: PairsAsked
    samples: Samples | None = None
    """None: the pairs are given."""
    losing: Samples | None = None
    """Where answers of `samples` are preferred to others whatever they say: the others."""
    label: ScorerSpec | None = None
    critique: Samples | None = None
    """Where `samples` are revisions of the answers of `losing`: what was said of those."""
    principles: tuple[str, ...] = ()
    start: Sampler | None = None
    """Where the start labels: itself, whichever round sampled the answers."""

    @property
    def scores_key(self) -> str:
        """Of the label's scores of the samples; empty where there are none."""
        return "" if self.samples is None or self.label is None else scores_key(self.label, self.samples.batch)

    def at(self, paths: Mapping[str, str]) -> WantedPairs:
        """The same with the folders, by key, of bases that the study makes."""
        if self.samples is None:
            return self
        losing = None if self.losing is None else self.losing.at(paths)
        critique = None if self.critique is None else self.critique.at(paths)
        start = self.start and replace(self.start, base_path=paths.get(self.start.base_key, self.start.base_path))
        return replace(self, samples=self.samples.at(paths), losing=losing, critique=critique, start=start)


def wanted_pairs(
    study: Study,
    asked: PairsAsked,
    sampler: Sampler,
    prompts: str,
    inputs: PreferenceInputs,
    start: Sampler,
    winner: Sampler | None = None,
) -> WantedPairs:
    """The pairs of one source.

    Args:
        study: whose settings of generation hold, but for the temperature.
        asked: the source.
        sampler: the start, or what a round of expert iteration trained.
        prompts: key of the mixture that holds the prompts.
        inputs: labels and given pairs.
        start: the model that all arms start from.
        winner: a stronger model that the source names.
    """
    spec = asked.spec
    if isinstance(spec, GivenPairs):
        return WantedPairs(inputs.given[spec.dataset], asked)
    generation = study.generation.replace(temperature=spec.temperature)
    tokens = study.evaluation.instruction_max_new_tokens
    if isinstance(spec, StrongerPairs):
        sides = ((winner or sampler, spec.winner_prefix), (sampler, spec.loser_prefix))
        return _stronger(asked, generation, sides, prompts, tokens)
    if isinstance(spec, PrinciplePairs):
        return _revised(asked, generation, sampler, prompts, tokens, inputs.principles[spec.file])
    samples = sampled(generation, sampler, prompts, num=spec.num, max_new_tokens=tokens)
    label = inputs.labels[spec.scorer]
    made = {"pairs": spec}
    scores = scores_key(label, samples.batch)
    schema = RSO_SCHEMA if isinstance(spec, RsoPairs) else PAIRS_SCHEMA
    key = artifact_key(KIND, schema, made, {"samples": samples.job.key, "scores": scores})
    return WantedPairs(key, asked, samples, label=label, start=start if spec.is_judged_by_start else None)


def _stronger(
    asked: PairsAsked, spec: GenerationSpec, sides: Sequence[tuple[Sampler, str]], prompts: str, tokens: int
) -> WantedPairs:
    """Answers of the winner and of the loser, each a model and what stands before its questions."""
    winner, loser = (
        sampled(asked_with(spec, prefix), model, prompts, num=1, max_new_tokens=tokens) for model, prefix in sides
    )
    answers = {"winner": winner.job.key, "loser": loser.job.key}
    return WantedPairs(artifact_key(KIND, PAIRS_SCHEMA, {"pairs": "stronger"}, answers), asked, winner, loser)


def _revised(
    asked: PairsAsked, spec: GenerationSpec, start: Sampler, prompts: str, tokens: int, principles: tuple[str, ...]
) -> WantedPairs:
    """An answer, its critique and its revision, each a question about what was said before."""
    said = {"principles": principles, "critique": CRITIQUE, "revision": REVISION}
    answers = sampled(spec, start, prompts, num=1, max_new_tokens=tokens)
    steps = [answers]
    for step in ("critique", "revision"):
        before = artifact_key("evaluation", SAMPLES_SCHEMA, {"step": step, **said}, {"answers": steps[-1].job.key})
        steps.append(sampled(spec, start, before, num=1, max_new_tokens=tokens))
    key = artifact_key(KIND, PAIRS_SCHEMA, {"pairs": "principles"}, {"revisions": steps[-1].job.key})
    return WantedPairs(key, asked, steps[2], answers, critique=steps[1], principles=principles)


def asked_with(spec: GenerationSpec, prefix: str) -> GenerationSpec:
    """How answers are made with this in front of the questions."""
    return spec.replace(prompt=spec.prompt.replace(prefix=prefix)) if prefix else spec


def sampled(spec: GenerationSpec, sampler: Sampler, prompts: str, *, num: int, max_new_tokens: int) -> Samples:
    """Answers of a model, `num` to each prompt."""
    rows = artifact_key("evaluation", SAMPLES_SCHEMA, {"answers": num}, {"prompts": prompts})
    job = GenerationJob(
        key="",
        base_path=sampler.base_path,
        evaluation_key=rows,
        max_new_tokens=max_new_tokens,
        adapter_key=sampler.adapter_key,
        lora_rank=sampler.lora_rank,
        base_key=sampler.base_key,
    ).keyed(spec)
    return Samples(job, spec, num, prompts)


def repeated(prompts: Sequence[Example], num: int) -> list[Example]:
    """Each prompt `num` times, under the ids of its answers."""
    return [replace(row, example_id=answer_id(row.example_id, place)) for row in prompts for place in range(num)]


def answer_id(example_id: str, place: int) -> str:
    """Id of an answer to a prompt."""
    return f"{example_id}#{place:03d}"
