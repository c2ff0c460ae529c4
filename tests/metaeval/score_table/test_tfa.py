"""TFA of a table: the study's own number and interval, and a reason wherever something is missing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from assay.errors import DataError
from assay.metaeval.score_table.columns import Columns
from assay.metaeval.score_table.report import scorer_report
from assay.metaeval.score_table.tfa import Curves, whole_counts
from assay.metaeval.statistics.clustered import Block
from assay.metaeval.statistics.comparability import tfa


def curves(tasks: str, targets: list[int], runs: str | None = None, groups: str | None = None) -> Curves:
    return Curves(list(tasks), np.array(targets), list(runs) if runs else None, list(groups) if groups else None)


def test_rows_of_runs_give_the_gain_by_hand() -> None:
    # a: .2 -> .6, gain .4 or 2.0 times; b: .5 -> .6, gain .1 or .2 times; N = 8 is no end of a curve
    found = curves("aaaaabbbb", [0, 0, 8, 64, 64, 0, 0, 64, 64]).gains(
        np.array([0.19, 0.21, 0.9, 0.5, 0.7, 0.49, 0.51, 0.5, 0.7])
    )
    assert found["tfa_absolute"].value == pytest.approx((0.4 + 0.1) / 2)
    assert found["tfa_relative"].value == pytest.approx((2.0 + 0.2) / 2)
    assert found["tfa_absolute"].low < 0.25 < found["tfa_absolute"].high
    assert (found["tfa_absolute"].method, found["tfa_absolute"].num_clusters) == ("studentised, runs", 8)


def test_runs_and_items_are_the_blocks_that_studies_build() -> None:
    rng = np.random.default_rng(0)
    tasks, targets, runs, items, values = [], [], [], [], []
    blocks: dict[str, dict[int, Block]] = {}
    for task in "ab":
        for count in (0, 32):
            names = [f"zero{k}" if count == 0 else f"{task}{k}" for k in range(3)]
            table_RI = rng.normal(1 + count / 32, 0.3, size=(3, 20))
            labels = [(task, item) for item in range(20)]
            blocks.setdefault(task, {})[count] = Block(table_RI, names, labels)
            for run, name in enumerate(names):
                for item in range(20):
                    tasks.append(task)
                    targets.append(count)
                    runs.append(name)
                    items.append(item)
                    values.append(table_RI[run, item])
    found = Curves(tasks, np.array(targets), runs, items).gains(np.array(values))
    first, last = ({task: part[count] for task, part in blocks.items()} for count in (0, 32))
    for name, relative in (("tfa_relative", True), ("tfa_absolute", False)):
        expected = tfa(first, last, relative=relative)
        assert found[name].as_json() == pytest.approx(expected.as_json())


def test_only_items_that_every_run_has_are_compared() -> None:
    part = curves("aaaaaaaa", [0] * 4 + [8] * 4, "rrsstttt", "xyxyxyzz")
    values = np.array([1, 5, 2, math.nan, 3, 9, 9, 9], dtype=float)
    # y is missing in s, z at N = 0: x alone, (1 + 2) / 2 -> 3
    assert part.gains(values)["tfa_absolute"].value == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("part", "values", "name", "reason"),
    [
        (curves("aaaa", [0, 0, 8, 8]), [0, 0, 1, 2], "tfa_relative", "not above 0 in a"),
        (curves("aaaa", [0, 0, 8, 8]), [-1, 0, 1, 2], "tfa_relative", "not above 0 in a"),
        (curves("aaa", [4, 8, 8]), [1, 1, 1], "tfa_absolute", "without a: no rows at N = 0; no task has runs both"),
        (curves("aa", [0, 0]), [1, 1], "tfa_absolute", "without a: no rows above N = 0"),
        (curves("aaaa", [0, 0, 8, 8]), [math.nan, math.nan, 1, 2], "tfa_absolute", "no common items in a"),
        (curves("aaaa", [0, 0, 8, 8], "rstu", "wxyz"), [1, 2, 3, 4], "tfa_absolute", "no common items in a"),
    ],
)
def test_what_cannot_be_said_has_a_reason(part: Curves, values: list[float], name: str, reason: str) -> None:
    found = part.gains(np.array(values, dtype=float))[name]
    assert not found.is_defined
    assert reason in found.reason


@pytest.mark.parametrize(
    ("part", "values", "reason"),
    [
        (curves("aaa", [0, 8, 8]), [1.0, 2.0, 3.0], "no interval: one run at N = 0 in a"),
        (curves("aaaa", [0, 0, 8, 8]), [1.0, 1.0, 2.0, 2.0], "no interval: no spread"),
        (curves("aaaab", [0, 0, 8, 8, 8]), [1.0, 2.0, 3.0, 5.0, 9.0], "without b: no rows at N = 0"),
    ],
)
def test_an_interval_that_nothing_supports_is_left_out(part: Curves, values: list[float], reason: str) -> None:
    found = part.gains(np.array(values))["tfa_absolute"]
    assert found.is_defined
    assert found.reason == reason
    assert math.isnan(found.low) == reason.startswith("no interval")


@pytest.mark.parametrize("value", [None, -1, 1.5, "8", math.nan, math.inf, True])
def test_target_rows_are_whole_numbers(value: object) -> None:
    with pytest.raises(DataError, match=r"column 'N': saw .* in row 1; expected a whole number"):
        whole_counts("N", [0, value])


def test_the_report_holds_tfa_of_scorers_and_human() -> None:
    rng = np.random.default_rng(1)
    size = np.tile([0, 0, 0, 64, 64, 64], 4)
    human = size / 64 + rng.normal(2, 0.1, size=24)
    table = {
        "task": ["q"] * 12 + ["s"] * 12,
        "N": size.tolist(),
        "human": human.tolist(),
        "flat": rng.normal(1, 0.1, 24).tolist(),
    }
    report = scorer_report(table, "human", Columns(task="task", target_rows="N"), resamples=200)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report["scorers"]) == ["flat"]
    assert report["human_tfa"]["tfa_relative"]["low"] > 0.3
    flat = report["scorers"]["flat"]["tfa_absolute"]
    assert flat["low"] < 0 < flat["high"]
    with pytest.raises(DataError, match="saw no task column"):
        scorer_report(table, "human", Columns(target_rows="N"))
