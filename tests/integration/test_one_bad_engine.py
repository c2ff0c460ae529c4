"""A place where no engine starts is left out: the others go on, and where all fail one hears why. Fake engines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.errors import StageError
from assay.generation.spec import GenerationJob, GenerationReport, GenerationResources, GenerationSpec, predictions_key
from assay.hooks import SilentProgress
from assay.store import Store
from support.fake_engines import BAD_STARTS, PlacesActor
from support.stored_rows import read_predictions
from support.tiny_models import make_examples

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::ray.data.context")]
TESTS = Path(__file__).resolve().parent.parent
SPEC = GenerationSpec(block_rows=4)


class Noted(SilentProgress):
    """Progress that remembers its last note."""

    note = ""

    def finish(self, stage: str, note: str = "") -> None:
        self.note = note


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    import ray

    paths = f"{TESTS.parent / 'platform'}:{TESTS}"
    ray.init(
        address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )  # fmt: skip
    yield
    ray.shutdown()


def run(
    folder: Path, bad: str, monkeypatch: pytest.MonkeyPatch, progress: Noted, num_engines: int
) -> tuple[Store, GenerationReport]:
    from assay.generation import ray_generate

    monkeypatch.setattr(ray_generate, "EngineActor", PlacesActor)
    base, store = folder / "base", Store(str(folder / "store"))
    base.mkdir()
    (base / BAD_STARTS).write_text(bad)
    key = predictions_key(SPEC, base_key="b", adapter_key=None, evaluation_key="e", max_new_tokens=1)
    job = GenerationJob(key, str(base), "e", 1)
    resources = GenerationResources(num_engines=num_engines)
    report = ray_generate.run_generation(store, [job], {"e": make_examples(60)}, SPEC, resources, progress)
    return store, report


def makers(store: Store, report: GenerationReport) -> set[str]:
    (key,) = report.published
    rows = read_predictions(store, key)
    assert len(rows) == 60
    return {row.prediction for row in rows}


def test_one_engine_that_cannot_start_leaves_the_work_to_the_others(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Noted()
    store, report = run(tmp_path, "1", monkeypatch, progress, num_engines=2)
    assert makers(store, report) == {"by 0"}
    assert "1 engines could not start, the first: generation with" in progress.note
    assert "CUDA error: no device in place 1" in progress.note
    assert wait_for_free_cpus(3) == 3  # nobody holds a place for a stream that is over


def test_a_single_engine_that_cannot_start_is_tried_elsewhere(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, report = run(tmp_path, "0 1", monkeypatch, Noted(), num_engines=1)
    assert makers(store, report) <= {"by 2", "by 3"}


def test_where_no_engine_starts_anywhere_its_own_words_are_the_error(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StageError, match=r"could not start \(RuntimeError: CUDA error: no device in place \d"):
        run(tmp_path, " ".join(map(str, range(20))), monkeypatch, Noted(), num_engines=1)
    starts = [file.stat().st_mtime for file in (tmp_path / "base").glob("start-*")]
    assert len(starts) >= 2  # one place, then all
    assert time.time() - max(starts) < 25  # processes take as long as a busy machine lets them; the end does not wait
    assert wait_for_free_cpus(3) == 3


def wait_for_free_cpus(count: int) -> float:
    import ray

    for _ in range(60):
        if ray.available_resources().get("CPU", 0) == count:
            break
        time.sleep(0.5)
    return ray.available_resources().get("CPU", 0)
