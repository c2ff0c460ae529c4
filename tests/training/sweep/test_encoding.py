"""What of its datasets a sweep tokenizes, by how many processes, and that no GPU waits for it. Ray is not started."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from assay.store import Store
from assay.training.encoding import EncodedRows
from assay.training.spec import TrainingJob, TrainResources, TrainSpec
from assay.training.sweep import ray_sweep
from assay.training.sweep.ray_sweep import Readers, num_encoders
from assay.training.sweep.ray_trial import Encoder, named_rows, read_dataset_examples
from support.tiny_causal_models import store_toy_mixture
from support.tiny_models import make_tokenizer

SPEC = TrainSpec(max_length=128)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "store"))
    store_toy_mixture(made, "small", 5, 3)
    store_toy_mixture(made, "larger", 8, 3)
    make_tokenizer().save_pretrained(tmp_path / "base")
    return made


def job(store: Store, mixture: str = "small", **spec: Any) -> TrainingJob:
    base = Path(store.uri).parent / "base"
    return TrainingJob(mixture, "base", str(base), mixture, SPEC.replace(**spec), dataset_keys=("toyset",))


def rows_of(table: EncodedRows) -> dict[str, list[int]]:
    parts = np.split(table.tokens, table.starts[1:-1])
    return {name: part.tolist() for name, part in zip(table.example_ids, parts, strict=True)}


def test_rows_that_mixtures_name_are_tokenized_and_no_others_to_the_same_tokens(store: Store) -> None:
    named = named_rows(store, ["small", "larger"])
    assert list(named) == ["toyset"] and len(named["toyset"]) == 8 + 3
    encode = Encoder.__ray_metadata__.modified_class().encode
    few = encode(store, "toyset", job(store), read_dataset_examples, named["toyset"])
    whole = encode(store, "toyset", job(store), read_dataset_examples)
    assert set(few.example_ids) == named["toyset"] and len(whole) == 460
    assert list(few.example_ids) == [name for name in whole.example_ids if name in named["toyset"]]
    assert rows_of(few).items() <= rows_of(whole).items()


@pytest.mark.parametrize(
    ("gpus", "datasets", "cpus", "count"), [(0, 9, 16, 1), (1, 3, 16, 3), (0.5, 50, 16, 8), (1, 9, 2, 2)]
)
def test_processes_that_tokenize(gpus: float, datasets: int, cpus: int, count: int) -> None:
    assert num_encoders(datasets, TrainResources(gpus_per_worker=gpus), cpus) == count


@pytest.mark.parametrize("gpus", [0, 1])
def test_all_is_tokenized_before_a_gpu_is_held_and_nobody_waits_on_cpus(
    monkeypatch: pytest.MonkeyPatch, store: Store, gpus: int
) -> None:
    asked: list[tuple[str, int]] = []
    waited: list[int] = []

    def encode(_store: Store, dataset: str, _job: TrainingJob, _load: object, ids: set[str]) -> str:
        asked.append((dataset, len(ids)))
        return f"reference {len(asked)}"

    actor = SimpleNamespace(encode=SimpleNamespace(remote=encode))
    monkeypatch.setattr(ray_sweep, "beside_the_driver", dict)
    monkeypatch.setattr(ray_sweep, "Encoder", SimpleNamespace(options=lambda: SimpleNamespace(remote=lambda: actor)))
    monkeypatch.setattr(ray_sweep.ray, "wait", lambda found, **_: waited.append(len(found)))
    jobs = [job(store), job(store, "larger"), job(store, max_length=64)]
    inputs = ray_sweep._inputs(store, jobs, TrainResources(gpus_per_worker=gpus), Readers(), None)
    assert asked == [("toyset", 11)] * 2  # once for each way to encode
    assert list(inputs.encodings.values()) == ["reference 1", "reference 2"]
    assert waited == ([2] if gpus else [])
