"""`assay exits` from a table of curves to who may end, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.cli import run_app


def table(path: Path, evaluations: int, arms: int = 3) -> Path:
    lines = ["arm,step,validation_loss"]
    for number in range(arms):
        for at in range(evaluations):
            lines.append(f"arm {number},{4 * (at + 1)},{1 + 0.5 * number + 0.4 / (at + 1):.6f}")
            lines.append(f"arm {number},{4 * at + 2},")  # steps without an evaluation
    path.write_text("\n".join(lines) + "\n")
    return path


def run(path: Path, *more: str) -> int:
    return run_app(["exits", "--table", str(path), "--out", str(path.parent / "out.json"), *more])


def test_arms_that_cannot_win_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(table(tmp_path / "curves.csv", 5), "--evaluations", "10") == 0
    assert set(json.loads((tmp_path / "out.json").read_text())["ended"]) == {"arm 1", "arm 2"}
    assert "after 5 of 10 evaluations of 3 arms: 2 cannot win" in capsys.readouterr().out


def test_whole_curves_are_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(table(tmp_path / "curves.csv", 10)) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["winner"] == "arm 0" and found["is_winner_kept"] and found["steps_saved"] > 0.3
    assert "of steps saved" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "more", "complaint"),
    [
        (["a,1,0.5", "b,1,0.4"], ["--loss", "x"], "no column 'x'"),
        (["a,1,0.5", "a,2,0.4"], [], "saw 1 arms"),
        (["a,1,0.5", "a,1,0.4", "b,1,0.4"], [], "saw 'a' twice"),
        (["a,1,bad", "b,1,0.4"], [], "expected an arm and numbers"),
        (["a,1,", "b,1,"], [], "saw no row with"),
        (["a,1,0.5", "a,2,0.4", "b,1,0.5", "b,2,0.4"], ["--evaluations", "1"], "no fewer evaluations"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], more: list[str], complaint: str
) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("\n".join(["arm,step,validation_loss", *lines]) + "\n")
    assert run(path, *more) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert complaint in said
