"""Parsers of judges' replies: whatever the text, a value in range or none, in bounded time, and never an exception."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings

from support.hostile import REPLIES, TEXTS
from support.parsers import PARSERS

PATIENCE_S = 5.0
FUZZ_S = 60


@pytest.mark.parametrize("name", PARSERS)
@given(text=REPLIES)
@settings(max_examples=30)
def test_any_reply_gives_a_value_in_range_or_none(name: str, text: str) -> None:
    parse, allowed = PARSERS[name]
    value = parse(text)
    assert allowed(value), value


@pytest.mark.parametrize("name", PARSERS)
def test_an_attack_costs_no_more_than_a_moment(name: str) -> None:
    parse, allowed = PARSERS[name]
    for text in TEXTS:
        started = time.process_time()
        value = parse(text)
        assert allowed(value), (text[:40], value)
        assert time.process_time() - started < PATIENCE_S, text[:40]


@pytest.mark.slow
def test_coverage_guided_fuzzing_finds_nothing(tmp_path: Path) -> None:
    """Atheris drives all parsers for a minute in a process of its own; a crash leaves its input and fails."""
    pytest.importorskip("atheris", reason="atheris is not installed")
    script = Path(__file__).with_name("fuzz_parsers.py")
    run = subprocess.run(
        [sys.executable, str(script), f"-max_total_time={FUZZ_S}", f"-artifact_prefix={tmp_path}/", "-max_len=4096"],
        capture_output=True,
        text=True,
        check=False,
        timeout=FUZZ_S * 10,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "Done" in run.stderr, run.stderr[-3000:]
