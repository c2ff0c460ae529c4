"""`assay decide` from a table to its record, and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from assay.cli import run_app


def table(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["arm,draw,score", *rows]) + "\n")
    return path


def rows(draws: int = 5) -> list[str]:
    rng = np.random.default_rng(0)
    truth = {"good": 0.8, "fair": 0.6, "bad": 0.2}
    return [f"{arm},{draw},{mean + 0.02 * rng.normal():.4f}" for arm, mean in truth.items() for draw in range(draws)]


def decide(path: Path, *more: str) -> int:
    return run_app(["decide", "--table", str(path), "--out", str(path.parent / "out.json"), "--looks", "2,3,5", *more])


def test_the_best_arm_is_found_before_the_last_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(table(tmp_path / "runs.csv", rows())) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["is_answered"] and found["rounds"][-1]["leader"] == "good" and found["rounds"][-1]["look"] < 5
    assert set(found["rounds"][0]["dropped"]) | set(found["rounds"][-1]["dropped"]) == {"fair", "bad"}
    said = capsys.readouterr().out
    assert "fair is worse" in said and "against good" in said and "answered after" in said


def test_equal_evidence_gives_an_equal_record_whatever_the_order_of_rows(tmp_path: Path) -> None:
    records = set()
    for seed in range(5):
        shuffled = rows()
        random.Random(seed).shuffle(shuffled)
        decide(table(tmp_path / "runs.csv", shuffled))
        records.add((tmp_path / "out.json").read_bytes())
    assert len(records) == 1


def test_before_the_first_round_nothing_is_decided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(table(tmp_path / "runs.csv", rows(1))) == 0
    assert "no round yet" in capsys.readouterr().out


def test_undecided_says_what_it_would_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    close = ["a,0,0.50", "b,0,0.51", "a,1,0.55", "b,1,0.53", "a,2,0.52", "b,2,0.54"]
    assert decide(table(tmp_path / "runs.csv", close)) == 0
    said = capsys.readouterr().out
    assert "a is undecided, would take about" in said and "open: next round at 5 draws" in said


def items(count: int = 60, arms: tuple[tuple[str, int], ...] = (("a", 8), ("b", 2))) -> list[str]:
    return [f"{arm},{item},{int(item % 10 < wins)}" for arm, wins in arms for item in range(count)]


ITEMS = ("--unit", "items", "--item", "draw", "--looks", "20,40,60")


def test_items_of_two_adapters(tmp_path: Path) -> None:
    path = table(tmp_path / "runs.csv", items())
    assert decide(path, *ITEMS, "--order", "draw", "--num-items", "200") == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["is_answered"] and found["rounds"][-1]["leader"] == "a"
    best = found["rounds"][-1]
    assert best["leader_low"] < best["leader_mean"] == 0.8 < best["leader_high"]


def test_items_that_are_planned_but_not_seen_yet_count_as_open(tmp_path: Path) -> None:
    path = table(tmp_path / "runs.csv", items(20, (("a", 6), ("b", 5))))
    assert decide(path, *ITEMS) == 0  # with N = 20, the 20 items seen would be all there are, and decide for sure
    found = json.loads((tmp_path / "out.json").read_text())
    assert len(found["rounds"]) == 1 and not found["is_answered"]
    assert decide(path, *ITEMS, "--num-items", "20") == 0
    assert json.loads((tmp_path / "out.json").read_text())["is_answered"]


def test_without_a_plan_items_are_ordered_by_hash_and_the_seed_says_which(tmp_path: Path) -> None:
    path = table(
        tmp_path / "runs.csv",
        [f"{arm},{i:03},{int(i < wins)}" for arm, wins in (("a", 9), ("b", 4)) for i in range(60)],
    )
    leaders = set()
    for seed in range(6):
        assert decide(path, *ITEMS, "--seed", str(seed)) == 0
        leaders.add(json.loads((tmp_path / "out.json").read_text())["rounds"][0]["leader_mean"])
    assert max(leaders) < 9 / 20 and len(leaders) > 1  # in the order of ids the first 20 would hold all nine


def test_a_cheap_scorer_of_all_items_saves_judge_calls(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    truth = {"a": rng.random(300) < 0.6, "b": rng.random(300) < 0.45}
    lines = [
        f"{arm},{item},{int(right) if item < 200 else ''},{right + rng.normal(0, 0.2):.3f}"
        for arm, row in truth.items()
        for item, right in enumerate(row)
    ]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(["arm,draw,score,cheap", *lines]) + "\n")
    alone = tmp_path / "alone.csv"
    scored = [",".join(row.split(",")[:3]) for row in lines if ",," not in row]
    alone.write_text("\n".join(["arm,draw,score", *scored]))
    widths = []
    for file, more in ((path, ["--cheap", "cheap"]), (alone, ["--num-items", "300"])):
        assert decide(file, "--unit", "items", "--looks", "80", "--item", "draw", "--order", "draw", *more) == 0
        (finding,) = json.loads((tmp_path / "out.json").read_text())["rounds"][0]["findings"]
        widths.append(finding["high"] - finding["low"])
    assert widths[0] < 0.9 * widths[1]


def test_looks_at_any_time_need_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(table(tmp_path / "runs.csv", rows(8)), "--looks", "any") == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["is_answered"] and not found["rule"]["is_planned"] and 3 < found["rounds"][-1]["look"] <= 8
    assert "corrected for having been picked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "more", "complaint"),
    [
        (rows(), ["--looks", "3,2"], "increasing whole numbers"),
        (rows(), ["--question", "baseline", "--baseline", "x"], "--baseline one of them"),
        (rows(), ["--score", "other"], "no column 'other'"),
        (rows()[:5], [], "expected two or more"),
        ([*rows(), "bad,0,0.3"], [], "saw 'bad' twice"),
        ([*rows()[1:], "other,7,0.3"], [], "without an early draw"),
        (["a,0,", "b,0,1"], [], "no empty cell"),
        (["a,0,3", "b,0,1", "a,1,3", "b,1,2"], ["--unit", "items", "--order", "draw"], "in [0, 1]"),
        ([f"{arm},{i},1" for arm in "ab" for i in (7, 3)], ["--unit", "items", "--order", "draw"], "drawn at random"),
        (["a,x,1", "b,x,1"], ["--unit", "items", "--order", "draw"], "drawn at random"),
        (rows(), ["--num-items", "9"], "for items alone"),
        (items(), [*ITEMS, "--cheap", "other"], "no column 'other'"),
        (items(), [*ITEMS, "--cheap", "score", "--num-items", "60"], "leave it out"),
        (items()[1:], [*ITEMS, "--cheap", "score"], "saw 59 of 60 items of 'a'"),
        (["a,0,inf", "b,0,1"], [], "scores as numbers"),
    ],
)
def test_what_cannot_be_decided_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], more: list[str], complaint: str
) -> None:
    assert decide(table(tmp_path / "runs.csv", lines), *more) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said and "\n" not in said
