"""Rounds of expert iteration: what can be sampled and trained together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.studies.preferences.wanted import WantedPairs
from assay.training.spec import TrainingJob

Round = tuple[list[WantedPairs], list[TrainingJob]]


def rounds_of(steps: Sequence[tuple[WantedPairs, TrainingJob]], served: Mapping[str, str] | None = None) -> list[Round]:
    """Pairs and trainings by round: each waits for the adapter that its answers are sampled from, and for no other.

    Args:
        steps: earlier ones first.
        served: training's key -> the adapter that answers for it, where it is not its own.
    """
    depth: dict[str | None, int] = {}
    rounds: list[Round] = []
    for wanted, job in steps:
        sampler = None if wanted.samples is None else wanted.samples.job.adapter_key
        place = depth.get(sampler, -1) + 1
        depth[(served or {}).get(job.key, job.key)] = place
        if place == len(rounds):
            rounds.append(([], []))
        pairs, jobs = rounds[place]
        if wanted.key not in {part.key for part in pairs}:
            pairs.append(wanted)
        jobs.append(job)
    return rounds
