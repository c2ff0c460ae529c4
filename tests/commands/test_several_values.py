"""Several values after one flag are as many repetitions of the flag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.commands.several_values import repeated


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--strategy vanilla cot --mode compat", "--strategy vanilla --strategy cot --mode compat"),
        ("--strategy=vanilla cot", "--strategy=vanilla --strategy cot"),
        ("--strategy vanilla --strategy cot", "--strategy vanilla --strategy cot"),
        ("--mode compat strict", "--mode compat strict"),
        ("--data a b --strategy x y --judge j", "--data a --data b --strategy x --strategy y --judge j"),
        ("--strategy", "--strategy"),
    ],
)
def test_a_flag_is_said_again_before_each_further_value(typed: str, meant: str) -> None:
    assert repeated(typed.split(), {"--strategy", "--data"}) == meant.split()


def test_strategies_and_files_may_follow_one_flag(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / "One.json", tmp_path / "Two.json"]
    for file in files:
        file.write_text(json.dumps([{"input": "Say 1.", "output_1": "1", "output_2": "No.", "label": 1}]))
    flags = ["metaeval", "llmbar", "--data", *map(str, files), "--judge", "m", "--base-url", "http://127.0.0.1:9/v1"]
    flags += ["--out", str(tmp_path / "r.json"), "--storage", str(tmp_path / "store"), "--tracking", "none"]
    assert run_app([*flags, "--strategy", "vanilla", "nonsense"]) == 2
    assert "nonsense" in capfd.readouterr().err  # read as a strategy, not as an argument
    assert run_app([*flags, "--strategy", "vanilla", "cot"]) == 2
    assert "nothing answers" in capfd.readouterr().err
