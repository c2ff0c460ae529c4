"""Which adapters stand in for mixtures, and what they are asked. Pure.

Of a mixture with shares a_k the proxy is theta_0 + sum a_k D_k, where D_k is what the adapter that was trained on
component k alone adds to the base: one adapter whose rank is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from assay.errors import ConfigError
from assay.fingerprint import artifact_key
from assay.generation.spec import GenerationJob
from assay.metaeval.study_tables.frame import RunRow
from assay.mixtures.sobol import sobol
from assay.studies.artifacts import EvaluationSet, StudyArtifacts
from assay.studies.designs.searched import SearchedSpace
from assay.studies.spec import Study
from assay.training.spec import ADAPTER_KIND, TrainingJob

SUMMED_SCHEMA = 1
DECIMALS = 6
Shares = Mapping[str, float]


@dataclass(frozen=True)
class SummedAdapter:
    """Adapters of one base added up with weights, served as one whose rank is the sum of theirs."""

    parts: tuple[str, ...]
    weights: tuple[float, ...]
    rank: int

    @property
    def key(self) -> str:
        """Of the adapter artifact."""
        spec = {"summed": list(self.weights)}
        return artifact_key(ADAPTER_KIND, SUMMED_SCHEMA, spec, {"adapters": list(self.parts)})


@dataclass(frozen=True)
class WantedProxies:
    """The proxies of one base model."""

    shares: Mapping[str, Shares]
    """Of each mixture, by the name of its proxy in `plan`'s runs."""
    adapters: Mapping[str, SummedAdapter]
    """The same, as adapters."""
    plan: StudyArtifacts
    """What they answer: no training, every adapter on every evaluation set."""


def check_components(study: Study) -> SearchedSpace:
    """The space of the study's mixtures.

    Raises:
        ConfigError: another design, or a component that no mixture has alone.
    """
    space = study.grid.searched
    if space is None or study.objective is None:
        raise ConfigError(f"proxy: saw the design {study.grid.design!r}; expected mixture")
    if missing := [name for name in space.components if name not in study.grid.arm_of_component]:
        raise ConfigError(
            f"proxy: saw no mixture of {missing[0]!r} alone; expected one of each component; add "
            "grid.space.include: [vertices], or the points"
        )
    return space


def further_points(study: Study, count: int, seed: int) -> list[Shares]:
    """So many more mixtures of a study's components, spread evenly over the part of the simplex that it tries."""
    space = check_components(study)
    points = sobol(count, len(space.names), seed).tolist() if count else []
    return [space.weights(dict(zip(space.names, point, strict=True))) for point in points]


def wanted_proxies(
    study: Study, plan: StudyArtifacts, sets: Mapping[str, EvaluationSet], base_model: str, points: Sequence[Shares]
) -> WantedProxies:
    """The proxies of these mixtures.

    Args:
        study: a mixture study whose adapters are there.
        plan: its artifacts.
        sets: its evaluation sets by name.
        base_model: name of one of its bases, as runs have it.
        points: shares by component, adding up to 1; equal ones are asked once.

    Raises:
        ConfigError: another design, no such base, or a component that no adapter was trained on alone.
    """
    alone = _alone(study, plan, base_model)
    names = list(alone)
    shares: dict[str, Shares] = {}
    adapters: dict[str, SummedAdapter] = {}
    jobs: dict[str, GenerationJob] = {}
    runs: dict[str, RunRow] = {}
    for point in points:
        exact = {name: round(point.get(name, 0.0), DECIMALS) for name in names}
        used = [name for name in names if exact[name] > 0]
        parts = [alone[name] for name in used]
        adapter = SummedAdapter(
            tuple(job.key for job in parts),
            tuple(exact[name] for name in used),
            sum(job.spec.lora_rank for job in parts),
        )
        arm = f"sum {adapter.key[:12]}"
        if arm in shares:
            continue
        shares[arm], adapters[arm] = exact, adapter
        for name, rows in sorted(sets.items()):
            job = _asked(study, parts[0], adapter, rows)
            jobs[job.key] = job
            runs[job.key] = RunRow(
                predictions_key=job.key,
                adapter_key=adapter.key,
                mixture_key="",
                base_model=base_model,
                trained_task="",
                evaluation_set=name,
                num_target=0,
                draw=-1,
                training_seed=0,
                arm=arm,
                purpose=rows.purpose,
            )
    asked = replace(
        plan, trainings=(), generations=tuple(jobs.values()), runs=tuple(runs[key] for key in sorted(runs)), cells=(),
        trained_by={}, tunings=(), merged=(), stacked={}, prefixes={},
    )  # fmt: skip
    return WantedProxies(shares, adapters, asked)


def _alone(study: Study, plan: StudyArtifacts, base_model: str) -> dict[str, TrainingJob]:
    """The first training on each component alone, in the order of components."""
    space = check_components(study)
    trainings = {job.key: job for job in plan.trainings}
    first: dict[str, TrainingJob] = {}
    for cell, key in plan.cells:
        if key in trainings and trainings[key].base_name == base_model:
            first.setdefault(cell.arm, trainings[key])
    if not first:
        names = sorted({job.base_name for job in plan.trainings})
        raise ConfigError(f"base model {base_model}: expected one of {', '.join(names)}")
    arms = study.grid.arm_of_component
    if ended := [name for name in space.components if arms[name] not in first]:
        raise ConfigError(
            f"proxy: the training on {ended[0]!r} alone ended early, by the study's exits; expected one of each "
            "component in full; run it with --set exits=null"
        )
    return {name: first[arms[name]] for name in space.components}


def _asked(study: Study, alone: TrainingJob, adapter: SummedAdapter, rows: EvaluationSet) -> GenerationJob:
    return GenerationJob(
        key="",
        base_path=alone.base_path,
        base_source=alone.base_source,
        evaluation_key=rows.key,
        max_new_tokens=rows.max_new_tokens,
        adapter_key=adapter.key,
        lora_rank=adapter.rank,
        base_key=alone.base_key,
    ).keyed(study.generation)
