"""Losses as functions of given log-probabilities: hand-computed, against plain NumPy in float64, and by their laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.training.batching import RowGroup, TrainRow
from assay.training.objectives.base import Objective
from assay.training.objectives.conditional import Conditional
from assay.training.objectives.dpo import Dpo
from assay.training.objectives.hinge import Hinge
from assay.training.objectives.ipo import Ipo
from assay.training.objectives.ipo_sum import IpoSum
from assay.training.objectives.kto import Kto
from assay.training.objectives.lists import AnswerLists, answer_lists
from assay.training.objectives.orpo import Orpo, log_odds
from assay.training.objectives.preference import PreferenceObjective
from assay.training.objectives.pro import Pro
from assay.training.objectives.rrhf import Rrhf
from assay.training.objectives.sft_chosen import SftChosen
from assay.training.objectives.shipped import SHIPPED
from assay.training.objectives.simpo import SimPo
from assay.training.objectives.slic import Slic

torch = pytest.importorskip("torch")
TOLERANCE = 1e-9

Answer = tuple[float, float, int, int]
"""log p, log p_reference, tokens, label."""
Oracle = Callable[[list[Answer]], float]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def log_sigmoid(x: float) -> float:
    return -float(np.logaddexp(0.0, -x))


def pair_gap(group: list[Answer], value: Callable[[Answer], float]) -> float:
    return value(group[0]) - value(group[-1])


def ratio(answer: Answer) -> float:
    return answer[0] - answer[1]


def mean(answer: Answer) -> float:
    return answer[0] / answer[2]


def odds(answer: Answer) -> float:
    return mean(answer) - math.log1p(-math.exp(mean(answer)))


def rrhf(group: list[Answer]) -> float:
    total = -group[0][0]
    for better in group:
        for worse in group:
            if better[3] < worse[3]:
                total += max(0.0, mean(worse) - mean(better))
    return total


def pro(group: list[Answer]) -> float:
    total = 0.0
    for one in group:
        worse = [other for other in group if other[3] > one[3]]
        total -= math.log(math.exp(mean(one)) / (math.exp(mean(one)) + sum(math.exp(mean(other)) for other in worse)))
    return total - 0.05 * (len(group) - 1) ** 2 * mean(group[0])


def kto(drift: float) -> Oracle:
    def loss(group: list[Answer]) -> float:
        z = max(0.0, drift)
        return sum(
            1.2 * (1 - sigmoid(0.3 * (ratio(one) - z))) if one[3] == 1 else 0.7 * (1 - sigmoid(0.3 * (z - ratio(one))))
            for one in group
        )

    return loss


KTO = Kto(beta=0.3, desirable_weight=1.2, undesirable_weight=0.7)
ORACLES: list[tuple[str, Callable[[AnswerLists], Any], Oracle]] = [
    ("sft_chosen", SftChosen().loss_of, lambda g: -g[0][0]),
    ("conditional", Conditional().loss_of, lambda g: -sum(one[0] for one in g)),
    ("dpo", Dpo(beta=0.3).loss_of, lambda g: -log_sigmoid(0.3 * pair_gap(g, ratio))),
    ("hinge", Hinge(beta=0.3).loss_of, lambda g: max(0.0, 1 - 0.3 * pair_gap(g, ratio))),
    (
        "slic",
        Slic(delta=2.0, weight=0.25).loss_of,
        lambda g: max(0.0, 2.0 - g[0][0] + g[-1][0]) - 0.25 * g[0][0],
    ),
    ("ipo", Ipo(beta=0.3).loss_of, lambda g: (pair_gap(g, lambda one: ratio(one) / one[2]) - 1 / 0.6) ** 2),
    ("ipo_sum", IpoSum(beta=0.3).loss_of, lambda g: (pair_gap(g, ratio) - 1 / 0.6) ** 2),
    ("rrhf", Rrhf().loss_of, rrhf),
    ("pro", Pro().loss_of, pro),
    ("kto", lambda lists: KTO.loss_at(lists, 0.4), kto(0.4)),
    ("kto, negative drift", lambda lists: KTO.loss_at(lists, -0.4), kto(0.0)),
    ("orpo", Orpo(beta=0.3).loss_of, lambda g: -0.3 * log_sigmoid(pair_gap(g, odds))),
    ("simpo", SimPo(beta=2.5, gamma=0.8).loss_of, lambda g: -log_sigmoid(2.5 * pair_gap(g, mean) - 0.8)),
]


def test_every_preference_method_has_an_oracle() -> None:
    assert {name.split(",")[0] for name, _, _ in ORACLES} == {*SHIPPED} - {"sft"}


def lists_of(groups: list[list[Answer]]) -> AnswerLists:
    """The log-probabilities as a pass brings them, in float64."""
    rows: list[RowGroup] = [
        tuple(TrainRow(np.zeros(tokens + 1, np.int32), 1, 0, label, known) for _, known, tokens, label in group)
        for group in groups
    ]
    policy = torch.tensor([one[0] for group in groups for one in group], dtype=torch.float64, requires_grad=True)
    return answer_lists(rows, policy)


def random_groups(seed: int, *, ragged: bool, unpaired: bool = False) -> list[list[Answer]]:
    draw = np.random.default_rng(seed)
    groups = []
    for _ in range(40):
        size = int(draw.integers(2, 6)) if ragged else 2
        labels = list(range(size))
        if unpaired:
            labels = [int(label) for label in draw.integers(0, 2, size)]
        elif ragged and size > 3 and draw.random() < 0.5:
            labels[2] = labels[1]  # a tie
        groups.append(
            [
                (-float(draw.gamma(2.0, 8.0)), -float(draw.gamma(2.0, 8.0)), int(draw.integers(1, 40)), label)
                for label in labels
            ]
        )
    return groups


@pytest.mark.parametrize(("name", "ours", "oracle"), ORACLES, ids=[name for name, _, _ in ORACLES])
@pytest.mark.parametrize("ragged", [False, True])
def test_losses_agree_with_plain_numpy(
    name: str, ours: Callable[[AnswerLists], Any], oracle: Oracle, ragged: bool
) -> None:
    groups = random_groups(7, ragged=ragged, unpaired=name.startswith("kto"))
    lists = lists_of(groups)
    found = ours(lists)
    expected = np.array([oracle(group) for group in groups])
    difference = float(np.abs(found.detach().numpy() - expected).max())
    print(f"{name}, {'lists' if ragged else 'pairs'}: largest difference {difference:.1e}")
    assert difference < TOLERANCE
    found.sum().backward()  # and nothing of it is NaN, also where lists are shorter than the longest


def by_hand(objective: PreferenceObjective, group: list[Answer]) -> float:
    return float(objective.loss_of(lists_of([group])).detach()[0])


def test_losses_by_hand() -> None:
    # chosen: log p -4 over 2 tokens, reference -5; rejected: -9 over 3 tokens, reference -6
    pair: list[Answer] = [(-4.0, -5.0, 2, 0), (-9.0, -6.0, 3, 1)]
    # D = (-4 + 5) - (-9 + 6) = 1 + 3 = 4
    assert by_hand(Dpo(beta=0.5), pair) == pytest.approx(math.log(1 + math.exp(-2.0)), abs=TOLERANCE)
    assert by_hand(Hinge(beta=0.2), pair) == pytest.approx(1 - 0.2 * 4, abs=TOLERANCE)
    assert by_hand(Hinge(beta=0.5), pair) == 0.0
    assert by_hand(IpoSum(beta=0.25), pair) == pytest.approx((4 - 2) ** 2, abs=TOLERANCE)
    # per token: 1 / 2 - (-3 / 3) = 1.5
    assert by_hand(Ipo(beta=0.5), pair) == pytest.approx((1.5 - 1) ** 2, abs=TOLERANCE)
    # max(0, 6 + 4 - 9) - .5 (-4) = 1 + 2
    assert by_hand(Slic(delta=6.0, weight=0.5), pair) == pytest.approx(3.0, abs=TOLERANCE)
    # mean log p: -2 and -3, a gap of 1; 2 * 1 - .5 = 1.5
    assert by_hand(SimPo(beta=2.0, gamma=0.5), pair) == pytest.approx(math.log(1 + math.exp(-1.5)), abs=TOLERANCE)
    # three answers of mean log p -2, -1, -3: the second beats the first by 1, nothing else is out of order; CE is 4
    three: list[Answer] = [(-4.0, 0.0, 2, 0), (-3.0, 0.0, 3, 1), (-3.0, 0.0, 1, 2)]
    assert by_hand(Rrhf(), three) == pytest.approx(1 + 4, abs=TOLERANCE)
    assert by_hand(Rrhf(rank_weight=100, imitation="mean"), three) == pytest.approx(100 + 2, abs=TOLERANCE)
    first = math.log(1 + math.e + math.exp(-1.0))  # log(e^-2 + e^-1 + e^-3) - (-2)
    second = math.log(1 + math.exp(-2.0))  # log(e^-1 + e^-3) - (-1)
    assert by_hand(Pro(sft_weight=0.0), three) == pytest.approx(first + second, abs=TOLERANCE)
    assert by_hand(Pro(sft_weight=0.1), three) == pytest.approx(first + second + 0.1 * 4 * 2, abs=TOLERANCE)
    # P = 1/2 has odds 1, P = 1/4 has odds 1/3: log odds ratio log 3, sigmoid 3/4
    halves: list[Answer] = [(math.log(0.5), 0.0, 1, 0), (2 * math.log(0.25), 0.0, 2, 1)]
    assert by_hand(Orpo(beta=1.0), halves) == pytest.approx(-math.log(0.75), abs=TOLERANCE)
    # at d = z a desirable and an undesirable answer each cost half
    level: list[Answer] = [(-4.0, -4.0, 2, 1), (-9.0, -9.0, 3, 0)]
    assert by_hand(Kto(beta=0.1), level) == pytest.approx(1.0, abs=TOLERANCE)


finite = st.floats(-60, -0.01)
pairs = st.lists(
    st.tuples(finite, finite, finite, finite, st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6
)
METHODS: list[PreferenceObjective] = [
    Dpo(), Hinge(), Slic(), Ipo(), IpoSum(), SimPo(), Orpo(), Rrhf(), Pro(), SftChosen(), Conditional(), Kto(),
]  # fmt: skip


def as_groups(values: list[tuple[float, float, float, float, int, int]]) -> list[list[Answer]]:
    return [[(a, b, m, 0), (c, d, n, 1)] for a, b, c, d, m, n in values]


@given(pairs, st.sampled_from(METHODS))
def test_a_groups_loss_does_not_depend_on_the_others(
    values: list[tuple[float, float, float, float, int, int]], objective: PreferenceObjective
) -> None:
    together = objective.loss_of(lists_of(as_groups(values))).detach().numpy()
    alone = [by_hand(objective, group) for group in as_groups(values)]
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)


@given(pairs, st.sampled_from(METHODS[:9]))
def test_raising_the_better_answer_never_raises_the_loss_of_a_ranking_method(
    values: list[tuple[float, float, float, float, int, int]], objective: PreferenceObjective
) -> None:
    if isinstance(objective, (Ipo, IpoSum)):
        return  # their gap has a target, which can be passed
    lists = lists_of(as_groups(values))
    policy = lists.policy
    (slope,) = torch.autograd.grad(objective.loss_of(lists).sum(), policy)
    assert bool((slope[:, 0] <= 0).all())
    assert bool((slope[:, 1] >= 0).all())


@given(st.floats(-100, -1e-9))
def test_log_odds_are_those_of_the_probability_and_have_a_gradient(log_p: float) -> None:
    x = torch.tensor(log_p, dtype=torch.float64, requires_grad=True)
    found = log_odds(x)
    assert float(found.detach()) == pytest.approx(log_p - math.log(-math.expm1(log_p)), rel=1e-12)
    found.backward()
    assert float(x.grad) == pytest.approx(1 / -math.expm1(log_p), rel=1e-9)


def test_log_odds_of_a_certain_answer_in_float32_is_finite() -> None:
    x = torch.tensor([-1e-9, 0.0, -80.0], requires_grad=True)
    found = log_odds(x)
    found.sum().backward()
    assert bool(torch.isfinite(found).all())
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("objective", METHODS, ids=lambda objective: objective.method)
def test_a_pass_of_nothing_adds_nothing(objective: Objective) -> None:
    class Nothing:
        def answer_log_probs(self, batch: Any) -> Any:
            return torch.zeros(1, requires_grad=True)[:0]

    from assay.training.batching import pad, without_targets

    row = TrainRow(np.arange(5, dtype=np.int32), 2, 0)
    batch = without_targets(pad([[row]], pad_id=0, loss_on="answer"))
    found = objective.loss(Nothing(), batch, 0.5)  # type: ignore[arg-type]
    assert [float(term.detach()) for term in found.terms] == [0.0] * len(objective.weights(batch))
    assert [term.requires_grad for term in found.terms] == [True] * len(found.terms)
    assert objective.weights(batch) == (0,) * len(found.terms)
