"""A judge that commits the faults of today's endpoints in turn: nothing is lost, guessed or paid twice, at any stop.

Per protocol: asked = scored + unscored (reason); the ledger's tokens are the server's invoice where usage is told, and
our marked estimate elsewhere; what is final is never asked again.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from assay.errors import LimitReached
from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.llm.endpoint import BatchLimits, EndpointSpec
from assay.llm.ledger.report import changed_versions
from assay.llm.opening import Asker, open_gateway
from assay.scoring.judges import asking
from assay.scoring.judges.calls import JudgeCall, JudgeProtocol, JudgeReply, run_protocol, to_request
from assay.scoring.judges.judgements import missing_reasons, num_parts, thinking_chars
from assay.scoring.judges.protocols.joint import JointInstance
from assay.scoring.judges.protocols.mt_bench import JudgedDialogue
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.protocols.retries import retried
from assay.stoppable import settled
from support.shipped import make_protocol

FAULTS = {
    # transport and limits (J7, J10)
    "5xx": 0.03, "429": 0.02, "reset": 0.02, "truncated": 0.02, "html": 0.02, "stream": 0.02, "inner_error": 0.03,
    "retry_info": 0.03, "finish_error": 0.02,
    # the reply itself (J1 to J4, J6)
    "thinking": 0.08, "unfinished": 0.03, "empty": 0.02, "format": 0.03, "refusal": 0.03, "filter": 0.03,
    "flagged": 0.04,
    # parameters and budgets (J5), money (J8), versions (J11)
    "max_tokens": 0.04, "temperature": 0.04, "cut": 0.03, "no_usage": 0.05, "reasoning": 0.05, "moved": 0.05,
}  # fmt: skip
EXPLAINED = {
    "refused", "filtered", "cut", "cut short", "unparsable", "ambiguous", "unfinished thinking",
    "error: empty", "error: malformed", "error: server error", "error: connection",
}  # fmt: skip
MICRO_USD = 1e-6
PER_PROTOCOL = 40
NAMES = ("ifteval", "vanilla", "cot", "mt_bench_single", "faireval", "joint")


def instance_of(name: str, number: int) -> Any:
    question = f"Name fruit {number}."
    if name == "joint":
        return JointInstance(question, {"x": "An apple.", "y": "A pear and a plum.", "z": "No."})
    if name == "mt_bench_single":
        return JudgedDialogue((question,), ("An apple and a pear.",))
    if name in ("vanilla", "cot", "faireval"):
        return PairInstance(question, "An apple and a pear.", "No.")
    return PointwiseInstance(question, "An apple and a pear.", "An apple.")


def work(names: Sequence[str] = NAMES, each: int = PER_PROTOCOL) -> list[tuple[JudgeProtocol[Any, Any], Any]]:
    return [(make_protocol(name), instance_of(name, number)) for number in range(each) for name in names]


async def judge_all(gateway: Asker, works: Sequence[tuple[JudgeProtocol[Any, Any], Any]]) -> list[Any]:
    """Judgements in order; what stops one stops all once what is in flight is stored, as on every door."""

    async def judge(protocol: JudgeProtocol[Any, Any], instance: Any) -> Any:
        async def ask(call: JudgeCall) -> JudgeReply:
            return await gateway.ask(to_request(call, protocol.name))

        return await run_protocol(protocol, instance, ask, one_leads=True)

    return await settled((judge(*item) for item in works), gateway.settle)


def spec_of(server: JudgeServer, **fields: Any) -> EndpointSpec:
    return EndpointSpec(
        base_url=server.base_url, model="m", max_concurrency=32, timeout_s=5.0, step_headers=False,
        usd_per_million_input=1.0, usd_per_million_output=1.0, **fields,
    )  # fmt: skip


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "ledger.db") as connection:
        return connection.execute(query).fetchall()


def check_money(server: JudgeServer, folder: Path) -> None:
    """The ledger is the invoice, to the token; what the server did not tell is estimated and marked."""
    with urllib.request.urlopen(server.root_url + "/assay/invoice") as response:
        bill = json.load(response)
    total = "select coalesce(sum(usd), 0), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0) "
    assert "gone" not in bill["by_status"]  # nobody hung up on a reply
    ((usd, *told),) = rows(folder, total + "from attempts where prompt_tokens is not null")
    assert told == [bill["seen"]["prompt_tokens"], bill["seen"]["completion_tokens"]]
    assert abs(usd - sum(told) * MICRO_USD) < MICRO_USD
    ((estimated, *_),) = rows(folder, total + "from attempts where prompt_tokens is null")
    unseen = bill["by_status"].get("no_usage", {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0})
    billed = (unseen["prompt_tokens"] + unseen["completion_tokens"]) * MICRO_USD
    assert 0.5 * billed <= estimated <= 2 * billed
    marked = 'select count(*) from calls where extra like \'%"usd": "estimated"%\''
    assert rows(folder, marked) == [(unseen["calls"],)]


def check_nothing_is_lost(folder: Path) -> None:
    """Every attempt has an end, every reply is kept, and none was asked for twice."""
    assert rows(folder, "select count(*) from attempts where outcome is null") == [(0,)]
    final = "outcome in ('answered', 'refused', 'filtered')"
    assert rows(folder, f"select key from attempts where {final} group by key having count(*) > 1") == []
    lost = (
        f"select count(*) from attempts where {final} and key not in (select key from calls where status != 'failed')"
    )
    assert rows(folder, lost) == [(0,)]


async def test_every_fault_in_turn_ends_as_a_score_or_a_reason_and_the_money_adds_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    works = work()
    with start_judge_server(faults=FAULTS, seed=11) as server:

        async def run() -> list[Any]:
            async with open_gateway(spec_of(server), ledger_url=url, limiter="process", budget_usd=100.0) as gateway:
                return await judge_all(gateway, works)

        first = await run()
        check_money(server, tmp_path)
        check_nothing_is_lost(tmp_path)
        sent = rows(tmp_path, "select count(*) from attempts")[0][0]
        second = await run()
        check_money(server, tmp_path)
        check_nothing_is_lost(tmp_path)
        again = rows(tmp_path, "select count(*) from attempts")[0][0] - sent

    reasons: Counter[str] = Counter()
    parts = scored = thinking = 0
    for judgement in first:
        missing = missing_reasons(judgement)
        reasons.update(missing)
        parts, scored = parts + num_parts(judgement), scored + num_parts(judgement) - len(missing)
        thinking += bool(thinking_chars(judgement))
    assert parts == scored + reasons.total() and scored > 0.8 * parts
    assert set(reasons) <= EXPLAINED
    assert {"refused", "filtered", "cut", "unfinished thinking"} <= set(reasons) and thinking > 12
    changed = [(old, new) for old, new in zip(first, second, strict=True) if old != new]
    # only what brought no reply is asked again, each at most as often as a request may be tried
    assert all(any(reason.startswith("error") for reason in missing_reasons(old)) for old, _ in changed)
    failed = sum(count for reason, count in reasons.items() if reason.startswith("error"))
    assert again <= 12 * failed
    refused = "select count(*) from attempts where http_status = 400 and outcome = 'rejected'"
    assert 2 <= rows(tmp_path, refused)[0][0] <= 2 * 32  # once per parameter, and what was in flight beside it
    assert {version.model for version in changed_versions(url, "")} == {"m", "m-next"}


@pytest.mark.parametrize("stop", ["budget", "daily quota", "cancelled"])
async def test_no_reply_is_lost_or_paid_twice_at_any_stop(tmp_path: Path, stop: str) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    works = work(("ifteval", "vanilla"), 50)
    faults = {**FAULTS, **({"quota": 0.01} if stop == "daily quota" else {})}
    stops = 0
    with start_judge_server(faults=faults, seed=5, latency_ms=20) as server:
        budget = 0.004 if stop == "budget" else None
        while True:
            assert stops < 60
            async with open_gateway(spec_of(server), ledger_url=url, limiter="process", budget_usd=budget) as gateway:
                task = asyncio.create_task(judge_all(gateway, works))
                try:
                    if stop == "cancelled" and stops < 6:
                        await asyncio.wait([task], timeout=0.3)
                        task.cancel()
                        await asyncio.gather(task, return_exceptions=True)
                        raise LimitReached("stopped by hand")
                    judgements = await task
                except LimitReached:
                    stops += 1
                    budget = None if budget is None else budget + 0.004
                    await asyncio.sleep(0)
                else:
                    break
            check_money(server, tmp_path)
            check_nothing_is_lost(tmp_path)
        check_money(server, tmp_path)
        check_nothing_is_lost(tmp_path)
    assert stops >= 3
    assert {reason for judgement in judgements for reason in missing_reasons(judgement)} <= EXPLAINED


async def test_what_could_not_be_read_is_drawn_again_and_most_of_it_is_scored_then(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    works = work(("ifteval", "vanilla"), 60)
    faults = {"unfinished": 0.1, "cut": 0.1, "format": 0.1, "empty": 0.05}
    with start_judge_server(faults=faults, seed=3) as server:
        missing = []
        for retries in (0, 2):
            async with open_gateway(spec_of(server), ledger_url=url, limiter="process") as gateway:
                drawn = [(retried(protocol, retries), instance) for protocol, instance in works]
                judgements = await judge_all(gateway, drawn)
            missing.append(sum(len(missing_reasons(judgement)) for judgement in judgements))
            check_money(server, tmp_path)
            check_nothing_is_lost(tmp_path)
    assert missing[0] > 20 and missing[1] < 0.25 * missing[0]


async def test_batches_meet_the_same_faults_under_a_queue_that_is_full(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    works = work(("ifteval", "vanilla"), 40)
    in_batches = ("5xx", "thinking", "unfinished", "empty", "format", "refusal", "filter", "max_tokens", "temperature")
    faults = {name: FAULTS[name] for name in (*in_batches, "cut", "no_usage", "reasoning", "moved")}
    with start_judge_server(faults=faults, seed=7, batch_delay_s=0.1, batch_queue_tokens=6000) as server:
        spec = spec_of(server, transport="batch", batch=BatchLimits(max_rows=50))
        async with open_gateway(spec, ledger_url=url, budget_usd=100.0) as gateway:
            judgements = await judge_all(gateway, works)
        with urllib.request.urlopen(server.base_url + "/batches?limit=100") as response:
            batches = json.load(response)["data"]
    reasons = Counter(reason for judgement in judgements for reason in missing_reasons(judgement))
    assert set(reasons) <= EXPLAINED and reasons.total() < 0.35 * sum(map(num_parts, judgements))
    assert {batch["status"] for batch in batches} == {
        "completed",
        "failed",
    }  # the queue was full, and was waited for
    assert rows(tmp_path, "select count(*) from attempts where outcome is null") == [(0,)]


async def test_newer_readers_read_stored_replies_and_ask_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with start_judge_server(faults={"thinking": 0.3, "refusal": 0.1, "filter": 0.1}, seed=2) as server:

        async def run() -> list[Any]:
            async with open_gateway(spec_of(server), ledger_url=url, limiter="process") as gateway:
                return await judge_all(gateway, work(each=5))

        first = await run()
        sent = rows(tmp_path, "select count(*) from attempts")
        before = [make_protocol(name).identity()["version"] for name in NAMES]
        monkeypatch.setattr(asking, "READERS", asking.READERS + 1)
        assert [make_protocol(name).identity()["version"] for name in NAMES] == [version + 1 for version in before]
        second = await run()
        assert rows(tmp_path, "select count(*) from attempts") == sent
    assert first == second
