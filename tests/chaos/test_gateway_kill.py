"""SIGKILL at random points: nothing that was answered is lost, and what is paid twice was in flight at the kill."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.ledger.report import summarise
from assay.llm.opening import open_gateway
from assay.llm.requests import Answer, ChatRequest, Message, Sampling

pytestmark = pytest.mark.chaos
CONCURRENCY = 16
ASKED = 400

SCRIPT = """
import asyncio, sys
sys.path.insert(0, {folder!r})
from test_gateway_kill import ask_everything
asyncio.run(ask_everything({base_url!r}, {ledger_url!r}, {asked}))
"""


def question(number: int) -> ChatRequest:
    return ChatRequest("", (Message("user", f"Rate answer {number} from 0 to 9: it is blue."),), Sampling(max_tokens=8))


def endpoint(base_url: str) -> EndpointSpec:
    return EndpointSpec(
        base_url=base_url, name="judge", model="rubric-judge", max_concurrency=CONCURRENCY, timeout_s=20.0
    )


async def ask_everything(base_url: str, ledger_url: str, asked: int, sharing: str = "process", first: int = 0) -> int:
    """How many were answered."""
    async with open_gateway(endpoint(base_url), ledger_url=ledger_url, study="s", limiter=sharing) as gateway:  # type: ignore[arg-type]
        requests = (question(first + i) for i in range(asked))
        return sum([isinstance(reply, Answer) async for _, reply in gateway.ask_many(requests)])


def stored_calls(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    connection = sqlite3.connect(path, timeout=30)
    try:
        return dict(connection.execute("select key, reply from calls where status = 'answered'"))
    except sqlite3.OperationalError:  # its tables are not made yet
        return {}
    finally:
        connection.close()


def billed_calls(server: JudgeServer) -> int:
    with urllib.request.urlopen(server.root_url + "/assay/invoice") as response:
        return int(json.load(response)["calls"])


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_driver_loses_nothing_and_pays_twice_at_most_for_what_was_in_flight(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "ledger.db"
    url = f"sqlite:///{path}"
    after = random.Random(seed).randint(20, 300)
    with start_judge_server(latency_ms=60, seed=seed) as server:
        code = SCRIPT.format(folder=str(Path(__file__).parent), base_url=server.base_url, ledger_url=url, asked=ASKED)
        victim = subprocess.Popen([sys.executable, "-c", code])
        try:
            while len(stored_calls(path)) < after and victim.poll() is None:
                time.sleep(0.02)
        finally:
            victim.send_signal(signal.SIGKILL)
            victim.wait(30)
        before = stored_calls(path)
        unseen = summarise(url).unseen
        assert len(before) >= after
        assert 0 < unseen.attempts <= CONCURRENCY
        assert asyncio.run(ask_everything(server.base_url, url, ASKED)) == ASKED
        bill = billed_calls(server)
    done = stored_calls(path)
    assert len(done) == ASKED
    assert before.items() <= done.items()
    assert bill - ASKED <= unseen.attempts, "calls paid twice"
    assert summarise(url).unseen == unseen, "still reported after the work is done"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    ray.init(
        address="local", num_cpus=2, include_dashboard=False, namespace="assay-chaos", log_to_driver=False,
        object_store_memory=200_000_000, _temp_dir=f"/tmp/ray_chaos_{os.getpid()}",
    )  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()


def process_of(actor: Any) -> int:
    """The process that an actor lives in."""
    import ray

    return int(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of the actors that this test kills
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("victim", ["worker", "limiter", "ledger"])
def test_a_killed_actor_is_replaced_and_every_question_is_answered_once(
    cluster: None, tmp_path: Path, victim: str, seed: int
) -> None:
    import ray

    from assay.cluster.ray_named import NAMESPACE
    from assay.llm.ledger.ray_ledger import ledger_name
    from assay.llm.limits.ray_limits import limiter_name

    path = tmp_path / "ledger.db"
    url = f"sqlite:///{path}"

    after = random.Random(f"{victim}/{seed}").randint(20, 600)

    @ray.remote(num_cpus=0.25, max_restarts=-1, max_task_retries=-1)
    class Worker:
        async def work(self, base_url: str, first: int) -> int:
            sys.path.insert(0, str(Path(__file__).parent))
            from test_gateway_kill import ask_everything

            return await ask_everything(base_url, url, ASKED, "ray", first)

    with start_judge_server(latency_ms=60, rpm=3000) as server:
        workers = [Worker.remote() for _ in range(3)]
        pid = process_of(workers[0])
        # neighbours share half of their questions: the ledger lends a key to one of them at a time
        work = [worker.work.remote(server.base_url, 200 * i) for i, worker in enumerate(workers)]
        while len(stored_calls(path)) < after:
            time.sleep(0.02)
        names = {"limiter": limiter_name(endpoint(server.base_url)), "ledger": ledger_name(url)}
        if victim != "worker":
            pid = process_of(ray.get_actor(names[victim], namespace=NAMESPACE))
        os.kill(pid, signal.SIGKILL)
        before = stored_calls(path)
        assert ray.get(work, timeout=240) == [ASKED] * 3
        bill = billed_calls(server)
        for name in names.values():
            ray.kill(ray.get_actor(name, namespace=NAMESPACE))
    done = stored_calls(path)
    assert len(done) == 800
    assert before.items() <= done.items()
    report = summarise(url)
    assert bill - 800 <= report.unseen.attempts + report.blind.attempts <= CONCURRENCY, "paid twice, and reported"
    if victim == "limiter":
        assert bill == 800, "permits are no part of what is asked"
