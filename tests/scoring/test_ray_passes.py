"""What actors of models and judges ask Ray for, and what their processes see of GPUs. No stream is run here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from assay.cluster.capacity import Capacity
from assay.errors import ResourceError
from assay.llm.endpoint import EndpointSpec
from assay.scoring import ray_chunks, ray_judge_place, ray_passes
from assay.scoring.jobs import JudgeSetup, ScoringResources
from assay.scoring.judges.protocols.pointwise import IftevalJudge

ON_GPUS = Capacity(({"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}))


@pytest.mark.parametrize(
    ("fields", "room", "chunks", "expected"),
    [
        ({}, 6, 100, 1),  # on CPUs one, as each loads its model
        ({"gpus_per_model_worker": 0.5}, 6, 100, 6),
        ({"gpus_per_model_worker": 0.5}, 6, 2, 2),
        ({"gpus_per_model_worker": 1}, None, 100, 4),
        ({"gpus_per_model_worker": 1, "model_workers": 9}, None, 100, 9),
        ({"model_workers": 3}, 2, 100, 2),
    ],
)
def test_as_many_models_as_fit_where_they_have_gpus(
    fields: dict[str, Any], room: int | None, chunks: int, expected: int
) -> None:
    assert ScoringResources(**fields).num_model_workers(room, chunks) == expected


@pytest.mark.parametrize(("gpus", "size", "seen"), [(0.5, 4, None), (0.0, 1, "")])
def test_a_model_runs_where_its_share_is(
    monkeypatch: pytest.MonkeyPatch, gpus: float, size: int, seen: str | None
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(ray_passes, "capacity", lambda: ON_GPUS)
    monkeypatch.setattr(ray_passes, "_run", lambda chunks, worker, take, **options: asked.update(options))
    monkeypatch.setattr(ray_passes.Passes, "_chunks", lambda *_: [{}] * 50)
    monkeypatch.setattr(ray_passes.Passes, "_scoring", lambda *_: None)
    resources = ScoringResources(gpus_per_model_worker=gpus)
    ray_passes.Passes(None, {}, None, resources, SimpleNamespace(sizes={})).model([])  # type: ignore[arg-type]
    assert (asked["num_gpus"], asked["compute"].max_size) == (gpus, size)
    assert asked["runtime_env"]["env_vars"].get("CUDA_VISIBLE_DEVICES") == seen


def test_a_model_that_asked_for_a_gpu_where_torch_sees_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    actor = ray_chunks.ModelActor(None, None, torch.get_num_threads(), 0.5)  # type: ignore[arg-type]
    with pytest.raises(ResourceError, match=r"gpus_per_model_worker=0\.5: saw no CUDA device"):
        actor(None)  # type: ignore[arg-type]


def local_judge(gpus: int) -> JudgeSetup:
    endpoint = EndpointSpec(model="m", transport="local", base_url="http://127.0.0.1:1/v1", local={"gpus": gpus})
    return JudgeSetup(None, IftevalJudge(), endpoint, "sqlite://")  # type: ignore[arg-type]


@pytest.mark.parametrize(("gpus", "room", "seen"), [(1, 2, None), (2, 1, None), (0, 16, "")])
def test_the_gpus_of_local_judges_are_counted(
    monkeypatch: pytest.MonkeyPatch, gpus: int, room: int, seen: str | None
) -> None:
    monkeypatch.setattr(ray_passes, "capacity", lambda: ON_GPUS)
    judge, resources = local_judge(gpus), ScoringResources(judge_workers=8)
    share = ray_judge_place.beside_cpus(judge, {"num_cpus": 1.0})
    assert ray_passes._room_for_workers(resources, share) == room
    engine = ray_judge_place.engine_room(judge)
    assert engine["num_gpus"] == gpus
    assert engine["runtime_env"]["env_vars"].get("CUDA_VISIBLE_DEVICES") == seen


def test_gpus_of_a_local_judge_that_no_node_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_passes, "capacity", lambda: ON_GPUS)
    with pytest.raises(ResourceError, match="saw 2 GPU on the largest node of this Ray cluster; expected 4"):
        ray_passes._room_for_workers(ScoringResources(), ray_judge_place.beside_cpus(local_judge(4), {}))
