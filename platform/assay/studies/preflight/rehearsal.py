"""What is tried of each base before a sweep, and under which name it is remembered. Pure.

Remembered is what decides whether it fits: base, recipe, engine, what both run on, the kinds of machines, versions. A
seed, a mixture or a further evaluation set is no reason to try again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.fingerprint import artifact_key
from assay.generation.spec import GenerationJob, GenerationResources, GenerationSpec
from assay.records import Example
from assay.training.spec import TrainingJob, TrainResources, longest_first

KIND = "preflight"
SCHEMA = 1
ROWS = 8
"""Rows that an engine answers."""


@dataclass(frozen=True)
class Rehearsal:
    """What is tried of one base."""

    base_key: str
    training: TrainingJob | None
    """The one whose recipe is tried; None: nothing is trained on this base."""
    generation: GenerationJob | None
    """The one whose rows are answered; None: the base answers nothing, nor does what is trained on it."""

    def key(self, how: HowItRuns) -> str:
        """Of the artifact that says that it passed."""
        train = None if self.training is None else self.training.spec.replace(seed=0)
        said = {
            "train": None if train is None else train.identity(),
            "train_resources": how.training.model_dump(mode="json"),
            "generation": how.spec.identity(),
            "generation_resources": how.generation.model_dump(mode="json"),
            "rank": 0 if self.generation is None else self.generation.lora_rank,
            "new_tokens": 0 if self.generation is None else self.generation.max_new_tokens,
            "machines": [dict(sorted(kind.items())) for kind in how.machines],
            "versions": dict(how.versions),
        }
        return artifact_key(KIND, SCHEMA, said, {"base": self.base_key})


@dataclass(frozen=True)
class HowItRuns:
    """What a base is tried with."""

    training: TrainResources
    spec: GenerationSpec
    generation: GenerationResources
    machines: Sequence[Mapping[str, float]]
    """Each kind of node once, see `ray_nodes.machine_kinds`."""
    versions: Mapping[str, str]
    """Package -> version."""


def rehearsals(trainings: Sequence[TrainingJob], generations: Sequence[GenerationJob]) -> list[Rehearsal]:
    """One for each base that is at hand; what is missing of a study in, in the order in which its bases are trained.

    Bases that the study has yet to make are tuned from one that is tried.

    Args:
        trainings: that are missing.
        generations: that are missing.
    """
    first: dict[str, TrainingJob] = {}
    for job in longest_first([job for job in trainings if job.base_path]):
        first.setdefault(job.base_key, job)
    whole = {job.key: job.base_key for job in trainings if job.spec.method == "full"}
    asked: dict[str, GenerationJob] = {}
    for made in generations:
        base = made.base_key if made.base_path else whole.get(made.base_key, "")
        if base and (base not in asked or _size(made) > _size(asked[base])):
            asked[base] = made
    return [Rehearsal(key, first.get(key), asked.get(key)) for key in dict.fromkeys((*first, *asked))]


def longest_rows(rows: Sequence[Example]) -> list[Example]:
    """The rows with the longest prompts: what has room for them has room for all."""
    return sorted(rows, key=lambda row: (-len(row.instruction) - len(row.input), row.example_id))[:ROWS]


def _size(job: GenerationJob) -> tuple[int, int, str]:
    return job.lora_rank, job.max_new_tokens, job.key
