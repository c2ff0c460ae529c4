"""The real engines on randomly initialised models: same greedy tokens, adapters kept apart, and the Ray Data run.

vLLM changes transformers' classes in its process, so each engine runs in a process of its own: this file called as a
script (`_probe`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ConfigError, DataError, ResourceError
from assay.generation.spec import (
    AdapterRef,
    GenerationJob,
    GenerationReport,
    GenerationResources,
    GenerationSpec,
    PromptRow,
    predictions_key,
)
from assay.hooks import SilentProgress
from assay.records import Prediction
from assay.store import Store
from support.tiny_models import ARCHITECTURES, make_adapters, make_examples, make_model

TESTS = Path(__file__).resolve().parent.parent
NUM_ROWS = 24
NEW_TOKENS = 12
ADAPTERS = ("a0", "a1", "a2")
ALIKE = tuple(range(10, 50))  # as long as an instruct model's system text: shorter than vLLM's own blocks on CPUs
RESOURCES = GenerationResources(cpus_per_engine=1, kv_cache_gib=0.1, max_num_seqs=32)
SPEC = GenerationSpec(max_model_len=128, max_prompt_tokens=64, block_rows=10)

# Ray Data copies its context, and warns of the fields that it deprecates itself
pytestmark = pytest.mark.filterwarnings("ignore:::ray.data.context")


# --- the engines ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for architecture in ARCHITECTURES:
        base = make_model(root / architecture, architecture)
        make_adapters(base, [root / f"{architecture}-{name}" for name in ADAPTERS])
    make_model(root / "narrow", "llama", heads=4)  # head size 16, which vLLM on CPUs does not take
    make_adapters(root / "narrow", [root / "narrow-a0"])
    return root


@pytest.fixture(scope="module")
def probes(models: Path) -> dict[str, dict[str, list[str]]]:
    """What each engine wrote: engine -> "architecture/pass" -> predictions. Both run at once."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'platform'}",
        "OMP_NUM_THREADS": "1",
    }
    runs = {
        engine: subprocess.Popen(
            [sys.executable, __file__, engine, str(models)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for engine in ("vllm", "hf")
    }
    results = {}
    for engine, run in runs.items():
        out, _ = run.communicate(timeout=300)
        assert run.returncode == 0
        results[engine] = json.loads(out.strip().splitlines()[-1])
    return results


def _probe(engine: str, root: Path) -> dict[str, list[str]]:
    """Every pass through an engine that the tests compare."""
    from assay.generation.ray_engine import prompt_rows, start_engine

    found: dict[str, list[str]] = {}
    examples = make_examples(NUM_ROWS)
    for architecture in ARCHITECTURES:
        spec = SPEC.replace(engine=engine)
        served, label = start_engine(str(root / architecture), spec, RESOURCES, 8)
        assert label == engine
        adapters = {name: AdapterRef(name, str(root / f"{architecture}-{name}"), 8) for name in ADAPTERS}

        def rows(
            name: str, tokenizer: Any = served.tokenizer, known: dict[str, AdapterRef] = adapters
        ) -> list[PromptRow]:
            return prompt_rows(tokenizer, examples, SPEC, 64, NEW_TOKENS, known.get(name))

        def show(predictions: list[Prediction]) -> list[str]:
            return [
                f"{p.example_id} {p.finish_reason} {p.num_prompt_tokens} {p.num_tokens} {p.prediction}"
                for p in predictions
            ]

        for name in ("base", *ADAPTERS, "base"):  # the second base pass comes after adapters were loaded
            found[f"{architecture}/{name}" + "/again" * (f"{architecture}/{name}" in found)] = show(
                served.generate(rows(name))
            )
        # all in one call: every third row by the base model, the others by two adapters in turn
        turns = ["base", "a0", "a2"]
        mixed = [rows(turns[i % 3])[i] for i in range(NUM_ROWS)]
        found[f"{architecture}/mixed"] = show(served.generate(mixed))
        odd = [*rows("a1")[:3], PromptRow("odd", (1, 9999), NEW_TOKENS, adapters["a1"])]
        found[f"{architecture}/odd"] = [str(p.error) for p in served.generate(odd)]
        alike = [dataclasses.replace(row, prompt_ids=ALIKE + row.prompt_ids) for row in rows("a1")]
        with _cached_tokens(served) as cached:
            found[f"{architecture}/alike"] = show(served.generate(alike))
        found[f"{architecture}/cached"] = [str(number) for number in cached]
        served.close()
    return found


@contextlib.contextmanager
def _cached_tokens(served: Any) -> Iterator[list[int]]:
    """Prompt tokens that vLLM did not compute, row by row; nothing of another engine."""
    counts: list[int] = []
    if served.name != "vllm":
        yield counts
        return
    plain = served._llm.generate

    def generate(*args: Any, **options: Any) -> Any:
        outputs = plain(*args, **options)
        counts.extend(output.num_cached_tokens for output in outputs)
        return outputs

    served._llm.generate = generate
    yield counts
    served._llm.generate = plain


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_prompts_begin_with_alike_is_computed_once(probes: dict[str, Any], architecture: str) -> None:
    first, *others = map(int, probes["vllm"][f"{architecture}/cached"])
    assert first == 0
    assert min(others) >= len(ALIKE) // 32 * 32 > 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["base", "base/again", *ADAPTERS, "mixed", "alike"])
def test_both_engines_write_the_same_greedy_tokens(probes: dict[str, Any], architecture: str, name: str) -> None:
    written = probes["vllm"][f"{architecture}/{name}"]
    assert written == probes["hf"][f"{architecture}/{name}"]
    assert len(set(written)) > NUM_ROWS // 2  # not one answer for all


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("engine", ["vllm", "hf"])
def test_base_rows_in_a_call_with_adapter_rows_are_the_base_models(
    probes: dict[str, Any], engine: str, architecture: str
) -> None:
    found = probes[engine]
    turns = ["base", "a0", "a2"]
    alone = [found[f"{architecture}/{turns[i % 3]}"][i] for i in range(NUM_ROWS)]
    assert found[f"{architecture}/mixed"] == alone
    assert found[f"{architecture}/base"] != found[f"{architecture}/a2"]


@pytest.mark.parametrize("engine", ["vllm", "hf"])
def test_a_row_outside_the_vocabulary_is_an_error_row_and_spares_its_batch(probes: dict[str, Any], engine: str) -> None:
    *good, bad = probes[engine]["llama/odd"]
    assert good == ["None"] * 3
    assert "vocabulary" in bad


# --- the run --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": str(TESTS.parent / "platform")}},
    )
    yield
    ray.shutdown()


@dataclasses.dataclass
class Watched(SilentProgress):
    """Progress that remembers."""

    total: int = 0
    done: int = 0
    rows: int = 0

    def start(self, stage: str, total: int, *, done: int = 0, unit: str = "") -> None:
        self.total, self.done = total, done

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        self.rows += count


def job(models: Path, base: str, adapter: str | None, evaluation: str, spec: GenerationSpec) -> GenerationJob:
    key = predictions_key(
        spec, base_key=base, adapter_key=adapter, evaluation_key=evaluation, max_new_tokens=NEW_TOKENS
    )
    folder = None if adapter is None else str(models / f"{base}-{adapter}")
    return GenerationJob(
        key, str(models / base), evaluation, NEW_TOKENS, adapter, folder, 0 if adapter is None else 8, base
    )


def run(
    store: Store, jobs: list[GenerationJob], spec: GenerationSpec, progress: Watched | None = None, **changes: Any
) -> GenerationReport:
    from assay.generation.ray_generate import run_generation

    sets = {"first": make_examples(NUM_ROWS), "second": make_examples(7, seed=1)}
    return run_generation(store, jobs, sets, spec, RESOURCES.replace(**changes), progress)


def test_run_publishes_every_pair_once_and_equals_the_engine(
    local_ray: None, models: Path, probes: dict[str, Any], tmp_path: Path
) -> None:
    from support.stored_rows import read_predictions

    store, progress = Store(str(tmp_path)), Watched()
    broken = models / "llama-broken"
    broken.mkdir(exist_ok=True)
    (broken / "adapter_config.json").write_text("{}")
    jobs = [
        job(models, "llama", name, set_name, SPEC) for name in (None, *ADAPTERS) for set_name in ("first", "second")
    ]
    jobs.append(job(models, "llama", "broken", "second", SPEC))
    report = run(store, [*jobs, jobs[0]], SPEC, progress)
    assert report.engines == {str(models / "llama"): "vllm"}
    assert set(report.published) == {j.key for j in jobs[:-1]}
    assert list(report.failed) == [jobs[-1].key]
    assert "cannot be loaded" in report.failed[jobs[-1].key]
    assert not store.exists("predictions", jobs[-1].key)  # nothing stored, so the next run tries again
    assert (progress.total, progress.rows) == (4 * (NUM_ROWS + 7) + 7, 4 * (NUM_ROWS + 7) + 7)
    for wanted in jobs[:-1:2]:
        rows = read_predictions(store, wanted.key)
        assert [row.example_id for row in rows] == sorted(row.example_id for row in rows)
        told = [line.split(" ", 4) for line in probes["vllm"][f"llama/{wanted.adapter_key or 'base'}"]]
        assert [row.prediction for row in rows] == [line[4] for line in told]

    again = run(store, jobs[:-1], SPEC, progress)
    assert again.published == ()
    assert set(again.found) == set(report.published)
    assert progress.done == progress.total


@pytest.mark.slow
def test_a_queue_that_never_drains_writes_the_same_tokens(local_ray: None, models: Path, tmp_path: Path) -> None:
    from support.stored_rows import read_predictions

    by_block, full = Store(str(tmp_path / "by-block")), Store(str(tmp_path / "full"))
    spec = SPEC.replace(block_rows=5)
    jobs = [job(models, "llama", name, part, spec) for name in (None, *ADAPTERS) for part in ("first", "second")]
    run(by_block, jobs, spec)
    run(full, jobs, spec, blocks_at_once=6)
    for wanted in jobs:
        one, other = (read_predictions(store, wanted.key) for store in (by_block, full))
        assert one == other  # float32 of these sizes: equal to the token


@pytest.mark.slow
def test_a_head_size_that_vllm_lacks_falls_back_to_transformers_with_equal_bytes_however_it_is_run(
    local_ray: None, models: Path, tmp_path: Path
) -> None:
    one, two = Store(str(tmp_path / "one")), Store(str(tmp_path / "two"))
    wanted = job(models, "narrow", "a0", "first", SPEC)
    report = run(one, [wanted], SPEC)
    (label,) = report.engines.values()
    assert label.startswith("hf: head size 16")
    run(two, [job(models, "narrow", None, "second", SPEC), wanted], SPEC, num_engines=2)
    first, second = (store.read_bytes("predictions", wanted.key, "predictions.parquet") for store in (one, two))
    assert first == second


def test_a_gpu_where_there_is_none_is_refused_at_once(local_ray: None, models: Path, tmp_path: Path) -> None:
    wanted = [job(models, "llama", "a0", "first", SPEC)]
    with pytest.raises(ResourceError, match=r"saw 0 GPU .* expected 1 .*gpus_per_engine=0"):
        run(Store(str(tmp_path)), wanted, SPEC, gpus_per_engine=1)
    with pytest.raises(ResourceError, match="saw 2 CPU"):
        run(Store(str(tmp_path)), wanted, SPEC, cpus_per_engine=64)


@pytest.mark.slow
def test_a_base_model_without_tokenizer_is_one_line_out_of_the_engines_process(
    local_ray: None, models: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((models / "llama" / name).read_bytes())
    spec = SPEC.replace(engine="hf")
    wanted = dataclasses.replace(job(models, "llama", None, "second", spec), base_path=str(bare))
    with pytest.raises(ConfigError, match="no readable tokenizer"):
        run(Store(str(tmp_path / "store")), [wanted], spec)


def test_an_empty_evaluation_set_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows in evaluation set third"):
        run(Store(str(tmp_path)), [job(models, "llama", None, "third", SPEC)], SPEC)


if __name__ == "__main__":
    print(json.dumps(_probe(sys.argv[1], Path(sys.argv[2]))))
