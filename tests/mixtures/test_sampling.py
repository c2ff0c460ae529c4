from __future__ import annotations

import dataclasses
import json
import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DataError, InputError
from assay.mixtures.designs import (
    Instructions,
    category_alone,
    cross_category_rows,
    synthetic_then_human,
    target_alone,
    with_target,
    without_category,
)
from assay.mixtures.export import mixture_jsonl
from assay.mixtures.sampling import Mixture, MixtureBuilder, store_mixture
from assay.mixtures.spec import ComponentSpec, LeakSpec, MixtureSpec, mixture_key
from assay.records import Example
from assay.store import Store
from assay.tasks.catalog import INSTRUCTION_CATEGORIES
from assay.tasks.datasets.loaders import load_examples
from assay.tasks.datasets.sources import SourceSpec
from assay.tasks.templates import history
from support.stored_rows import read_mixture

CATEGORIES = ("Code", "Classify", "Other")


def rows(name: str, train: int = 40, validation: int = 10, test: int = 10) -> list[Example]:
    return [
        Example(f"{name}-{split}-{n}", name, split, f"Do {name} {split} {n}.", f"{name} {split} {n}", "out", category)
        for split, count in (("train", train), ("validation", validation), ("test", test))
        for n, category in zip(range(count), cycle(CATEGORIES), strict=False)
    ]  # fmt: skip


DATASETS = {name: rows(name) for name in ("alpaca", "sst2", "synthetic")}
KEYS = {"alpaca": "k-alpaca", "sst2": "k-sst2", "synthetic": "k-synthetic"}


def build_mixture(spec, datasets, keys, label="", count_tokens=None):  # type: ignore[no-untyped-def]
    return MixtureBuilder(datasets, keys, count_tokens).build(spec, label)


def build(spec: MixtureSpec, label: str = "") -> Mixture:
    return build_mixture(spec, DATASETS, KEYS, label)


def ids(mixture: Mixture, component: str) -> list[str]:
    return [row.example_id for row in mixture.train if row.component == component]


def sample(count: int, draw: int = 0) -> MixtureSpec:
    return MixtureSpec(
        train=(ComponentSpec(name="sst2", dataset="sst2", count=count, draw=draw, without_categories=()),)
    )


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_draws_are_nested(small: int, large: int, draw: int) -> None:
    small, large = min(small, large), max(small, large)
    few, many = (set(ids(build(sample(count, draw)), "sst2")) for count in (small, large))
    assert len(few) == small
    assert few <= many


def test_draws_differ_and_do_not_depend_on_the_order_of_the_file() -> None:
    first, second = (set(ids(build(sample(10, draw)), "sst2")) for draw in (0, 1))
    assert first != second
    turned = build_mixture(sample(10), {"sst2": DATASETS["sst2"][::-1]}, KEYS)
    assert turned == build(sample(10))


def test_sampled_ids_do_not_drift() -> None:
    assert ids(build(sample(5)), "sst2") == GOLDEN_5
    assert ids(build(sample(5).replace(mode="compat")), "sst2") == COMPAT_5


GOLDEN_5 = ["sst2-train-27", "sst2-train-37", "sst2-train-34", "sst2-train-28", "sst2-train-5"]
COMPAT_5 = ["sst2-train-35", "sst2-train-16", "sst2-train-25", "sst2-train-9", "sst2-train-2"]


def test_tasks_whose_rows_have_equal_ids_draw_apart() -> None:
    rows = DATASETS["sst2"]
    datasets, keys = {"sst2": rows, "twin": rows}, {"sst2": "a" * 32, "twin": "b" * 32}

    def drawn(dataset: str, mode: str) -> set[str]:
        spec = MixtureSpec.model_validate(
            {"train": [{"name": dataset, "dataset": dataset, "count": 10, "draw": 0}], "mode": mode}
        )
        return set(ids(build_mixture(spec, datasets, keys), dataset))

    assert drawn("sst2", "strict") != drawn("twin", "strict")
    assert drawn("sst2", "compat") == drawn("twin", "compat")


def test_an_arm_is_the_base_mixture_with_rows_added_in_between() -> None:
    base, arm = (build(with_target("alpaca", "sst2", count, 0, held_out=("sst2",))) for count in (0, 10))
    assert [row.example_id for row in arm.train if row.component == "alpaca"] == ids(base, "alpaca")
    assert len(arm.train) == len(base.train) + 10
    assert [row.position for row in arm.train] == list(range(len(arm.train)))
    firsts = [row.position for row in arm.train if row.component == "sst2"]
    assert max(firsts) > 10  # shuffled in, not appended nor prepended
    assert min(firsts) < len(base.train)


def test_other_rows_are_kept_out() -> None:
    mixture = build(with_target("alpaca", "sst2", 0, 0))
    by_id = {example.example_id: example for example in DATASETS["alpaca"]}
    assert {by_id[row.example_id].category for row in mixture.train} == {"Code", "Classify"}


def test_validation_at_zero_holds_target_rows_in_compat_alone() -> None:
    strict, compat = (build(with_target("alpaca", "sst2", 0, 0, mode=mode)) for mode in ("strict", "compat"))
    assert {row.component for row in strict.validation} == {"alpaca"}
    assert {row.component for row in compat.validation} == {"alpaca", "sst2"}
    assert strict.train == compat.train


def test_a_category_is_held_out_and_capped() -> None:
    by_id = {example.example_id: example.category for example in DATASETS["alpaca"]}
    mixture = build(without_category("alpaca", "Code", 3, 0))
    assert [by_id[row] for row in ids(mixture, "Code")] == ["Code"] * 3
    assert {by_id[row] for row in ids(mixture, "others")} == {"Classify"}
    alone = category_alone("alpaca", "Code", 0)
    assert alone.train[0].cap == 1300
    assert len(build(alone).train) == 14  # 0, 3, ..., 39: all there are
    assert len(build(alone.replace(train=(alone.train[0].replace(cap=4),))).train) == 4


def test_target_alone_validates_on_further_rows_of_the_same_split() -> None:
    spec = target_alone("sst2", 16, 0, validation_count=10)
    mixture = build(spec)
    train, validation = ({row.example_id for row in side} for side in (mixture.train, mixture.validation))
    assert (len(train), len(validation)) == (16, 10)
    assert not train & validation
    assert {row.example_id for row in build(target_alone("sst2", 5, 0, validation_count=10)).validation} == validation
    with pytest.raises(
        InputError, match=r"asks for 18 'sst2' examples but the train split holds 17 \(10 validation row"
    ):
        build(target_alone("sst2", 18, 0, validation_count=10))  # 27 of the 40 are no "Other"


def test_a_curriculum_puts_synthetic_rows_first() -> None:
    spec = synthetic_then_human(Instructions("alpaca", 8, 0), "synthetic", "sst2", 5, 0, num_synthetic=4)
    components = [row.component for row in build(spec).train]
    assert components[-5:] == ["human"] * 5
    assert sorted(components[:-5]) == ["alpaca"] * 8 + ["synthetic"] * 4
    assert components[:8] != ["alpaca"] * 8  # synthetic rows are shuffled in


def test_asking_for_too_much_says_how_much_there_is() -> None:
    with pytest.raises(
        InputError, match=r"^mixture 'S1-sst2-100': asks for 100 'sst2' examples but the train split holds 40; "
    ):
        build(sample(100), "S1-sst2-100")


def test_two_components_may_not_draw_one_row() -> None:
    twice = MixtureSpec(
        train=(ComponentSpec(name="a", dataset="sst2"), ComponentSpec(name="b", dataset="sst2", count=2))
    )
    with pytest.raises(InputError, match="components 'a' and 'b' both draw row"):
        build(twice)


def test_long_rows_are_dropped_before_drawing() -> None:
    # the JSON line of a row: {"instruction": "Do sst2 train 0.", "input": "sst2 train 0", "output": "out"} = 11 words
    long = [*DATASETS["sst2"], Example("long", "sst2", "train", "Do.", "word " * 20, "out")]
    spec = sample(40).replace(max_tokens=11)
    mixture = build_mixture(spec, {"sst2": long}, KEYS)
    assert mixture.summary["train"] == {"sst2": {"rows": 40, "available": 40, "dropped": {"too long": 1}}}
    with pytest.raises(InputError, match=r"holds 0 \(41 too long left out\)"):
        build_mixture(spec.replace(max_tokens=10), {"sst2": long}, KEYS)
    counted = build_mixture(
        spec.replace(count_by="mine", max_tokens=3), {"sst2": long}, KEYS, count_tokens=lambda text: 3
    )
    assert len(counted.train) == 40
    with pytest.raises(InputError, match="count_by 'mine' without a tokenizer"):
        build_mixture(spec.replace(count_by="mine"), {"sst2": long}, KEYS)


def leaky() -> dict[str, list[Example]]:
    text = "one two three four five six seven eight nine ten eleven"
    return {
        "sst2": [
            *DATASETS["sst2"],
            Example("copy", "sst2", "train", "Do.", text, "out"),
            Example("near", "sst2", "train", "Do.", text + " more", "out"),
            Example("held", "sst2", "test", "Do.", text.upper(), "another answer"),
        ]
    }


def test_rows_that_a_test_row_repeats_are_dropped_refused_or_let_through() -> None:
    spec = MixtureSpec(train=(ComponentSpec(name="sst2", dataset="sst2", without_categories=()),))
    dropped = build_mixture(spec, leaky(), KEYS)
    assert not {"copy", "near"} & set(ids(dropped, "sst2"))
    assert dropped.summary["train"] == {"sst2": {"rows": 40, "available": 40, "dropped": {"leak": 2}}}
    assert len(build_mixture(spec.replace(leaks={"policy": "ignore"}), leaky(), KEYS).train) == 42
    with pytest.raises(DataError, match=r"saw 2 rows .*copy ~ held \(same text: 'one two.*near ~ held \(overlap"):
        build_mixture(spec.replace(leaks={"policy": "refuse"}), leaky(), KEYS, "arm")


def test_held_out_datasets_count_too() -> None:
    spec = MixtureSpec(train=(ComponentSpec(name="alpaca", dataset="alpaca"),))
    data = {**DATASETS, **leaky()}
    data["alpaca"] = [*data["alpaca"], Example("leak", "alpaca", "train", "Do.", leaky()["sst2"][-1].input, "x")]
    assert "leak" in ids(build_mixture(spec, data, KEYS), "alpaca")
    assert "leak" not in ids(build_mixture(spec.replace(held_out=("sst2",)), data, KEYS), "alpaca")


def test_a_mixture_is_stored_as_ids_and_read_back(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    spec = with_target("alpaca", "sst2", 8, 1)
    mixture = build(spec)
    store_mixture(store, mixture, spec)
    store_mixture(store, mixture, spec)
    assert read_mixture(store, mixture.key) == mixture
    assert {row.dataset for row in mixture.train} == {"k-alpaca", "k-sst2"}


def test_an_exported_mixture_says_where_rows_come_from() -> None:
    mixture = build(with_target("alpaca", "sst2", 1, 0))
    files = mixture_jsonl(mixture, {KEYS[name]: examples for name, examples in DATASETS.items()}, {"k-sst2": "sst2"})
    (record,) = [json.loads(line) for line in files["train.jsonl"].splitlines() if b'"component": "sst2"' in line]
    assert record["output"] == "out"
    assert record["provenance"] | {"example_id": "", "category": ""} == {
        "component": "sst2", "dataset": "k-sst2", "name": "sst2", "example_id": "", "task": "sst2", "category": "",
    }  # fmt: skip
    assert len(files["validation.jsonl"].splitlines()) == len(mixture.validation)
    assert json.loads(files["summary.json"])["key"] == mixture.key


def test_many_mixtures_of_one_builder_are_those_of_many_builders() -> None:
    builder = MixtureBuilder(DATASETS, KEYS)
    specs: list[Any] = [with_target("alpaca", "sst2", count, draw) for count in (0, 4, 9) for draw in (0, 1)]
    assert [builder.build(spec) for spec in specs] == [build(spec) for spec in specs]


def test_the_cross_category_set_takes_the_first_test_rows_of_each_category() -> None:
    examples = [
        Example(f"{category}{n}", "alpaca", split, "i", "", "o", category)
        for n in range(4)
        for category in INSTRUCTION_CATEGORIES
        for split in ("train", "test")
    ]
    chosen = cross_category_rows(examples, per_category=3)
    assert len(chosen) == 36
    assert [row.example_id for row in chosen[:4]] == ["Classify0", "Classify1", "Classify2", "Code0"]
    with pytest.raises(InputError, match="saw 4 test rows of 'Classify'; expected 20"):
        cross_category_rows(examples)


# --- copies, rows that are too long, conversations -----------------------------------------------------------


def copied() -> list[Example]:
    """Twenty training rows of which the last ten repeat the first ten."""
    first = [Example(f"a{n}", "t", "train", "Do.", f"row {n}", "out") for n in range(10)]
    return [*first, *(dataclasses.replace(row, example_id=f"b{n}") for n, row in enumerate(first))]


def test_copies_are_drawn_from_once_and_counted() -> None:
    part = ComponentSpec(name="t", dataset="t", without_categories=())
    once = build_mixture(MixtureSpec(train=(part,)), {"t": copied()}, {"t": "k"})
    assert sorted(row.example_id for row in once.train) == [f"a{n}" for n in range(10)]
    taken = {"rows": 10, "available": 10, "dropped": {"copy": 10}, "counted": {"copies": 10}}
    assert once.summary["train"] == {"t": taken}
    kept = build_mixture(MixtureSpec(train=(part,), leaks=LeakSpec(copies="keep")), {"t": copied()}, {"t": "k"})
    assert len(kept.train) == 20
    assert kept.summary["train"]["t"]["counted"] == {"copies": 10}  # type: ignore[index]
    published = build_mixture(MixtureSpec(train=(part,), mode="compat"), {"t": copied()}, {"t": "k"})
    assert published.summary["train"] == {"t": {"rows": 20, "available": 20, "dropped": {}}}


def test_rows_that_are_too_long_leave_the_pool_before_drawing() -> None:
    long = {f"sst2-train-{n}": "over 512 tokens" for n in range(0, 40, 2)}
    builder = MixtureBuilder(DATASETS, KEYS, excluded={"half": long})
    spec = sample(15)
    without = spec.replace(train=tuple(part.replace(excluded="half") for part in spec.train))
    drawn = [row.example_id for row in builder.build(without).train]
    assert len(drawn) == 15
    assert not long.keys() & set(drawn)
    more = without.replace(train=tuple(part.replace(count=18) for part in without.train))
    assert set(drawn) < {row.example_id for row in builder.build(more).train}
    assert builder.build(without).summary["train"]["sst2"]["dropped"]["over 512 tokens"] == 20  # type: ignore[index]
    with pytest.raises(InputError, match="20 over 512 tokens"):
        builder.build(without.replace(train=tuple(part.replace(count=21) for part in without.train)))


def test_a_key_says_nothing_where_no_row_is_excluded() -> None:
    spec = sample(5)
    without = spec.replace(train=tuple(part.replace(excluded="half") for part in spec.train))
    assert mixture_key(spec, KEYS) != mixture_key(without, KEYS)
    back = without.replace(train=tuple(part.replace(excluded="") for part in without.train))
    assert mixture_key(back, KEYS) == mixture_key(spec, KEYS)


TURNS = st.lists(st.sampled_from(["red", "green", "blue", "one", "two", "why"]), min_size=1, max_size=3).map(" ".join)


@given(st.lists(st.lists(TURNS, min_size=2, max_size=6), min_size=3, max_size=12))
def test_no_held_out_question_stands_in_what_training_sees(talks: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            json.dumps({"conversations": [{"from": ("human", "gpt")[i % 2], "value": t} for i, t in enumerate(talk)]})
            for talk in talks
        ]
        (Path(folder) / "a.jsonl").write_text("\n".join(lines))
        source = SourceSpec(loader="sharegpt", path="a.jsonl", turns="each", split_rule="strict")
        examples = load_examples(source, folder)
    part = ComponentSpec(name="t", dataset="t", without_categories=())
    mixture = build_mixture(MixtureSpec(train=(part,)), {"t": examples}, {"t": "k"})
    by_id = {row.example_id: row for row in examples}
    seen = {
        text
        for row in mixture.train
        for example in (by_id[row.example_id],)
        for text in (example.instruction, example.reference, *(text for _, text in history(example)))
    }
    assert not seen & {row.instruction for row in examples if row.split != "train"}
