"""What only a GPU machine shows: `make test-gpu`. None of it was run when it was written."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from support import lora_scenarios
from support.tiny_models import make_adapters, make_model

pytestmark = pytest.mark.gpu


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor


def test_the_machine_has_what_the_wheels_need() -> None:
    import torch

    assert torch.cuda.is_available()
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    assert int(driver.split(".")[0]) >= 580
    assert shutil.which("gcc") and Path(sysconfig.get_paths()["include"], "Python.h").is_file()
    assert importlib.metadata.version("vllm")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_training_on_the_gpu_is_that_of_the_cpu(pool: ProcessPoolExecutor, tmp_path: Path, dtype: str) -> None:
    pool.submit(lora_scenarios.make_models, tmp_path, ("llama",)).result(timeout=180)
    spec = lora_scenarios.SPEC.replace(dtype=dtype)
    found = {
        device: pool.submit(lora_scenarios.train_once, tmp_path, "llama", device, spec, device=device).result(600)
        for device in ("cpu", "cuda")
    }
    loss = {device: np.array([step.loss for step in run["metrics"]]) for device, run in found.items()}
    np.testing.assert_allclose(loss["cuda"], loss["cpu"], rtol=1e-3 if dtype == "float32" else 3e-2)


def test_a_killed_training_goes_on_from_its_checkpoint(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    pool.submit(lora_scenarios.make_models, tmp_path, ("llama",)).result(timeout=180)
    options = {"store": str(tmp_path / "store"), "checkpoint_every": 2, "device": "cuda"}
    whole = pool.submit(lora_scenarios.train_once, tmp_path, "llama", "whole", device="cuda").result(600)
    pool.submit(lora_scenarios.train_once, tmp_path, "llama", "cut-1", kill_at=5, **options).result(600)
    resumed = pool.submit(lora_scenarios.train_once, tmp_path, "llama", "cut-2", **options).result(600)
    worst = max(float(np.abs(whole["tensors"][n] - resumed["tensors"][n]).max()) for n in whole["tensors"])
    assert worst < 1e-5


def serve(base: str, adapter: str, dtype: str) -> tuple[str, list[str | None]]:
    """The engine's label, and the error of each of eight rows."""
    from assay.generation.ray_engine import start_engine
    from assay.generation.spec import AdapterRef, GenerationResources, GenerationSpec, PromptRow

    spec = GenerationSpec(dtype=dtype, max_model_len=128)
    engine, label = start_engine(base, spec, GenerationResources(gpus_per_engine=1, gpu_memory_fraction=0.3), 8)
    ref = AdapterRef("a", adapter, 8)
    answers = engine.generate([PromptRow(f"r{i}", (1, 12 + i, 13), 8, ref) for i in range(8)])
    return label, [answer.error for answer in answers]


@pytest.mark.parametrize(("dtype", "engine"), [("bfloat16", "vllm"), ("float32", "hf: vLLM's LoRA kernels")])
def test_adapters_are_served(pool: ProcessPoolExecutor, tmp_path: Path, dtype: str, engine: str) -> None:
    base = pool.submit(make_model, tmp_path / "base", "llama").result(timeout=180)
    pool.submit(make_adapters, base, [tmp_path / "adapter"]).result(timeout=180)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:  # vLLM changes transformers' classes
        label, errors = fresh.submit(serve, str(base), str(tmp_path / "adapter"), dtype).result(timeout=600)
    assert label.startswith(engine)
    assert errors == [None] * 8


def test_the_quickstart_runs_with_a_gpu_in_the_machine(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "assay.cli", "run", "quickstart", "--storage", str(tmp_path / "runs")]
    gpus = ["--set", "resources.training.gpus_per_worker=0.5", "--set", "resources.generation.gpus_per_engine=0.5"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for extra in ([], gpus):  # on the CPU beside a GPU, and on the GPU in bfloat16
        run = subprocess.run([*command, *extra], env=env, capture_output=True, text=True, timeout=1200, check=False)
        assert run.returncode == 0, run.stderr[-2000:]
