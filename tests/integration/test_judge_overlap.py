"""The judge of a wave and the training of the next one on a Ray of four CPUs: none waits for the other.

The judge's server holds its replies until a training of the next wave has ended, so a study whose trainings wait for
the judge comes to no end; on three CPUs they do, and nothing is held.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from assay.judge_server.launch import start_judge_server
from support.tiny_study import (
    BIN,
    PATIENCE_S,
    ROOT,
    Finished,
    environment,
    ledger_calls,
    link_artifacts,
    settings,
    table_bytes,
)

pytestmark = pytest.mark.timeout(4 * PATIENCE_S)
WAVE = 3
"""Of six trainings."""


class Gate:
    """Requests wait at it until it is open; those of one that was shut for good are never answered."""

    def __init__(self) -> None:
        self.is_reached, self.is_over = threading.Event(), threading.Event()
        self.is_shut = False

    def open(self) -> None:
        self.is_over.set()

    def shut(self) -> None:
        self.is_shut = True
        self.is_over.set()


class HeldJudge(ThreadingHTTPServer):
    """Hands requests on to a judge, once they are through the gate."""

    daemon_threads = True

    def __init__(self, judge: str) -> None:
        super().__init__(("127.0.0.1", 0), _Holding)
        self.judge = judge
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.gate = Gate()
        self.gate.open()
        self.answered: Counter[bytes] = Counter()
        """Requests by their body."""


class _Holding(BaseHTTPRequestHandler):
    server: HeldJudge

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        gate = self.server.gate
        gate.is_reached.set()
        if not gate.is_over.wait(PATIENCE_S) or gate.is_shut:
            return
        kept = {name: self.headers[name] for name in self.headers if name.lower().startswith(("x-assay", "content-t"))}
        with urllib.request.urlopen(urllib.request.Request(self.server.judge + self.path, body, kept)) as reply:
            told = reply.read()
        self.server.answered[body] += 1
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def judge() -> Iterator[HeldJudge]:
    with start_judge_server() as behind, HeldJudge(behind.root_url) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Run:
    """The tiny study in two waves, as a process whose events are read while it goes on."""

    def __init__(self, storage: Path, judge: HeldJudge, cpus: int, *further: str) -> None:
        changes = {
            "judge.base_url": judge.url,
            "judge.model": "rubric",
            "judge.endpoint": "held",
            "judge.timeout_s": str(PATIENCE_S),
            "judge.give_up_s": str(PATIENCE_S),
            "judge.usd_per_million_input": "1000",
            "judge.usd_per_million_output": "1000",
            "judge.max_concurrency": "4",
            "resources.num_cpus": str(cpus),
            "resources.wave_size": str(WAVE),
            # of four CPUs two trials take all; beside a judge there is room for one
            "resources.training": "{cpus_per_worker: 2, threads: 1}",
            "error_rows": "0",
        }
        self._log = storage.with_suffix(f".{time.time_ns()}.jsonl")
        command = [str(BIN / "assay"), "run", "quickstart", "--storage", str(storage), "--log-json", str(self._log)]
        self.process = subprocess.Popen(
            [*command, *settings(changes), *further],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def events(self, stage: str = "") -> list[dict[str, Any]]:
        """What it has said so far: starts and ends, and trainings; no figures in between."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in found if event["event"] != "progress" and stage in ("", event["stage"])]

    def count(self, event: str) -> int:
        """Events of this name among those of trainings."""
        return sum(one["event"] == event for one in self.events("training"))

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Until something has happened; fails where the process ends before, or nothing comes of it."""
        until = time.monotonic() + PATIENCE_S
        while not happened():
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert time.monotonic() < until, self.events()
            time.sleep(0.1)

    def end(self) -> Finished:
        """Its end."""
        _, error = self.process.communicate(timeout=PATIENCE_S)
        return Finished(self.process.returncode, "", error)


@pytest.fixture(scope="module")
def in_turn(judge: HeldJudge, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """The study on three CPUs."""
    storage = tmp_path_factory.mktemp("overlap") / "three"
    run = Run(storage, judge, 3)
    ended = run.end()
    assert ended.code == 0, ended.err
    return storage, run


def begun(storage: Path, like: Path) -> Path:
    """Storage that has what precedes trainings."""
    (storage / "artifacts").mkdir(parents=True)
    link_artifacts(like, storage, ["dataset", "base", "lengths", "mixture"])
    return storage


def names(storage: Path, kind: str) -> set[str]:
    return {path.name for path in (storage / "artifacts" / kind).iterdir()}


def test_on_three_cpus_a_wave_is_judged_before_the_next_one_trains(in_turn: tuple[Path, Run]) -> None:
    stages = [(event["stage"], event["event"]) for event in in_turn[1].events()]
    told = [said for said in stages if said[0] in ("training", "scoring") and said[1] in ("start", "finish")]
    wave = [("training", "start"), ("training", "finish"), ("scoring", "start"), ("scoring", "finish")]
    assert told == wave * 2


def test_on_four_cpus_none_waits_for_the_other(in_turn: tuple[Path, Run], judge: HeldJudge, tmp_path: Path) -> None:
    storage = begun(tmp_path / "four", in_turn[0])
    judge.gate = gate = Gate()
    run = Run(storage, judge, 4)
    try:
        run.wait_for(lambda: run.count("trained") > WAVE)
        assert gate.is_reached.is_set(), "the judge waited for the training"
        asked_beside = run.events("scoring")
        gate.open()
        ended = run.end()
    finally:
        gate.open()
        run.process.kill()
    assert ended.code == 0, ended.err
    # the local scorers of the first wave were done; its judge had begun, and had no reply yet
    assert [one["event"] for one in asked_beside if one["event"] != "written"] == ["start", "finish", "start"]
    assert "judge" not in {one.get("scorer") for one in asked_beside}
    costs = json.loads((storage / "studies" / "tiny" / "side" / "costs.json").read_text())
    notes = {row["stage"]: row["what"] for row in costs["stages"]}
    assert "3 trainings on 2 slots" in notes["train"] and "3 trainings on 1 slots" in notes["train"]
    assert "judged while the next wave trained" in notes["score"]
    assert table_bytes(storage) == table_bytes(in_turn[0])
    for kind in ("adapter", "predictions", "scores"):
        assert names(storage, kind) == names(in_turn[0], kind)


@pytest.mark.study
def test_budgets_and_signals_end_both_at_once_and_nothing_is_paid_twice(
    in_turn: tuple[Path, Run], judge: HeldJudge, tmp_path: Path
) -> None:
    storage = begun(tmp_path / "ended", in_turn[0])
    judge.gate = Gate()
    judge.gate.open()
    judge.answered.clear()
    spent = Run(storage, judge, 4, "--max-usd", "1")
    ended = spent.end()
    assert ended.code == 3, ended.err
    assert "of --max-usd 1;" in ended.one_line()
    assert spent.count("start") == 2 and spent.count("trained") < 2 * WAVE
    assert 0 < len(ledger_calls(storage)) == judge.answered.total()

    judge.gate = gate = Gate()
    run = Run(storage, judge, 4)
    try:
        run.wait_for(lambda: gate.is_reached.is_set() and run.count("start") == 1)
        run.process.send_signal(signal.SIGTERM)
        stopped = run.end()
    finally:
        run.process.kill()
    assert stopped.code == 3 and "stopped by SIGTERM" in stopped.one_line()
    assert run.events()[-1]["event"] == "stopped"  # it let go, and did not have to be left where it stood
    judge.gate = Gate()
    judge.gate.open()
    gate.shut()

    whole = Run(storage, judge, 4).end()
    assert whole.code == 0, whole.err
    assert judge.answered.total() == len(ledger_calls(storage))
    assert table_bytes(storage) == table_bytes(in_turn[0])
