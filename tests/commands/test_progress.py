"""What a person is told while a study runs."""

from __future__ import annotations

import re

import pytest

from assay.commands import progress
from assay.commands.progress import LineProgress


def test_an_engines_start_is_no_part_of_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines = LineProgress()
    lines.start("generation", 1000, unit="rows")
    now[0] = 100.0  # the engine starts
    lines.advance("generation", 10)
    now[0] = 110.0
    lines.advance("generation", 90)  # 9 rows a second
    first, second = capsys.readouterr().err.splitlines()[1:]
    assert "left" not in first
    assert re.search(r"about 100 s left$", second)
