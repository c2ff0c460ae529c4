"""Laws of mixtures by shares: exact to a row, contained in each other where a share grows, repeats spread evenly."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import InputError
from assay.mixtures.sampling import Mixture, MixtureBuilder
from assay.mixtures.shares import largest_remainder
from assay.mixtures.spec import ComponentSpec, MixtureSpec, mixture_key
from assay.records import Example

PARTS = {"chat": 30, "code": 17, "math": 8}
KEYS = {name: f"key of {name}" for name in PARTS}
WORDS = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jolly")


def rows(name: str, count: int) -> list[Example]:
    def text(number: int) -> str:
        return " ".join([name, *(WORDS[int(digit)] for digit in f"{number:03d}"), "x" * (1 + number % 5)])

    return [Example(f"{name} {number}", name, "train", text(number), "", "out") for number in range(count)]


DATASETS = {name: rows(name, count) for name, count in PARTS.items()}
TOKENS = {
    ("tokenizer", name): {row.example_id: 3 + place % 7 for place, row in enumerate(examples)}
    for name, examples in DATASETS.items()
}
BUILDER = MixtureBuilder(DATASETS, KEYS, row_tokens=TOKENS)


def by_counts(counts: dict[str, int], draw: int = 0, max_repeats: int = 1) -> MixtureSpec:
    train = [
        ComponentSpec(name=name, dataset=name, draw=draw, count=count, max_repeats=max_repeats)
        for name, count in counts.items()
    ]
    return MixtureSpec(train=tuple(train), held_out=tuple(PARTS))


def by_tokens(weights: dict[str, float], total: int, max_repeats: int = 1) -> MixtureSpec:
    train = [
        ComponentSpec(name=name, dataset=name, draw=0, weight=weight, max_repeats=max_repeats)
        for name, weight in weights.items()
    ]
    return MixtureSpec(train=tuple(train), held_out=tuple(PARTS), total=total, share_of="tokens", count_by="tokenizer")


def taken(mixture: Mixture, name: str) -> Counter[str]:
    return Counter(row.example_id for row in mixture.train if row.component == name)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=9).filter(any), st.integers(1, 5000))
def test_counts_add_up_and_miss_no_share_by_a_row(weights: list[int], total: int) -> None:
    shares = [Fraction(weight, sum(weights)) for weight in weights]
    counts = largest_remainder([float(share) for share in shares], total)
    assert sum(counts) == total
    assert all(abs(count - share * total) < 1 + 1e-6 for count, share in zip(counts, shares, strict=True))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 3))
def test_a_smaller_share_is_contained_in_a_larger_one(first: int, second: int, draw: int) -> None:
    small, large = sorted((first, second))
    for rest in (3, 8):  # whatever else is in the mixture
        one = taken(BUILDER.build(by_counts({"chat": small, "math": rest}, draw)), "chat")
        two = taken(BUILDER.build(by_counts({"chat": large, "code": rest}, draw)), "chat")
        assert one.total() == small
        assert one <= two


@given(st.integers(0, 24), st.integers(0, 24))
def test_repeats_are_even_and_contained_too(first: int, second: int) -> None:
    small, large = sorted((first, second))
    one, two = (taken(BUILDER.build(by_counts({"math": size}, max_repeats=3)), "math") for size in (small, large))
    assert (one.total(), two.total()) == (small, large)
    assert one <= two
    for found in (one, two):
        times = [found[row.example_id] for row in DATASETS["math"]]
        assert max(times) - min(times) <= 1


def test_rows_that_are_not_there_are_refused_and_repeats_counted() -> None:
    with pytest.raises(InputError, match="asks for 9 'math' examples but the train split holds 8"):
        BUILDER.build(by_counts({"math": 9}))
    with pytest.raises(InputError, match="each up to 2 times"):
        BUILDER.build(by_counts({"math": 17}, max_repeats=2))
    summary = BUILDER.build(by_counts({"math": 11}, max_repeats=2)).summary["train"]
    assert summary["math"]["repeated"] == 3  # type: ignore[index]
    assert "repeated" not in BUILDER.build(by_counts({"math": 8}, max_repeats=2)).summary["train"]["math"]  # type: ignore[index]


def test_copies_of_a_row_do_not_stand_together() -> None:
    mixture = BUILDER.build(by_counts({"code": 34}, max_repeats=2))
    order = [row.example_id for row in mixture.train]
    together = sum(one == two for one, two in pairwise(order))
    assert together <= 4  # about 1 of 34 by chance; all 17 where copies stay together
    assert [row.position for row in mixture.train] == list(range(34))


@given(st.integers(20, 100), st.floats(0.1, 0.5))
def test_tokens_come_within_half_a_row_of_each_share(total: int, share: float) -> None:
    weights = {"chat": 1 - share, "code": share}
    mixture = BUILDER.build(by_tokens(weights, total))
    for name, weight in weights.items():
        sizes = TOKENS["tokenizer", name]
        has = sum(sizes[example] * times for example, times in taken(mixture, name).items())
        assert abs(has - weight * total) <= max(sizes.values()) / 2 + 1e-9


def test_a_larger_share_of_tokens_contains_the_smaller_one() -> None:
    found = [taken(BUILDER.build(by_tokens({"chat": 1.0}, total)), "chat") for total in (10, 40, 80)]
    assert found[0] < found[1] < found[2]


def test_more_tokens_than_there_are_come_from_repeats_or_not_at_all() -> None:
    has = sum(TOKENS["tokenizer", "math"].values())
    with pytest.raises(InputError, match=f"its rows have {has}"):
        BUILDER.build(by_tokens({"math": 1.0}, 2 * has))
    twice = taken(BUILDER.build(by_tokens({"math": 1.0}, 2 * has, max_repeats=2)), "math")
    assert set(twice.values()) == {2}


def test_a_low_temperature_and_many_tokens_are_no_overflow() -> None:
    many = {("tokenizer", name): dict.fromkeys(TOKENS["tokenizer", name], 10**6) for name in PARTS}
    spec = by_tokens({"chat": 1.0, "code": 1.0}, 10**6).replace(is_natural=True, temperature=0.01)
    mixture = MixtureBuilder(DATASETS, KEYS, row_tokens=many).build(spec)  # (30 million)^100 is no float
    assert dict(taken(mixture, "chat")) and not taken(mixture, "code")  # 30^100 : 17^100


def test_shares_of_tokens_at_a_temperature_by_hand() -> None:
    spec = by_tokens({"chat": 0.8, "code": 0.2}, 60).replace(temperature=2.0)
    mixture = BUILDER.build(spec)  # sqrt(.8) : sqrt(.2) = 2 : 1
    for name, wanted in (("chat", 40), ("code", 20)):
        sizes = TOKENS["tokenizer", name]
        assert abs(sum(sizes[example] for example in taken(mixture, name)) - wanted) <= max(sizes.values()) / 2


def test_a_natural_component_without_rows_is_one_line() -> None:
    empty = MixtureBuilder({**DATASETS, "code": []}, KEYS, row_tokens={**TOKENS, ("tokenizer", "code"): {}})
    with pytest.raises(InputError, match="saw no row of 'code' to draw from"):
        empty.build(by_tokens({"chat": 1.0, "code": 1.0}, 40).replace(is_natural=True))


def test_natural_shares_follow_the_rows_there_are() -> None:
    train = tuple(ComponentSpec(name=name, dataset=name, draw=0, weight=1) for name in PARTS)
    spec = MixtureSpec(train=train, held_out=tuple(PARTS), total=11, is_natural=True)
    mixture = BUILDER.build(spec)
    assert {name: taken(mixture, name).total() for name in PARTS} == {"chat": 6, "code": 3, "math": 2}  # 30:17:8 of 55
    assert mixture_key(spec, KEYS) != mixture_key(spec.replace(is_natural=False), KEYS)


def test_fields_that_say_nothing_are_no_part_of_the_key() -> None:
    spec = by_counts({"chat": 3})
    assert mixture_key(spec, KEYS) == mixture_key(by_counts({"chat": 3}, max_repeats=1), KEYS)
    assert mixture_key(spec, KEYS) != mixture_key(by_counts({"chat": 3}, max_repeats=2), KEYS)
