"""Claims on adapters: one holder at a time, and none for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assay.training.sweep.claims import LEASE_S, ClaimTable


def test_a_second_study_waits_until_the_first_is_done() -> None:
    table = ClaimTable()
    assert table.claim("a", "first", 0.0)
    assert not table.claim("a", "second", 1.0)
    assert table.claim("b", "second", 1.0)
    table.release("a", "second")  # not its to release
    assert not table.is_free("a", 1.0)
    table.release("a", "first")
    assert table.claim("a", "second", 1.0)


def test_a_claim_that_nobody_renews_is_free_again() -> None:
    table = ClaimTable()
    assert table.claim("a", "first", 0.0)
    assert table.claim("a", "first", LEASE_S - 1)  # renewed, also by a new attempt of the same sweep
    assert not table.claim("a", "second", LEASE_S + 1)
    assert table.claim("a", "second", 2 * LEASE_S)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", "z"]), st.floats(0, 30)), max_size=40))
def test_two_studies_never_hold_one_claim(asked: list[tuple[str, str, float]]) -> None:
    table, now, until = ClaimTable(), 0.0, dict[str, tuple[str, float]]()
    for key, holder, pause in asked:
        now += pause
        held_by, ends = until.get(key, ("", 0.0))
        granted = table.claim(key, holder, now)
        assert granted == (held_by == holder or ends <= now)
        if granted:
            until[key] = (holder, now + LEASE_S)
