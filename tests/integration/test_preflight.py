"""A preflight on real engines: what passes is remembered, and what fails is told before any training."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from assay.cluster.devices import here_bfloat16_is_slow
from assay.errors import ConfigError
from assay.generation.spec import GenerationJob, GenerationResources, GenerationSpec
from assay.store import Store
from assay.studies.preflight.rehearsal import KIND, HowItRuns, rehearsals
from assay.training.spec import TrainingJob, TrainResources, TrainSpec
from support import lora_scenarios
from support.tiny_causal_models import arithmetic_examples

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]
TESTS = Path(__file__).resolve().parent.parent
WORKERS_PATH = os.pathsep.join([str(TESTS.parent / "platform"), str(TESTS)])
ROWS = {"rows": arithmetic_examples(20, split="test")}
SPEC = TrainSpec(max_length=128)
GENERATION = GenerationSpec(max_model_len=256, max_prompt_tokens=128)
RESOURCES = TrainResources(threads=1)
ENGINE = GenerationResources(cpus_per_engine=1, kv_cache_gib=0.1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("preflight")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        executor.submit(lora_scenarios.make_models, home, ("llama",)).result(timeout=120)
    return home / "llama"


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    import ray

    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": WORKERS_PATH, "OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    yield
    ray.shutdown()


def tried(store: Store, base: Path, spec: TrainSpec = SPEC, rank: int = 8) -> tuple[list[str], HowItRuns]:
    from assay.studies.preflight.ray_preflight import how_it_runs, run_preflight

    training = TrainingJob("training", "base", str(base), "mixture", spec, base_name="tiny")
    asked = GenerationJob("asked", str(base), "rows", 8, "training", lora_rank=rank, base_key="base")
    how = how_it_runs(RESOURCES, GENERATION, ENGINE)
    return run_preflight(store, rehearsals([training], [asked]), ROWS, how), how


def test_a_base_that_works_passes_once_for_its_machine(local_ray: None, base: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    began_s = time.monotonic()
    said, how = tried(store, base)
    print(f"preflight {time.monotonic() - began_s:.1f} s")
    assert said == ["tiny: a step of 4,096 tokens and answers by vllm"]
    assert how.machines == [{"CPU": 2.0}]
    assert {"torch", "transformers", "deepspeed"} <= set(how.versions)
    assert not store.keys("adapter")
    assert tried(store, base)[0] == []  # remembered
    assert len(store.keys(KIND)) == 1


@pytest.mark.parametrize(
    ("spec", "rank", "said"),
    [
        (SPEC.replace(target_modules=("nowhere",)), 8, "target_modules: saw nowhere"),
        (SPEC, 1000, "saw a LoRA rank of 1000"),
    ],
)
def test_what_fails_is_told_in_its_own_words_and_not_remembered(
    local_ray: None, base: Path, tmp_path: Path, spec: TrainSpec, rank: int, said: str
) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(ConfigError, match=said):
        tried(store, base, spec, rank)
    assert not store.keys(KIND)


@pytest.mark.skipif(not here_bfloat16_is_slow("bfloat16", 0), reason="this processor multiplies bfloat16")
def test_numbers_that_the_processor_does_not_have_are_refused(local_ray: None, base: Path, tmp_path: Path) -> None:
    """A step of 1,024 tokens of SmolLM2 took more than five minutes, and nothing said why."""
    store = Store(str(tmp_path))
    with pytest.raises(ConfigError, match=r"train\.dtype: saw bfloat16 on a processor without instructions for it"):
        tried(store, base, SPEC.replace(dtype="bfloat16"))
    assert not store.keys(KIND)
