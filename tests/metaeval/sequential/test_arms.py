"""Rounds over arms: decisions by evidence alone, and on planted truths; those of a thousand studies are marked."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from assay.metaeval.sequential.arms import (
    Evidence,
    Finding,
    Round,
    Rule,
    by_draws,
    by_items,
    by_rounds,
    more_needed,
)
from assay.metaeval.sequential.betting import fortunes

LOOKS = (2, 3, 4, 6, 8, 10)


def names(count: int) -> list[str]:
    return [f"arm {place:02}" for place in range(count)]


def runs(truth: Sequence[float], draws: int, rng: np.random.Generator) -> dict[str, list[float]]:
    """Run scores: an arm's truth, luck of the draw that all share, and luck of the run with spread 1."""
    noise = rng.normal(size=(len(truth), draws)) + 2 * rng.normal(size=(1, draws))
    return dict(zip(names(len(truth)), (np.array(truth)[:, None] + noise).tolist(), strict=True))


def spent(rounds: Sequence[Round], arms: int) -> int:
    """Trainings that the rounds cost."""
    total = before = 0
    for one in rounds:
        total += arms * (one.look - before)
        before, arms = one.look, arms - len(one.dropped)
    return total


def is_wrong(rounds: Sequence[Round], truth: Mapping[str, float]) -> bool:
    """Whether any finding of any round names a winner that is none."""
    signs = {"better": 1, "worse": -1}
    found = [one for each in rounds for one in each.findings if one.word in signs]
    return any(signs[one.word] * (truth[one.first] - truth[one.second]) <= 0 for one in found)


def test_a_bad_arm_goes_early_and_good_ones_stay() -> None:
    rounds = by_draws(runs([6, 6, 0, 0, 0, 0], 10, np.random.default_rng(0)), Rule("best", LOOKS))
    assert set(rounds[0].dropped) | set(rounds[1].dropped) == set(names(6)[2:])
    assert {one.first for one in rounds[-1].findings} | {one.second for one in rounds[-1].findings} == set(names(2))
    assert not rounds[-1].is_answered  # two equal arms have no winner, and no margin was given


def test_within_a_margin_the_leader_is_good_enough() -> None:
    rounds = by_draws(runs([6, 6, 0], 10, np.random.default_rng(1)), Rule("best", LOOKS, margin=3))
    assert rounds[-1].is_answered and rounds[-1].leader in names(2)


def test_equal_arms_are_equivalent_within_a_margin_and_undecided_without() -> None:
    scores = runs([0, 0], 10, np.random.default_rng(3))
    assert by_draws(scores, Rule("order", (10,), margin=3))[-1].findings[0].word == "equivalent"
    assert by_draws(scores, Rule("order", (10,)))[-1].findings[0].word == "undecided"


def test_against_a_baseline_others_are_not_compared() -> None:
    rule = Rule("baseline", LOOKS, baseline="arm 02")
    rounds = by_draws(runs([9, 9, 0], 10, np.random.default_rng(2)), rule)
    assert rounds[-1].is_answered and rounds[-1].look < 10
    words = {(one.first, one.second): one.word for one in rounds[-1].findings}
    assert words["arm 00", "arm 02"] == "better"


@pytest.mark.parametrize("question", ["best", "baseline", "order"])
def test_the_order_in_which_evidence_arrives_changes_nothing(question: str) -> None:
    scores = runs([3, 2, 0, 0], 10, np.random.default_rng(5))
    rule = Rule(question, LOOKS, baseline="arm 00")  # type: ignore[arg-type]
    wanted = by_draws(scores, rule)
    for seed in range(20):
        shuffled = list(scores.items())
        random.Random(seed).shuffle(shuffled)
        assert by_draws(dict(shuffled), rule) == wanted


def test_later_evidence_never_changes_an_earlier_round_and_dropped_arms_need_none() -> None:
    scores = runs([6, 6, 0, 0], 10, np.random.default_rng(6))
    rule = Rule("best", LOOKS)
    whole = by_draws(scores, rule)
    for place, one in enumerate(whole):
        assert by_draws({arm: values[: one.look] for arm, values in scores.items()}, rule) == whole[: place + 1]
    gone = {arm: one.look for one in whole for arm in one.dropped}
    assert by_draws({arm: values[: gone.get(arm, 10)] for arm, values in scores.items()}, rule) == whole


def test_items_decide_between_adapters_and_the_last_item_decides_for_sure() -> None:
    rng = np.random.default_rng(7)
    first, second = rng.random(300) < 0.75, rng.random(300) < 0.45
    scores = {"a": first.astype(float).tolist(), "b": second.astype(float).tolist()}
    early = by_items(scores, Rule("best", (50, 100, 200, 300)), num_items=300)
    assert early[-1].is_answered and early[-1].leader == "a" and early[-1].look < 300
    close = {"a": [1.0] * 11 + [0.0] * 9, "b": [0.0] * 9 + [1.0] * 10 + [0.0]}
    (last,) = by_items(close, Rule("best", (20,)), num_items=20)
    assert last.findings[0].word == "better" and last.findings[0].difference == pytest.approx(0.05)


def test_scores_of_items_outside_0_to_1_are_refused() -> None:
    scores = {"a": [3.0, 2.5, 3.0], "b": [2.5, 2.5, 2.0]}  # differences within 1 all the same
    with pytest.raises(ValueError, match="the score 3 of 'a'"):
        by_items(scores, Rule("best", (3,)), num_items=9)


def item_arms(truth: Sequence[float], num_items: int, rng: np.random.Generator) -> dict[str, list[float]]:
    """0/1 scores of arms, each with exactly its share of right items."""
    table = [rng.permutation(np.arange(num_items) < round(mean * num_items)) for mean in truth]
    return dict(zip(names(len(truth)), (row.astype(float).tolist() for row in table), strict=True))


@pytest.mark.parametrize("truth", [(0.5, 0.5, 0.5), (0.9, 0.5, 0.5)])
def test_several_arms_on_items_rarely_have_a_false_winner(truth: tuple[float, ...]) -> None:
    rng = np.random.default_rng(12)
    known = dict(zip(names(3), truth, strict=True))
    rule = Rule("order", (40, 100), alpha=0.2)
    wrong = sum(is_wrong(by_items(item_arms(truth, 120, rng), rule, num_items=120), known) for _ in range(40))
    assert wrong <= 14  # P(Binomial(40, .2) > 14) < .01


def test_holm_names_winners_that_intervals_for_all_pairs_do_not() -> None:
    rng = np.random.default_rng(2)
    named = left_out = 0
    for look in (80, 120):
        scores = item_arms((0.9, 0.8, 0.6, 0.4, 0.2, 0.1), 400, rng)
        (only,) = by_items(scores, Rule("order", (look,)), num_items=400)
        named += sum(one.word != "undecided" for one in only.findings)
        left_out += sum(one.low > 0 or one.high < 0 for one in only.findings)
    assert named > left_out


@pytest.mark.parametrize("unit", ["draws", "items"])
def test_the_leader_has_an_interval_that_allows_for_its_choice(unit: str) -> None:
    rng = np.random.default_rng(13)
    covered = 0
    for _ in range(40):
        truth = [0.6, 0.55, 0.5]
        if unit == "items":
            last = by_items(item_arms(truth, 100, rng), Rule("best", (30, 60)), num_items=100)[-1]
        else:
            last = by_draws(runs(truth, 4, rng), Rule("best", (2, 4)))[-1]
        covered += last.leader_low <= dict(zip(names(3), truth, strict=True))[last.leader] <= last.leader_high
    assert covered >= 34  # P(Binomial(40, .95) < 34) < .01


def test_looks_at_any_time_need_no_plan_and_are_rarely_wrong() -> None:
    rng = np.random.default_rng(14)
    rule = Rule("best", tuple(range(1, 11)), is_planned=False)
    far = by_draws({"a": [3.0, 3.2, 2.9, 3.1, 3.0], "b": [0.1, 0.0, 0.2, -0.1, 0.1]}, rule)
    assert far[-1].is_answered and far[-1].look <= 5 and far[0].findings[0].word == "undecided"
    known = dict.fromkeys(names(4), 0.0)
    wrong = sum(is_wrong(by_draws(runs([0.0] * 4, 10, rng), rule), known) for _ in range(150))
    assert wrong <= 14  # P(Binomial(150, .05) > 14) < .01
    same = by_draws({"a": [1.0, 1.0, 1.0], "b": [0.0, 0.0, 0.0]}, rule)  # no spread says nothing of the spread
    assert not same[-1].is_answered


def test_what_an_undecided_difference_would_take() -> None:
    # a half width of .2 at 5 draws must fall to .1: four times as many draws, 15 more
    assert more_needed(Finding("a", "b", "undecided", 0.1, -0.1, 0.3), 5) == 15
    assert more_needed(Finding("a", "b", "undecided", 0.0, -0.2, 0.2), 5) is None
    assert more_needed(Finding("a", "b", "undecided", 0.1, -math.inf, math.inf), 1) is None
    assert more_needed(Finding("a", "b", "better", 0.3, 0.1, 0.5), 5) is None


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        by_draws({"a": [1.0, 2.0]}, Rule("best", (2,)))
    with pytest.raises(ValueError, match="the baseline 'x'"):
        by_draws({"a": [1.0, 2.0], "b": [1.0, 2.0]}, Rule("baseline", (2,), baseline="x"))


def arm_studies(truth: Sequence[float], studies: int) -> tuple[float, float, float]:
    """Shares of studies with a false winner, with the full run's winner, and mean share of trainings saved."""
    rng = np.random.default_rng(20261129)
    known = dict(zip(names(len(truth)), truth, strict=True))
    wrong = same = cost = 0
    for _ in range(studies):
        scores = runs(truth, LOOKS[-1], rng)
        rounds = by_draws(scores, Rule("best", LOOKS))
        best = max(names(len(truth)), key=lambda arm: np.mean(scores[arm]))
        wrong, same = wrong + is_wrong(rounds, known), same + (rounds[-1].leader == best)
        cost += spent(rounds, len(truth))
    return wrong / studies, same / studies, 1 - cost / (studies * len(truth) * LOOKS[-1])


def item_studies(num_items: int, discordance: float, difference: float, studies: int) -> tuple[float, float, float]:
    """The same of two arms with 0/1 scores, looked at after every item; calls saved."""
    rng = np.random.default_rng(20261129)
    up, down = round(num_items * (discordance + difference) / 2), round(num_items * (discordance - difference) / 2)
    d = np.concatenate([np.ones(up), -np.ones(down), np.zeros(num_items - up - down)])
    x = np.array([rng.permutation(d) for _ in range(studies)]) / 2 + 0.5
    found = fortunes(x, [0.5], num_items=num_items, alpha=0.05)
    hit = found.log_e[:, 0] >= math.log(20)
    ended = np.where(hit.any(axis=1), hit.argmax(axis=1), num_items - 1)
    rows = np.arange(studies)
    is_up = found.above[rows, 0, ended] > found.below[rows, 0, ended]
    wrong = hit.any(axis=1) & (~is_up if difference > 0 else True)
    return float(wrong.mean()), float(1 - wrong.mean()), 1 - float((ended + 1).mean()) / num_items


TWELVE = (4.6, 4.3, 4.0, *[0.0] * 9)
"""Three good arms, the others 4 run spreads below the worst of them."""


def test_twelve_arms_small() -> None:
    wrong, same, saved = arm_studies(TWELVE, 30)
    assert wrong <= 0.1 and same >= 0.98 and saved >= 0.5


def test_two_arms_small() -> None:
    wrong, same, saved = item_studies(1000, 0.3, 0.1, 60)
    assert wrong == 0 and same == 1 and saved >= 0.7
    assert item_studies(1000, 0.3, 0.0, 60)[0] <= 0.1


@pytest.mark.study
def test_twelve_arms_a_thousand_studies() -> None:
    wrong, same, saved = arm_studies(TWELVE, 1000)
    print(f"12 arms, 3 good: false winner {wrong:.3f}, full run's winner {same:.3f}, trainings saved {saved:.3f}")
    assert wrong <= 0.05 and same >= 0.98 and saved >= 0.5


@pytest.mark.study
def test_twelve_equal_arms_rarely_have_a_winner_in_a_thousand_studies() -> None:
    wrong, _, saved = arm_studies([0.0] * 12, 1000)
    print(f"12 equal arms: false winner {wrong:.3f}, trainings saved {saved:.3f}")
    assert wrong <= 0.05 + 2.33 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.study
@pytest.mark.parametrize("num_items", [1000, 400])
@pytest.mark.parametrize("discordance", [0.15, 0.3, 0.5])
@pytest.mark.parametrize("difference", [0.0, 0.05, 0.1])
def test_two_arms_a_thousand_studies(num_items: int, discordance: float, difference: float) -> None:
    wrong, same, saved = item_studies(num_items, discordance, difference, 1000)
    print(f"N {num_items}, discordance {discordance}, difference {difference}: false {wrong:.3f}, saved {saved:.3f}")
    assert wrong <= 0.05
    if num_items == 1000 and discordance == 0.3 and difference:
        assert same >= 0.98 and saved >= {0.05: 0.35, 0.1: 0.7}[difference]


ROUNDS, SEEN = (2, 3, 5), (50, 100, 200)


def mixed_studies(truth: Sequence[float], studies: int) -> tuple[float, float, float, float]:
    """Studies whose rounds add draws and items; 200 items of 200 in the last, right or wrong answers.

    Items are hard or easy for all arms (spread .25) and for each arm in its own way (.15); a run's luck has spread .03.

    Returns:
        Shares with a false winner and with the full run's winner; mean shares of trainings and of answers saved.
    """
    rng = np.random.default_rng(20261129)
    arms, draws, items = len(truth), ROUNDS[-1], SEEN[-1]
    known = dict(zip(names(arms), truth, strict=True))
    wrong = same = trained = answered = 0.0
    for _ in range(studies):
        hard = 0.25 * rng.normal(size=items)
        hard -= hard.mean()
        own = 0.15 * rng.normal(size=(arms, items))
        own -= own.mean(axis=1, keepdims=True)
        luck = 0.03 * rng.normal(size=(arms, draws, 1))
        chance = np.array(truth)[:, None, None] + hard + own[:, None, :] + luck
        score = (rng.random(chance.shape) < chance).astype(float)
        rounds = by_rounds([seen_evidence(score, look, seen) for look, seen in zip(ROUNDS, SEEN, strict=True)], RULE)
        best = max(names(arms), key=lambda arm: (score[names(arms).index(arm)].mean(), arm))
        wrong += is_wrong(rounds, known)
        same += rounds[-1].leader == best
        alive = arms
        spent_draws = spent_answers = 0
        for place, one in enumerate(rounds):
            before = (ROUNDS[place - 1], SEEN[place - 1]) if place else (0, 0)
            spent_draws += alive * (one.look - before[0])
            spent_answers += alive * (one.look * SEEN[place] - before[0] * before[1])
            alive -= len(one.dropped)
        trained += 1 - spent_draws / (arms * draws)
        answered += 1 - spent_answers / (arms * draws * items)
    return wrong / studies, same / studies, trained / studies, answered / studies


RULE = Rule("best", ROUNDS)


def seen_evidence(score: np.ndarray, look: int, seen: int) -> Evidence:
    """Of right or wrong answers, shape (arms, draws, items): those of the first draws to the first items."""
    part = score[:, :look, :seen]
    of_items = part.mean(axis=1)
    left = (1 - seen / score.shape[2]) / seen
    pairs = {
        (a, b): float((of_items[i] - of_items[j]).var(ddof=1)) * left
        for i, a in enumerate(names(len(score)))
        for j, b in enumerate(names(len(score)))
        if i < j
    }
    means = dict(zip(names(len(score)), part.mean(axis=2).tolist(), strict=True))
    return Evidence(means, pairs)


def test_rounds_of_draws_and_items_small() -> None:
    wrong, same, trained, answered = mixed_studies((0.8, 0.5, 0.4, 0.3), 40)
    assert wrong <= 0.1 and same == 1 and trained > 0.2 and answered > trained


@pytest.mark.study
@pytest.mark.parametrize("truth", [(0.75, 0.7, 0.65, *[0.4] * 9), (0.5,) * 12])
def test_rounds_of_draws_and_items_a_thousand_studies(truth: tuple[float, ...]) -> None:
    wrong, same, trained, answered = mixed_studies(truth, 1000)
    print(f"{truth}: false {wrong:.3f}, same {same:.3f}, trainings saved {trained:.3f}, answers {answered:.3f}")
    assert wrong <= 0.05 + 2.33 * math.sqrt(0.05 * 0.95 / 1000)
    if truth[0] > truth[-1]:
        assert same >= 0.95
