"""A natural mixture whose rows are another point's is trained once."""

from __future__ import annotations

from pathlib import Path

from assay.mixtures.sampling import MixtureBuilder, store_mixture
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.records import Example
from assay.store import Store
from assay.training.spec import ADAPTER_KIND, TrainingJob, TrainSpec
from assay.training.sweep.twins import copy_twin, twins


def examples(name: str, count: int) -> list[Example]:
    return [Example(f"{name} {n}", name, "train", f"{name} says {n} {n * n}", "", f"out {n}") for n in range(count)]


def mixtures(store: Store, chat: int, code: int) -> dict[str, MixtureSpec]:
    """Natural and uniform of 8 rows, and another point, built and stored: by key."""
    keys = {"chat": f"chat {chat}", "code": f"code {code}"}
    builder = MixtureBuilder({"chat": examples("chat", chat), "code": examples("code", code)}, keys)

    def parts(counts: tuple[int, int] | None) -> tuple[ComponentSpec, ...]:
        return tuple(
            ComponentSpec(name=name, dataset=name, draw=0, weight=1.0)
            if counts is None
            else ComponentSpec(name=name, dataset=name, draw=0, count=counts[place])
            for place, name in enumerate(keys)
        )

    found = {}
    for spec in (
        MixtureSpec(train=parts(None), total=8, is_natural=True),
        MixtureSpec(train=parts((4, 4))),
        MixtureSpec(train=parts((6, 2))),
    ):
        built = builder.build(spec)
        store_mixture(store, built, spec)
        found[built.key] = spec
    return found


def jobs_of(specs: dict[str, MixtureSpec], seeds: tuple[int, ...] = (0, 1)) -> list[TrainingJob]:
    return [
        TrainingJob(f"{place} of seed {seed}", "base", "", key, TrainSpec(seed=seed))
        for seed in seeds
        for place, key in enumerate(specs)
    ]


def test_natural_rows_that_are_uniform_are_trained_once_for_each_seed(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    specs = mixtures(store, 30, 30)
    jobs = jobs_of(specs)
    assert twins(store, jobs, jobs, specs) == {"1 of seed 0": "0 of seed 0", "1 of seed 1": "0 of seed 1"}


def test_what_an_earlier_wave_made_is_copied_and_bears_the_other_name(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    specs = mixtures(store, 30, 30)
    jobs = jobs_of(specs, (0,))
    with store.writing(ADAPTER_KIND, "1 of seed 0") as writer:
        writer.file("adapter_model.safetensors", b"weights")
    assert twins(store, jobs[:1], jobs, specs) == {"0 of seed 0": "1 of seed 0"}
    copy_twin(store, jobs[0], "1 of seed 0")
    assert store.read_bytes(ADAPTER_KIND, "0 of seed 0", "adapter_model.safetensors") == b"weights"
    manifest = store.manifest(ADAPTER_KIND, "0 of seed 0")
    assert (manifest["key"], manifest["spec"]["same_as"]) == ("0 of seed 0", "1 of seed 0")
    assert manifest["files"] == ["adapter_model.safetensors"]


def test_other_rows_recipes_and_studies_without_natural_shares_have_none(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    specs = mixtures(store, 30, 10)  # natural is 6 : 2
    jobs = jobs_of(specs, (0,))
    assert twins(store, jobs, jobs, specs) == {"2 of seed 0": "0 of seed 0"}
    others = [TrainingJob("other", "base", "", jobs[2].mixture_key, TrainSpec(seed=0, lora_rank=4)), jobs[0], jobs[1]]
    assert twins(store, others, others, specs) == {}
    plain = {key: spec for key, spec in specs.items() if not spec.is_natural}
    assert twins(Store(str(tmp_path / "nothing")), jobs_of(plain), jobs_of(plain), plain) == {}  # nothing is read
