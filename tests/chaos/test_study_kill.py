"""SIGKILL of a study's driver at any point: the same command goes on, repeats nothing and ends with the same bytes."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.llm.ledger.report import summarise
from support.exits_study import exits_study
from support.tiny_study import (
    BIN,
    PATIENCE_S,
    ROOT,
    artifact_files,
    assay,
    environment,
    finished_study,
    ledger_calls,
    link_artifacts,
    run_tiny,
    settings,
    table_bytes,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(8 * PATIENCE_S)]
CONCURRENCY = 4
KEPT = ("dataset", "mixture", "adapter", "predictions", "scores", "decision")
"""Kinds of artifacts that stay; checkpoints go."""
Reached = Callable[[Path, str], bool]


def stored(storage: Path, kind: str) -> int:
    return len(list((storage / "artifacts" / kind).glob("*/manifest.json")))


def run_and_kill(storage: Path, changes: Mapping[str, str], reached: Reached, file: str | None = None) -> str:
    """Start the study, SIGKILL its driver alone once `reached(storage, what it said)`; what it said until then.

    It is the tiny one with these changes, or that of `file`.
    """
    asked = ["quickstart", *settings(changes)] if file is None else [file]
    command = [str(BIN / "assay"), "run", *asked, "--storage", str(storage)]
    with tempfile.TemporaryFile("w+") as said:
        driver = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=said)
        try:
            until = time.monotonic() + PATIENCE_S
            while not reached(storage, _read(said.fileno())):
                assert driver.poll() is None, f"ended before the point was reached: {_read(said.fileno())}"
                assert time.monotonic() < until, _read(said.fileno())
                time.sleep(0.01)
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait(60)
        return _read(said.fileno())


def _read(descriptor: int) -> str:
    return Path(f"/proc/self/fd/{descriptor}").read_text()


def attempts_by_key(storage: Path) -> Counter[str]:
    """Requests that were sent, by the key of their call."""
    connection = sqlite3.connect(f"file:{storage / 'ledger.db'}?mode=ro", uri=True, timeout=60)
    try:
        return Counter(key for (key,) in connection.execute("select key from attempts"))
    finally:
        connection.close()


def assert_unchanged(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> None:
    """Nothing that was finished was written again."""
    assert {name: after.get(name) for name in before} == dict(before)


def test_a_study_killed_while_it_scores_asks_no_answered_question_again(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = finished_study(tmp_path_factory.getbasetemp())
    link_artifacts(undisturbed, tmp_path, ["dataset", "base", "mixture", "adapter", "predictions"])
    slowly = {"judge.max_concurrency": "1", "judge.requests_per_min": "600"}  # no part of what the study is
    run_and_kill(tmp_path, slowly, lambda storage, _: len(ledger_calls(storage)) >= 10)
    paid, asked, files = ledger_calls(tmp_path), attempts_by_key(tmp_path), artifact_files(tmp_path)
    assert len(paid) < len(ledger_calls(undisturbed)), "killed too late to show anything"

    ended = run_tiny(tmp_path)
    assert ended.code == 0, ended.err
    calls, attempts = ledger_calls(tmp_path), attempts_by_key(tmp_path)
    assert paid.items() <= calls.items()
    assert {key: attempts[key] for key in paid} == {key: asked[key] for key in paid}
    assert set(calls) <= set(ledger_calls(undisturbed))
    assert_unchanged(files, artifact_files(tmp_path))
    assert table_bytes(tmp_path) == table_bytes(undisturbed)


def tables_begun(storage: Path, _: str) -> bool:
    return (storage / "studies" / "tiny" / "tables").exists()


POINTS: tuple[tuple[str, Reached], ...] = (
    ("the base is pre-trained", lambda storage, said: "base: 60 steps" in said),
    ("the first adapter is there", lambda storage, said: stored(storage, "adapter") >= 1),
    ("all adapters are there", lambda storage, said: stored(storage, "adapter") == 6),
    ("the first answers are there", lambda storage, said: stored(storage, "predictions") >= 1),
    ("the first judge replies are there", lambda storage, said: len(ledger_calls(storage)) >= 5),
    ("half of the judge replies are there", lambda storage, said: len(ledger_calls(storage)) >= 40),
    ("tables are being written", tables_begun),
)


def billed(server: JudgeServer) -> int:
    with urllib.request.urlopen(server.root_url + "/assay/invoice") as response:
        return int(json.load(response)["calls"])


@pytest.mark.study
def test_a_study_killed_at_every_stage_repeats_nothing_and_ends_with_the_same_tables(tmp_path: Path) -> None:
    """One study, killed seven times, against one that was left alone; both ask a judge that answers slowly."""
    with start_judge_server(latency_ms=150) as server:
        changes = {
            "judge.base_url": server.base_url,
            "judge.endpoint": "slow-judge",
            "judge.max_concurrency": str(CONCURRENCY),
        }
        killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
        for what, reached in POINTS:
            files, paid = artifact_files(killed), ledger_calls(killed)
            run_and_kill(killed, changes, reached)
            assert_unchanged(files, artifact_files(killed))
            assert paid.items() <= ledger_calls(killed).items(), what
            assert not (killed / "studies" / "tiny" / "done.json").exists(), what
        files, paid = artifact_files(killed), ledger_calls(killed)
        ended = run_tiny(killed, changes=changes)
        assert ended.code == 0, ended.err
        assert_unchanged(files, artifact_files(killed))
        calls, bill = ledger_calls(killed), billed(server)
        assert paid.items() <= calls.items()
        unseen = summarise(f"sqlite:///{killed}/ledger.db").unseen.attempts
        assert unseen <= 2 * CONCURRENCY, "two of the kills met the judge at work"
        assert 0 <= bill - len(calls) <= unseen, "a call that was answered was paid again"

        ended = run_tiny(undisturbed, changes=changes)
        assert ended.code == 0, ended.err
        assert set(ledger_calls(undisturbed)) == set(calls)
    assert table_bytes(killed) == table_bytes(undisturbed)


IN_ROUNDS = {
    "grid.draws": "3",
    "training_seeds_at_zero": "[0, 1, 2]",
    "decide": "{scorer: heuristic, spend: {rounds: [2, 3], items: [6, 12]}}",
}
"""No margin, so both rounds are wanted; the second adds draws and items."""


def decision_bytes(storage: Path) -> dict[str, bytes]:
    """The record that the study shows, and each round's artifact."""
    files = [storage / "studies/tiny/side/decisions.json", *(storage / "artifacts/decision").glob("*/decision.json")]
    return {str(path.relative_to(storage)): path.read_bytes() for path in files}


@pytest.mark.study
def test_a_study_in_rounds_killed_inside_and_between_them_comes_to_the_same_decisions(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    ended = run_tiny(undisturbed, changes=IN_ROUNDS)
    assert ended.code == 0, ended.err
    assert stored(undisturbed, "decision") == 2

    link_artifacts(undisturbed, killed, ["dataset", "base", "lengths"])
    points: tuple[tuple[Reached, int], ...] = (
        (lambda storage, _: stored(storage, "adapter") >= 3, 0),
        (lambda storage, _: stored(storage, "decision") >= 1, 1),
    )
    files: dict[str, tuple[int, int]] = {}
    for reached, decided in points:
        run_and_kill(killed, IN_ROUNDS, reached)
        assert stored(killed, "decision") == decided, "killed too late to show anything"
        assert stored(killed, "adapter") < stored(undisturbed, "adapter")
        assert_unchanged(files, artifact_files(killed))
        files = artifact_files(killed)
    ended = run_tiny(killed, changes=IN_ROUNDS)
    assert ended.code == 0, ended.err
    assert_unchanged(files, artifact_files(killed))
    assert decision_bytes(killed) == decision_bytes(undisturbed)
    assert table_bytes(killed) == table_bytes(undisturbed)
    assert set(ledger_calls(killed)) == set(ledger_calls(undisturbed))


@pytest.mark.study
def test_a_study_killed_before_and_after_a_barrier_ends_the_same_trainings(tmp_path: Path) -> None:
    undisturbed, killed, file = tmp_path / "undisturbed", tmp_path / "killed", exits_study(tmp_path)
    ended = assay("run", file, "--storage", str(undisturbed))
    assert ended.code == 0, ended.err
    assert stored(undisturbed, "decision") == 2

    points: tuple[tuple[Reached, int], ...] = (
        (lambda storage, _: stored(storage, "adapter") >= 3, 0),
        (lambda storage, _: stored(storage, "decision") >= 1, 1),
        (lambda storage, _: stored(storage, "decision") == 2 and stored(storage, "adapter") >= 17, 2),
    )
    """Eight trainings are held at the first barrier; those that go on, at the second."""
    files: dict[str, tuple[int, int]] = {}
    for reached, decided in points:
        run_and_kill(killed, {}, reached, file)
        assert stored(killed, "decision") == decided, "killed too late to show anything"
        assert_unchanged(files, artifact_files(killed, KEPT))
        files = artifact_files(killed, KEPT)
    ended = assay("run", file, "--storage", str(killed))
    assert ended.code == 0, ended.err
    assert_unchanged(files, artifact_files(killed, KEPT))
    records = [(storage / "studies/ends/side/exits.json").read_bytes() for storage in (killed, undisturbed)]
    assert records[0] == records[1]
    assert table_bytes(killed, "ends") == table_bytes(undisturbed, "ends")
