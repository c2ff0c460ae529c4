"""Draws are functions of the request, and faults come at their rates."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.judge_server.config import FAULTS
from assay.judge_server.rubric.draws import Draws, request_hash
from assay.judge_server.server.exchange import content_key
from assay.judge_server.server.faults import draw_fault


@given(st.integers(0, 2**31), st.binary(max_size=20), st.text(max_size=20))
def test_a_draw_is_a_function_of_its_names(seed, name, purpose) -> None:
    one, other = Draws(seed, name), Draws(seed, name)
    assert 0 <= one.uniform(purpose) < 1
    assert (one.uniform(purpose), one.normal(purpose)) == (other.uniform(purpose), other.normal(purpose))


def test_normal_draws_are_standard_normal() -> None:
    values = [Draws(0, b"%d" % index).normal("x") for index in range(4000)]
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    assert abs(mean) < 0.06 and abs(spread - 1) < 0.04


def test_faults_come_at_their_rates() -> None:
    faults = {
        "5xx": 0.05,
        "hang": 0.01,
        "reset": 0.02,
        "truncated": 0.02,
        "empty": 0.02,
        "format": 0.05,
        "refusal": 0.02,
    }
    counts = Counter(draw_fault(faults, Draws(1, b"%d" % index)) for index in range(20_000))
    for name, rate in faults.items():
        assert counts[name] / 20_000 == pytest.approx(rate, abs=0.006)
    assert set(counts) - {""} == set(faults) <= set(FAULTS)


def test_message_texts_cannot_run_into_each_other() -> None:
    assert content_key("m", [("user", "ab"), ("user", "c")]) != content_key("m", [("user", "a"), ("user", "bc")])
    assert request_hash("ab", "c") != request_hash("a", "bc")
