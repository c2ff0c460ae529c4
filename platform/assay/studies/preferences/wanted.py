"""Which pairs a study wants, by key: answers of its start, their labels, and what becomes of both. Pure.

Answers to one prompt are rows of one predictions artifact: the prompt stands in the evaluation set `num` times, under
ids that end in `#00`, `#01`, ... and decide the sampling seed. So methods and sources that sample alike share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from assay.fingerprint import artifact_key
from assay.generation.spec import GenerationJob, GenerationSpec, predictions_key
from assay.preference.rows import KIND
from assay.preference.sources import GivenPairs, PairsAsked
from assay.records import Example
from assay.scoring.jobs import ScoringBatch, make_batches, scores_key
from assay.scoring.protocol import ScorerSpec
from assay.studies.spec import Study

PAIRS_SCHEMA = 1
SAMPLES_SCHEMA = 1


@dataclass(frozen=True)
class PreferenceInputs:
    """What pairs rest on beside the start."""

    labels: Mapping[str, ScorerSpec] = field(default_factory=dict)
    """Scorer by the name that a source's `label` may say."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Key of the pairs of each given dataset, by the study's name for it."""


@dataclass(frozen=True)
class Samples:
    """Several answers of one model to each prompt of a set."""

    job: GenerationJob
    spec: GenerationSpec
    num: int
    prompts: str
    """Mixture whose validation rows are the prompts, or key of an evaluation set."""

    @property
    def batch(self) -> ScoringBatch:
        """As scorers take it."""
        return make_batches([(self.job.key, self.job.evaluation_key)])[0]


@dataclass(frozen=True)
class WantedPairs:
    """A `pairs` artifact."""

    key: str
    asked: PairsAsked
    samples: Samples | None = None
    """None: the pairs are given."""
    label: ScorerSpec | None = None

    @property
    def scores_key(self) -> str:
        """Of the label's scores of the samples; empty where there are none."""
        return "" if self.samples is None or self.label is None else scores_key(self.label, self.samples.batch)

    def at(self, paths: Mapping[str, str]) -> WantedPairs:
        """The same with the folders, by key, of bases that the study makes."""
        if self.samples is None:
            return self
        job = self.samples.job
        placed = replace(job, base_path=paths.get(job.base_key, job.base_path))
        return replace(self, samples=replace(self.samples, job=placed))


def wanted_pairs(
    study: Study, asked: PairsAsked, base_key: str, base_path: str, prompts: str, inputs: PreferenceInputs
) -> WantedPairs:
    """The pairs of one source.

    Args:
        study: whose settings of generation hold, but for the temperature.
        asked: the source.
        base_key: of the start.
        base_path: its folder; empty where it is not made yet.
        prompts: key of the mixture that holds the prompts.
        inputs: labels and given pairs.
    """
    spec = asked.spec
    if isinstance(spec, GivenPairs):
        return WantedPairs(inputs.given[spec.dataset], asked)
    generation = study.generation.replace(temperature=spec.temperature)
    tokens = study.evaluation.instruction_max_new_tokens
    samples = sampled(generation, base_key, base_path, prompts, num=spec.num, max_new_tokens=tokens)
    label = inputs.labels[spec.label]
    made = {"pairs": spec.model_dump(mode="json")}
    scores = scores_key(label, samples.batch)
    key = artifact_key(KIND, PAIRS_SCHEMA, made, {"samples": samples.job.key, "scores": scores})
    return WantedPairs(key, asked, samples, label)


def sampled(
    spec: GenerationSpec, base_key: str, base_path: str, prompts: str, *, num: int, max_new_tokens: int
) -> Samples:
    """Answers of a model without an adapter, `num` to each prompt."""
    rows = artifact_key("evaluation", SAMPLES_SCHEMA, {"answers": num}, {"prompts": prompts})
    key = predictions_key(spec, base_key=base_key, adapter_key=None, evaluation_key=rows, max_new_tokens=max_new_tokens)
    job = GenerationJob(
        key=key, base_path=base_path, evaluation_key=rows, max_new_tokens=max_new_tokens, base_key=base_key
    )
    return Samples(job, spec, num, prompts)


def repeated(prompts: Sequence[Example], num: int) -> list[Example]:
    """Each prompt `num` times, under the ids of its answers."""
    return [replace(row, example_id=answer_id(row.example_id, place)) for row in prompts for place in range(num)]


def answer_id(example_id: str, place: int) -> str:
    """Id of an answer to a prompt."""
    return f"{example_id}#{place:03d}"
