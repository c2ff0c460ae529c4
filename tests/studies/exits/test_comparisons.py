"""Who is compared with whom, what a barrier finds, and in what order it may come to know it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from assay.errors import ConfigError
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.studies.designs.cell import Cell
from assay.studies.exits.comparisons import Comparison, Curve, Run, Trained, comparisons_of, decide, steps_at
from assay.studies.exits.spec import ExitsSpec
from assay.training.schedule import Schedule
from assay.training.spec import TrainSpec

SPEC = ExitsSpec(at=(0.25, 0.5), credit=0.0)
PLAN = Schedule(16, 40, 4, 2)
"""20 evaluations: 5 at the first barrier, 10 at the second."""
MIXTURE = MixtureSpec(train=(ComponentSpec(name="a", dataset="a", count=8),))


def trained(arm: str, draw: int = 0, *, rows: str = "v", size: int = 8, plan: Schedule = PLAN) -> Trained:
    cell = Cell("toy", "task", size, draw, draw, MIXTURE, TrainSpec(), arm)
    return Trained(cell, Run(f"{arm} {draw}", draw, draw, plan), "toy", rows)


def compared(*arms: str, draws: int = 1, baseline: str | None = None) -> Comparison:
    (found,) = comparisons_of([trained(arm, draw) for arm in arms for draw in range(draws)], SPEC, baseline)
    return found


def curves(losses: Mapping[str, Sequence[float]]) -> dict[str, Curve]:
    return {adapter: Curve(tuple(values)) for adapter, values in losses.items()}


def test_a_barrier_ends_who_cannot_come_near_worked_by_hand() -> None:
    # 5 of 20 evaluations. "lost" fell by .1 from the third to the fifth: at most .1 * 15 / 2 = .75 until the end, to
    # 2.05. "near" may come to 1.5 - .75 = .75; the leader stays at 1
    seen = {"best 0": [1.0] * 5, "lost 0": [2.9, 2.9, 2.9, 2.85, 2.8], "near 0": [1.6, 1.6, 1.6, 1.55, 1.5]}
    found = decide(compared("best", "lost", "near"), 0.25, curves(seen), SPEC, ())
    assert set(found["ended"]) == {"lost"} and found["leader"] == "best"
    assert found["ended"]["lost"] == {
        "loss": 2.8, "gain": pytest.approx(0.75), "leader": "best", "leader_end": 1.0,
    }  # fmt: skip
    wide = decide(compared("best", "lost", "near"), 0.25, curves(seen), SPEC.replace(margin=1.1), ())
    assert wide["ended"] == {}


def test_an_arm_goes_whole_by_the_mean_of_its_runs() -> None:
    # one draw of "split" is level with the leader, the other far behind: the spread of its runs is more than it lacks
    seen = {"best 0": [1.0] * 5, "best 1": [1.0] * 5, "split 0": [1.0] * 5, "split 1": [2.0] * 5}
    assert decide(compared("best", "split", draws=2), 0.25, curves(seen), SPEC, ())["ended"] == {}
    seen |= {"split 0": [1.9] * 5}
    assert set(decide(compared("best", "split", draws=2), 0.25, curves(seen), SPEC, ())["ended"]) == {"split"}


def test_baselines_stay_and_lead() -> None:
    seen = {"base 0": [3.0] * 5, "best 0": [1.0] * 5, "none 0": [4.0] * 5, "lost 0": [2.0] * 5}
    cells = [trained("base"), trained("best"), trained("none", size=0), trained("lost")]
    (comparison,) = comparisons_of(cells, SPEC, "base")
    found = decide(comparison, 0.25, curves(seen), SPEC, ())
    assert set(found["ended"]) == {"lost"} and set(found["staying"]) == {"base", "none"}
    seen["base 0"] = [0.1] * 5
    assert decide(comparison, 0.25, curves(seen), SPEC, ())["leader"] == "base"


def test_a_training_that_stopped_by_itself_leads_and_is_not_ended() -> None:
    comparison = compared("over", "runs")
    over = {"over 0": Curve((1.0, 0.5, 0.6), is_over=True), "runs 0": Curve((2.0,) * 5)}
    found = decide(comparison, 0.25, over, SPEC, ())
    assert found["leader"] == "over" and set(found["ended"]) == {"runs"}
    assert found["seen"]["over"]["loss"] == 0.5  # what it is kept at
    over = {"over 0": Curve((9.0, 8.0, 8.5), is_over=True), "runs 0": Curve((2.0,) * 5)}
    assert decide(comparison, 0.25, over, SPEC, ())["ended"] == {}


def test_the_same_evidence_in_any_order_is_the_same_record() -> None:
    rng = random.Random(7)
    arms = [f"arm {number}" for number in range(6)]
    cells = [trained(arm, draw) for arm in arms for draw in range(3)]
    seen = {one.run.adapter: [rng.uniform(1, 3) - 0.1 * step for step in range(5)] for one in cells}
    texts = set()
    for _ in range(20):
        rng.shuffle(cells)
        (comparison,) = comparisons_of(cells, SPEC, None)
        shuffled = curves({key: seen[key] for key in rng.sample(sorted(seen), len(seen))})
        texts.add(json.dumps(decide(comparison, 0.25, shuffled, SPEC, {"arm 3"})))
    (text,) = texts
    record = json.loads(text)
    assert "arm 3" not in record["seen"] and len(record["seen"]) == 5


def test_only_arms_with_the_same_validation_rows_are_compared() -> None:
    cells = [
        trained("a"),
        trained("b"),
        trained("c", rows="others"),
        trained("d", rows="others"),
        trained("e", rows=""),
    ]
    assert [sorted(one.arms) for one in comparisons_of(cells, SPEC, None)] == [["a", "b"], ["c", "d"]]
    with pytest.raises(ConfigError, match="no two arms of one base model and task with the same validation rows"):
        comparisons_of([cells[0], cells[2], cells[4]], SPEC, None)
    # draws have validation rows of their own: arms are compared that have those of the same draws
    drawn = [trained(arm, draw, rows=f"v{draw}") for arm in "ab" for draw in range(2)]
    assert len(comparisons_of(drawn, SPEC, None)) == 1
    with pytest.raises(ConfigError, match="no two arms"):
        comparisons_of(drawn[:3], SPEC, None)


def test_a_barrier_needs_three_losses_before_it() -> None:
    short = replace(trained("a").run, plan=PLAN._replace(total_steps=20))
    assert steps_at(Comparison("toy", "task", {"a": (short,)}, frozenset()), 0.5) == {"a 0": 10}
    cells = [trained(arm, plan=Schedule(16, 20, 4, 2)) for arm in "ab"]
    # .25 of 20 steps is step 5, which has the losses of steps 2 and 4
    with pytest.raises(ConfigError, match=r"0.25 of the 20 steps of 'a' .* every 2 steps; .* or train.eval_every: 1"):
        comparisons_of(cells, SPEC, None)
    cells = [trained(arm, plan=Schedule(16, 8, 4, 1)) for arm in "ab"]
    with pytest.raises(ConfigError, match=r"expected it later$"):
        comparisons_of(cells, SPEC, None)
