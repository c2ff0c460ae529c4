"""What each method of a study of preferences cost: trainings, tokens, device-seconds, answers, verdicts. Pure.

Seconds are of the optimizer steps that runs of this study did; a training that was found in the store, or whose run was
killed before it told, has none. So the rows are for the report, and for no table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay.studies.artifacts import StudyArtifacts


def method_costs(
    plan: StudyArtifacts, arms: Sequence[Mapping[str, Any]], seconds: Mapping[str, float]
) -> list[dict[str, Any]]:
    """A row for each method and source of pairs, over all tuning points, seeds and rounds.

    Args:
        plan: the study's artifacts.
        arms: rows of `preference_arms`.
        seconds: device-seconds by adapter key, where they are known.
    """
    found = []
    for arm in arms:
        keys = set(_trainings(plan, arm))
        timed = keys & set(seconds)
        found.append(
            {
                **{name: arm[name] for name in ("base_model", "pairs", "method", "trained_tokens")},
                **{name: arm[name] for name in ("sampled_answers", "judge_verdicts", "start_verdicts")},
                "trainings": len(keys),
                "timed": len(timed),
                "device_hours": sum(seconds[key] for key in timed) / 3600,
            }
        )
    return found


def _trainings(plan: StudyArtifacts, arm: Mapping[str, Any]) -> Iterator[str]:
    """Adapters of a method on a source: those of every point and seed, and of rounds before the last."""
    begins = f"{arm['method']} on {arm['pairs']} ("
    bases = {job.key: job.base_name for job in (*plan.trainings, *(job for _, job in plan.rounds))}
    for cell, key in plan.cells:
        if cell.arm.startswith(begins) and bases.get(key) == arm["base_model"]:
            yield key
    for _, job in plan.rounds:
        if job.labels["arm"].startswith(begins) and job.base_name == arm["base_model"]:
            yield job.key
