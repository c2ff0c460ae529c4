"""Given models against each other: items are all that varies, and they decide."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from assay.metaeval.statistics.clustered import GIVEN_MODELS, Block
from assay.metaeval.statistics.comparison import Pair, compare, compare_weighted
from assay.metaeval.statistics.verdict import decide_family


def given(scores: list[float], name: str) -> Block:
    return Block(np.array([scores]), [name], list(range(len(scores))), is_fixed=True, is_asked_about=True)


def test_given_models_are_told_apart_by_items_alone() -> None:
    first, second = given([1, 1, 1, 0, 1, 1, 1, 0], "a"), given([0, 1, 0, 0, 0, 1, 0, 0], "b")
    found = compare(first, second, low=0.0, high=1.0)
    # differences 1 0 1 0 1 0 1 0: mean 1/2, sample variance 2/7, standard error sqrt(2/7/8) = .189
    assert (found.difference.value, found.unit, found.is_about_runs) == (0.5, GIVEN_MODELS, True)
    assert found.standard_error == pytest.approx(math.sqrt(2 / 7 / 8))
    assert found.dof == pytest.approx(7)
    (decided,) = decide_family([found.evidence], margins=0.02)
    assert decided.verdict.word == "better"
    fixed = replace(first, is_asked_about=False), replace(second, is_asked_about=False)
    assert not compare(*fixed, low=0.0, high=1.0).is_about_runs  # starting points of trainings, which are not


def test_a_given_model_that_is_always_right_beats_one_that_never_is() -> None:
    pair = given([1.0] * 12, "a"), given([0.0] * 12, "b")
    single = compare(*pair, low=0.0, high=1.0)
    weighted = compare_weighted([Pair(1.0, *pair)], low=0.0, high=1.0)
    for found in (single, weighted):
        assert found.difference.low < 1.0 == found.difference.value
        (decided,) = decide_family([found.evidence], margins=0.02)
        assert decided.verdict.word == "better"
    few = compare(given([1.0], "a"), given([0.0], "b"), low=0.0, high=1.0)
    (undecided,) = decide_family([few.evidence], margins=0.02)
    assert undecided.verdict.word == "undecided"
