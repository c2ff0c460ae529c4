"""From verdicts on pairs of answers to a share of wins for each."""

from __future__ import annotations

import math

import pytest

from assay.preference.comparing import OrderedVerdicts, every_two, win_shares


def test_a_share_counts_both_orders_and_ties_half() -> None:
    assert OrderedVerdicts(1, 1).first_share == 1.0
    assert OrderedVerdicts(1, 2).first_share == 0.5  # always what stands first: nothing was said
    assert OrderedVerdicts(2, 0).first_share == 0.25
    assert math.isnan(OrderedVerdicts(1, None).first_share)


def test_an_answers_score_is_its_share_of_comparisons() -> None:
    verdicts = {(0, 1): OrderedVerdicts(1, 1), (0, 2): OrderedVerdicts(1, 2), (1, 2): OrderedVerdicts(2, 2)}
    # 0: (1 + .5) / 2, 1: (0 + 0) / 2, 2: (.5 + 1) / 2
    assert win_shares(3, verdicts) == pytest.approx([0.75, 0.0, 0.75])
    assert every_two(3) == list(verdicts)


def test_what_was_not_read_does_not_count() -> None:
    shares = win_shares(3, {(0, 1): OrderedVerdicts(1, 1), (0, 2): OrderedVerdicts(None, 1)})
    assert shares[:2] == [1.0, 0.0] and math.isnan(shares[2])
