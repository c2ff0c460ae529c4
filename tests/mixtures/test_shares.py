from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import InputError
from assay.mixtures.shares import largest_remainder, resolve_shares
from assay.mixtures.spec import ComponentSpec, MixtureSpec

PLENTY = {"a": 10_000, "b": 10_000, "c": 10_000}


def weighted(total: int, temperature: float = 1.0, **weights: float) -> MixtureSpec:
    parts = tuple(ComponentSpec(name=name, dataset=name, weight=weight) for name, weight in weights.items())
    return MixtureSpec(train=parts, total=total, temperature=temperature)


def counts(spec: MixtureSpec) -> dict[str, int | None]:
    return {part.name: part.count for part in spec.train}


def test_weights_become_counts() -> None:
    assert counts(resolve_shares(weighted(100, a=3, b=1), PLENTY)) == {"a": 75, "b": 25}


def test_temperature_evens_weights_out() -> None:
    # sqrt(9) : sqrt(1) = 3 : 1
    assert counts(resolve_shares(weighted(100, temperature=2, a=9, b=1), PLENTY)) == {"a": 75, "b": 25}
    assert counts(resolve_shares(weighted(100, temperature=1e9, a=9, b=1), PLENTY)) == {"a": 50, "b": 50}


def test_shares_of_tokens_count_rows_by_their_length() -> None:
    # half of 1000 tokens each: 500 / 10 = 50 rows and 500 / 50 = 10 rows
    spec = weighted(1000, a=1, b=1).replace(share_of="tokens")
    assert counts(resolve_shares(spec, PLENTY, {"a": 10.0, "b": 50.0})) == {"a": 50, "b": 10}
    with pytest.raises(InputError, match="no token figures for"):
        resolve_shares(spec, PLENTY)


def test_a_resolved_mixture_is_the_one_that_states_the_counts() -> None:
    stated = MixtureSpec(
        train=(ComponentSpec(name="a", dataset="a", count=75), ComponentSpec(name="b", dataset="b", count=25))
    )
    assert resolve_shares(weighted(100, a=3, b=1), PLENTY) == stated
    assert resolve_shares(stated, {}) == stated


def test_a_weight_that_asks_for_too_much_is_refused() -> None:
    with pytest.raises(InputError, match=r"mixture 'm': the weight of 'a' asks for 75 rows but there are 60; "):
        resolve_shares(weighted(100, a=3, b=1), {"a": 60, "b": 60}, label="m")


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=8), st.integers(0, 10_000))
def test_counts_add_up_and_stay_within_one_of_the_share(weights: list[float], total: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    found = largest_remainder(shares, total)
    assert sum(found) == total
    assert all(abs(count - share * total) < 1 + 1e-6 for count, share in zip(found, shares, strict=True))
