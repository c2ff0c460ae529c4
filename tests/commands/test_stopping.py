"""Stopping: the first signal is a limit, the second the end, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.cli import run_app
from assay.commands import stopping
from assay.commands.stopping import clean_stop
from assay.errors import LimitReached
from assay.judge_server import start_judge_server
from assay.stoppable import run_stoppable


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_limit_whatever_catches_exceptions_on_the_way(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(LimitReached, match=f"stopped by {number.name}.*the same command continues"), clean_stop():
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        except Exception:
            pytest.fail("taken for a failure")
    assert signal.getsignal(number) is before


def test_what_a_library_raises_because_of_the_signal_is_the_stop_too() -> None:
    with pytest.raises(LimitReached), clean_stop():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            raise RuntimeError("actor died while shutting down")


def test_a_signal_that_lands_in_a_callback_of_an_event_loop_stops_its_work_all_the_same() -> None:
    closed = []

    async def work() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)  # as the commit of what has come
            closed.append(True)

    with pytest.raises(LimitReached), clean_stop():
        run_stoppable(work())
    assert closed == [True]


def test_a_process_that_let_go_and_lives_on_is_not_ended() -> None:
    code = (
        "import os, signal, time; from assay.commands import stopping; from assay.errors import LimitReached\n"
        "stopping.PATIENCE_S = 0.2\n"
        "try:\n"
        "    with stopping.clean_stop(): os.kill(os.getpid(), signal.SIGTERM); time.sleep(10)\n"
        "except LimitReached: time.sleep(1); print('alive')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "alive\n")


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), clean_stop():
        raise ZeroDivisionError


def run_stubborn(patience_s: float, *signals: int) -> tuple[int, str, float]:
    """A process that does not let go: its clean-up hangs."""
    code = (
        "import time; from assay.commands import stopping\n"
        f"stopping.PATIENCE_S = {patience_s}\n"
        "with stopping.clean_stop():\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleaning', flush=True); time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        started = 0.0
        for number, line in zip(signals, ("ready\n", "cleaning\n"), strict=False):
            assert process.stdout.readline() == line
            started = time.monotonic()
            process.send_signal(number)
        code_ = process.wait(50)
        return code_, process.stderr.read(), time.monotonic() - started


def test_a_clean_up_that_hangs_is_cut_short() -> None:
    code, said, seconds = run_stubborn(0.5, signal.SIGTERM)
    assert (code, seconds < 20) == (3, True)
    assert "the same command continues" in said


def test_a_second_signal_ends_at_once() -> None:
    code, said, seconds = run_stubborn(60.0, signal.SIGINT, signal.SIGINT)
    assert (code, seconds < 20) == (3, True)
    assert "stopped by SIGINT" in said


def test_the_patience_leaves_room_in_half_a_minute() -> None:
    assert stopping.PATIENCE_S <= 25


def test_a_judging_command_that_is_stopped_keeps_its_replies_and_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "Mine.json"
    rows = [{"input": f"Say {n}.", "output_1": f"It is {n}.", "output_2": "No.", "label": 1} for n in range(40)]
    data.write_text(json.dumps(rows))
    with start_judge_server(rpm=600, burst_s=1) as server:
        flags = ["metaeval", "llmbar", "--data", str(data), "--judge", "rubric", "--base-url", server.base_url]
        flags += ["--rpm", "120", "--storage", str(tmp_path), "--tracking", "none", "--out", str(tmp_path / "r.json")]
        code = f"import sys; from assay.cli import run_app; sys.exit(run_app({flags!r}))"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **pipes) as process:
            assert process.stderr is not None
            while re.search(r"calls [1-9]", line := process.stderr.readline()) is None:
                assert line, "ended by itself"
            process.send_signal(signal.SIGTERM)
            said = process.stderr.read()
            assert process.wait(50) == 3, said
        assert "assay: stopped by SIGTERM" in said and "Traceback" not in said
        flags[flags.index("--rpm") + 1] = "6000"
        assert run_app(flags) == 0
    assert json.loads((tmp_path / "r.json").read_text())["calls"]["from_ledger"] > 0
