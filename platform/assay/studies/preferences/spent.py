"""What each method of a study of preferences cost: trainings, tokens, device-seconds, answers, verdicts. Pure.

Seconds are of the optimizer steps that runs of this study did; a training that was found in the store, or whose run was
killed before it told, has none. So the rows are for the report, and for no table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from assay.metaeval.preference.equal_cost import Spent
from assay.preference.sources import answers_to_a_prompt, judge_verdicts, start_verdicts, verdicts_about
from assay.studies.artifacts import StudyArtifacts
from assay.studies.designs.preference import EXPERT_ITERATION, PreferenceGrid


class PaidForPairs(NamedTuple):
    """What was sampled and asked for the pairs of a method, over all of its tuning points and seeds."""

    answers: int
    judge_verdicts: int
    start_verdicts: int


def paid_for_pairs(grid: PreferenceGrid, source: str, method: str) -> PaidForPairs:
    """All methods share what is sampled from the start; later rounds of expert iteration are each training's own."""
    spec = grid.pairs[source]
    later = (grid.rounds - 1) * grid.num_points * grid.seeds if method == EXPERT_ITERATION else 0
    times = grid.num_prompts * (1 + later)
    return PaidForPairs(answers_to_a_prompt(spec) * times, judge_verdicts(spec) * times, start_verdicts(spec) * times)


def spent_on_pairs(grid: PreferenceGrid, source: str, method: str) -> Spent:
    """The same for one training."""
    spec, rounds = grid.pairs[source], grid.rounds if method == EXPERT_ITERATION else 1
    answers, verdicts = answers_to_a_prompt(spec), judge_verdicts(spec) + start_verdicts(spec)
    return Spent(grid.num_prompts, answers * rounds, verdicts * rounds, partial(verdicts_about, spec))


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
