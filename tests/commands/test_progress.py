"""What a person is told while a study runs."""

from __future__ import annotations

import re

import pytest

from assay.commands import progress
from assay.commands.progress import LineProgress


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day, in seconds, to be set."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_an_engines_start_is_no_part_of_the_time_that_is_left(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = LineProgress()
    lines.start("generation", 1000, unit="rows")
    now[0] = 100.0  # the engine starts
    lines.advance("generation", 10)
    now[0] = 110.0
    lines.advance("generation", 90)  # 9 rows a second
    first, second = capsys.readouterr().err.splitlines()[1:]
    assert "left" not in first
    assert re.search(r"about 100 s left$", second)


def test_a_line_that_says_nothing_new_comes_every_half_minute(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = LineProgress()
    lines.start("judging", 100, unit="rows")
    for second in range(5, 66, 5):
        now[0] = second
        lines.advance("judging", 0, waiting_for="1 replies under way")
    now[0] = 70.0
    lines.advance("judging", 1, waiting_for=None)
    told = [line.partition("(")[2] for line in capsys.readouterr().err.splitlines()[1:]]
    same = "0 %)  waiting for 1 replies under way"
    assert told == [same, same, same, "1 %)"]  # after 5, 35 and 65 seconds: every fifth second before
