from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.config import validate
from assay.errors import ConfigError
from assay.mixtures.designs import with_target
from assay.mixtures.spec import ComponentSpec, MixtureSpec, mixture_key

TASKS = ("sst2", "conll", "mnli", "qnli", "stsb", "squadv2", "xsum")
SIZES = (0, 10, 25, 50, 100, 200, 500, 1000)
DRAWS = (0, 1, 2, 3)
KEYS = {name: f"key-of-{name}" for name in ("alpaca", *TASKS)}


def part(name: str = "a", **more: Any) -> ComponentSpec:
    return ComponentSpec(**{"name": name, "dataset": name, **more})


def s1_keys(mode: Any, **more: Any) -> list[str]:
    return [
        mixture_key(with_target("alpaca", task, size, draw, mode=mode, **more), KEYS)
        for task, size, draw in product(TASKS, SIZES, DRAWS)
    ]


def test_224_cells_of_the_real_task_study_are_197_mixtures() -> None:
    # 7 tasks x 7 sizes above 0 x 4 draws = 196, and the 28 cells with N=0 are one
    for more in ({}, {"held_out": TASKS}, {"max_tokens": 512}):
        keys = s1_keys("strict", **more)
        assert (len(keys), len(set(keys))) == (224, 197)


def test_in_compat_every_arm_validates_on_target_rows_so_none_are_equal() -> None:
    # 4 draws of 125 validation rows for each of 7 tasks: the 28 cells with N=0 differ
    assert len(set(s1_keys("compat"))) == 224


@given(st.sampled_from(TASKS), st.sampled_from(DRAWS), st.sampled_from(["strict", "compat"]))
def test_a_component_without_rows_does_not_exist(task: str, draw: int, mode: Any) -> None:
    empty = part(task, count=0, draw=draw)
    assert empty == part(task, count=0)
    assert MixtureSpec(train=(part("alpaca"), empty), mode=mode) == MixtureSpec(train=(part("alpaca"),), mode=mode)


@given(st.permutations(range(4)))
def test_the_order_of_components_says_nothing_unless_it_is_a_curriculum(order: list[int]) -> None:
    parts = [part(name, count=5, draw=1) for name in ("alpaca", "sst2", "mnli", "qnli")]
    shuffled = MixtureSpec(train=tuple(parts[place] for place in order))
    assert shuffled == MixtureSpec(train=tuple(parts))
    assert mixture_key(shuffled, KEYS) == mixture_key(MixtureSpec(train=tuple(parts)), KEYS)
    in_order = MixtureSpec(train=tuple(parts[place] for place in order), order="curriculum")
    same = mixture_key(in_order, KEYS) == mixture_key(MixtureSpec(train=tuple(parts), order="curriculum"), KEYS)
    assert same == (order == [0, 1, 2, 3])


def test_a_curriculum_of_one_component_is_no_curriculum() -> None:
    one = (part("sst2", count=5), part("mnli", count=0))
    assert MixtureSpec(train=one, order="curriculum") == MixtureSpec(train=one)


def test_a_draw_counts_only_where_a_sample_is_drawn() -> None:
    assert part(draw=3).draw is None
    assert part(count=5).draw == 0
    assert part(cap=5, draw=3).draw == 3
    assert part(count=5, draw=3) != part(count=5, draw=4)


def test_datasets_count_by_key_not_by_name() -> None:
    first = MixtureSpec(train=(part(name="x", dataset="one"),), held_out=("two",))
    second = MixtureSpec(train=(part(name="x", dataset="uno"),), held_out=("due", "uno"))
    assert mixture_key(first, {"one": "k1", "two": "k2"}) == mixture_key(second, {"uno": "k1", "due": "k2"})
    assert mixture_key(first, {"one": "k1", "two": "k2"}) != mixture_key(first, {"one": "k1", "two": "k3"})


def test_every_field_that_changes_rows_changes_the_key() -> None:
    base = MixtureSpec(train=(part("sst2", count=5), part("mnli")), held_out=("qnli",))
    keys = {
        mixture_key(spec, KEYS)
        for spec in (
            base,
            base.replace(order="curriculum"),
            base.replace(held_out=()),
            base.replace(max_tokens=512),
            base.replace(max_tokens=512, count_by="tokenizer"),
            base.replace(leaks={"policy": "ignore"}),
            base.replace(leaks={"ngram_words": 13}),
            base.replace(validation=(part("sst2", split="validation"),)),
            base.replace(mode="compat"),
        )
    }
    assert len(keys) == 9
    assert base.replace(count_by="tokenizer") == base  # nothing is counted without a limit


def test_compat_looks_for_no_leaks() -> None:
    assert MixtureSpec(mode="compat").leaks.policy == "ignore"
    assert MixtureSpec().leaks.policy == "drop"


@given(st.builds(lambda size, draw: with_target("alpaca", "sst2", size, draw), st.sampled_from(SIZES), st.sampled_from(DRAWS)))  # fmt: skip  # noqa: E501
def test_a_spec_survives_json(spec: MixtureSpec) -> None:
    assert MixtureSpec.model_validate_json(spec.model_dump_json()) == spec


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"saw the dataset 'alpaca'; expected one of sst2"):
        mixture_key(MixtureSpec(train=(part("alpaca"),)), {"sst2": "k"})
    for bad, said in [
        ({"train": [{"name": "a", "dataset": "d", "count": 1, "cap": 2}]}, "saw count and cap"),
        ({"train": [{"name": "a", "dataset": "d"}, {"name": "a", "dataset": "e"}]}, "two components named 'a'"),
        ({"train": [{"name": "a", "dataset": "d", "weight": 1.0}]}, "weights without `total`"),
        ({"train": [{"name": "a", "dataset": "d", "count": -1}]}, "greater than or equal to 0"),
        ({"mood": "compat"}, "unknown field 'mood'"),
    ]:
        with pytest.raises(ConfigError, match=said):
            validate(MixtureSpec, bad, "study")
