"""Where a judge's actors run and what they ask Ray for; with CPUs of their own, trainings may hold all the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from assay.cluster.devices import device_environment
from assay.cluster.ray_aside import set_aside
from assay.cluster.ray_nodes import beside_the_driver, several_machines
from assay.scoring.jobs import JudgeSetup, ScoringResources


def judge_place(judge: JudgeSetup, resources: ScoringResources) -> dict[str, Any]:
    """What a judge actor asks Ray for. One that talks to a server on this machine's loopback has to be on it."""
    if _stays_here(judge):
        return {"num_cpus": 0, **beside_the_driver()}
    place: dict[str, Any] = {"num_cpus": resources.cpus_per_worker}
    if resources.judge_resources:
        place["resources"] = dict(resources.judge_resources)
    return place if judge.aside is None else {**place, **judge.aside.options()}


def engine_room(judge: JudgeSetup) -> dict[str, Any]:
    """What the actors of a local model need beside a CPU; nothing for judges that are asked over the network."""
    if judge.endpoint.kind.is_remote:
        return {}
    settings = judge.endpoint.local
    environment = {
        **device_environment(settings.gpus),
        "OMP_NUM_THREADS": str(settings.num_threads),
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    return {"num_gpus": settings.gpus, "runtime_env": {"env_vars": environment}}


def beside_cpus(judge: JudgeSetup, place: Mapping[str, Any]) -> dict[str, float]:
    """What a judge actor asks for beside its CPUs: GPUs where it holds a model, and what the cluster file names."""
    gpus = 0 if judge.endpoint.kind.is_remote else judge.endpoint.local.gpus
    return {**place.get("resources", {}), **({"GPU": float(gpus)} if gpus else {})}


def num_judges(judge: JudgeSetup, resources: ScoringResources) -> int:
    """Actors at most: of requests that travel in files few and large ones are made."""
    return 1 if judge.endpoint.kind.travels_in_files else resources.judge_workers


@contextmanager
def judge_aside(judge: JudgeSetup, resources: ScoringResources, count: int) -> Iterator[JudgeSetup | None]:
    """The judge as it is asked on CPUs of its own, which it has until the block ends; None: they cannot be had now."""
    if _stays_here(judge):  # takes no CPU from anybody
        yield judge
        return
    with set_aside({"CPU": resources.cpus_per_worker, **resources.judge_resources}, count) as aside:
        yield None if aside is None else replace(judge, aside=aside)


def _stays_here(judge: JudgeSetup) -> bool:
    return judge.endpoint.is_local and judge.endpoint.kind.is_remote and several_machines()
