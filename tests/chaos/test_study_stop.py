"""SIGTERM and Ctrl-C at any stage of a whole study: out within 30 s with exit code 3, and the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.tiny_study import (
    BIN,
    PATIENCE_S,
    ROOT,
    environment,
    finished_study,
    ledger_calls,
    link_artifacts,
    run_tiny,
    settings,
    table_bytes,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(6 * PATIENCE_S)]
STOP_S = 30.0


def stored(storage: Path, kind: str) -> int:
    return len(list((storage / "artifacts" / kind).glob("*/manifest.json")))


POINTS: tuple[tuple[str, signal.Signals, Callable[[Path, str], bool]], ...] = (
    ("the base is trained", signal.SIGTERM, lambda storage, said: "base:" in said),
    ("Tune starts", signal.SIGTERM, lambda storage, said: "training:" in said),
    ("trainings run", signal.SIGINT, lambda storage, said: stored(storage, "adapter") >= 1),
    ("answers are written", signal.SIGTERM, lambda storage, said: stored(storage, "predictions") >= 1),
    ("the judge is asked", signal.SIGTERM, lambda storage, said: len(ledger_calls(storage)) >= 5),
)


def stopped_as_told(storage: Path, what: str, number: signal.Signals, reached: Callable[[Path, str], bool]) -> None:
    """Stop the study once `reached`: code 3, in time, with a line that says how to go on."""
    code, seconds, said = stop_at(storage, number, reached)
    last = said.rstrip().splitlines()[-1]
    assert code == 3, (what, said)
    assert last.startswith(f"assay: stopped by {number.name}"), (what, said)
    assert last.endswith("the same command continues from here"), (what, said)
    assert "Traceback" not in said, (what, said)
    assert seconds < STOP_S, what
    print(f"{what}: {number.name}, out after {seconds:.1f} s")


def stop_at(storage: Path, number: signal.Signals, reached: Callable[[Path, str], bool]) -> tuple[int, float, str]:
    """Exit code, seconds from the signal to the end, and what was said."""
    slowly = {"judge.max_concurrency": "1", "judge.requests_per_min": "600"}
    command = [str(BIN / "assay"), "run", "quickstart", "--storage", str(storage), *settings(slowly)]
    with tempfile.TemporaryFile("w+") as said:
        driver = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=said)
        path = Path(f"/proc/self/fd/{said.fileno()}")
        try:
            until = time.monotonic() + PATIENCE_S
            while not reached(storage, path.read_text()):
                assert driver.poll() is None, f"ended before the point was reached: {path.read_text()}"
                assert time.monotonic() < until, path.read_text()
                time.sleep(0.02)
            sent = time.monotonic()
            driver.send_signal(number)
            code = driver.wait(4 * STOP_S)
            return code, time.monotonic() - sent, path.read_text()
        finally:
            driver.kill()
            driver.wait(60)


@pytest.mark.slow
def test_a_study_stopped_while_it_asks_the_judge_goes_on_where_it_was(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = finished_study(tmp_path_factory.getbasetemp())
    link_artifacts(undisturbed, tmp_path, ["dataset", "base", "lengths", "mixture", "adapter", "predictions"])
    stopped_as_told(tmp_path, *POINTS[-1])
    assert run_tiny(tmp_path).code == 0
    assert table_bytes(tmp_path) == table_bytes(undisturbed)


@pytest.mark.study
def test_a_study_stopped_at_any_stage_goes_on_where_it_was(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for point in POINTS:
        stopped_as_told(tmp_path, *point)
    ended = run_tiny(tmp_path)
    assert ended.code == 0, ended.err
    assert table_bytes(tmp_path) == table_bytes(finished_study(tmp_path_factory.getbasetemp()))
