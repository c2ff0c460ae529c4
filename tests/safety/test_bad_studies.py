"""Studies that ask for what is not there: one line that says what, exit 2, and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from assay.cli import run_app

LABEL = {"answer": {"format": "label", "labels": ["a", "b"]}}
MIXTURE = {"design": "mixture", "components": {"instructions": {}, "toy_sentiment": {}}, "total": 20}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"grid": {**MIXTURE, "components": {"nothing": {}}}}, "nothing"),
        ({"grid": {**MIXTURE, "points": [{"name": "p", "chat": 1}]}}, "points: saw 'chat'"),
        ({"grid": {**MIXTURE, "points": [{"name": "p", "toy_sentiment": -1}]}}, "expected weights of at least 0"),
        ({"grid": {"design": "weights", "tasks": ["toy_sentiment"], "total": 9, "points": [{"x": 1}]}}, "saw 'x'"),
        ({"grid": MIXTURE, "evaluation": {"sets": {"nothing": {"rows": 3}}}}, "nothing"),
        ({"grid": {"tasks": ["nothing"], "sizes": [0]}}, "nothing"),
        ({"tasks": {"../x": LABEL}}, "saw the name '../x'"),
        ({"tasks": {"t": {"answer": {"format": "label", "labels": ["a"]}}}}, "expected two or more"),
        ({"tasks": {"t": {**LABEL, "correct_if": 'regex("(a+)+$")'}}}, "repeats inside repeats"),
        ({"tasks": {"t": {**LABEL, "heuristic": "no_such"}}}, "tasks.t.heuristic: saw 'no_such'"),
        ({"tasks": {"toy_sentiment": {"criteria": "Good."}}, "scorers": ["heuristic"],
          "statistics": {"human": "heuristic"}}, "criteria are for the scorer judge"),
        ({"plugins": ["../parts"]}, "a path is none"),
        ({"plugins": ["no_such_parts"]}, "neither in"),
        ({"scorers": ["truth", "no_such"]}, "scorer: saw 'no_such'"),
        ({"judge": {"protocol": "no_such"}}, "judge.protocol: saw 'no_such'"),
        ({"judge": {"protocol": "mine", "prompt": "../x.txt"}}, "judge.prompt: saw '../x.txt'"),
    ],
)  # fmt: skip
def test_bad_studies_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], said: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({"extends": "quickstart", "name": "bad", **fields}))
    for command in (["plan", str(path)], ["run", str(path), "--storage", str(tmp_path / "store")]):
        assert run_app(command) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert said in lines[0]
    assert not list(tmp_path.rglob("*.parquet"))
    assert not list(tmp_path.rglob("study.json"))
