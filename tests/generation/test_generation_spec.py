"""What names predictions and what does not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from assay.errors import ConfigError
from assay.generation.spec import GenerationJob, GenerationResources, GenerationSpec, check_jobs, predictions_key

SPEC = GenerationSpec()


def key(spec: GenerationSpec = SPEC, **changes: object) -> str:
    inputs = {"base_key": "b", "adapter_key": "a", "evaluation_key": "e", "max_new_tokens": 16, **changes}
    return predictions_key(spec, **inputs)  # type: ignore[arg-type]


def test_key_covers_everything_that_changes_a_prediction() -> None:
    others = [
        key(SPEC.replace(dtype="bfloat16")),
        key(SPEC.replace(engine="hf")),
        key(SPEC.replace(max_prompt_tokens=256)),
        key(SPEC.replace(block_rows=64)),
        key(SPEC.replace(mode="compat")),
        key(base_key="b2"),
        key(adapter_key=None),
        key(evaluation_key="e2"),
        key(max_new_tokens=17),
    ]
    assert len({key(), *others}) == len(others) + 1
    assert key() == key()


def test_greedy_decoding_has_no_seed() -> None:
    assert key(SPEC.replace(seed=7)) == key()
    assert key(SPEC.replace(seed=7, temperature=0.5)) != key(SPEC.replace(seed=8, temperature=0.5))


def test_a_model_split_over_a_fraction_of_gpus_is_refused() -> None:
    assert GenerationResources(gpus_per_engine=0.5).gpus_per_engine == 0.5
    with pytest.raises(ValidationError, match="whole above 1"):
        GenerationResources(gpus_per_engine=1.5)


def test_jobs_that_no_engine_could_do_are_refused_at_once() -> None:
    good = GenerationJob(key="k", base_path="p", evaluation_key="e", max_new_tokens=16)
    check_jobs([good], SPEC)
    with pytest.raises(ConfigError, match=r"max_new_tokens=1024 with max_model_len=1024"):
        check_jobs([GenerationJob(key="k", base_path="p", evaluation_key="e", max_new_tokens=1024)], SPEC)
    with pytest.raises(ConfigError, match="lora_rank=0"):
        check_jobs([GenerationJob("k", "p", "e", 16, adapter_key="a")], SPEC)


@pytest.mark.parametrize(("gpus", "blocks", "sequences"), [(0.0, 1, 256), (1.0, 8, None)])
def test_blocks_are_alone_on_a_cpu_and_fill_the_queue_of_a_gpu(gpus: float, blocks: int, sequences: int | None) -> None:
    resources = GenerationResources(gpus_per_engine=gpus)
    assert (resources.num_blocks, resources.num_sequences) == (blocks, sequences)
    asked = resources.replace(blocks_at_once=3, max_num_seqs=64)
    assert (asked.num_blocks, asked.num_sequences) == (3, 64)
