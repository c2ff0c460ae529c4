"""A judge that commits the faults of today's endpoints in turn: nothing is lost, guessed or paid twice."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import urllib.request
from collections import Counter
from pathlib import Path

from assay.judge_server.launch import start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.gateway import open_gateway
from assay.scoring.judges.calls import JudgeCall, JudgeReply, run_protocol, to_request
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.protocols.pointwise import IftevalJudge, PointwiseInstance

FAULTS = {
    "5xx": 0.03, "429": 0.03, "reset": 0.02, "truncated": 0.02, "empty": 0.02, "format": 0.03, "refusal": 0.03,
    "filter": 0.03, "flagged": 0.05, "inner_error": 0.05, "html": 0.03, "cut": 0.05, "no_usage": 0.05,
    "max_tokens": 0.05, "temperature": 0.05,
}  # fmt: skip
ASKED = 300
MICRO_USD = 1e-6


async def test_every_fault_in_turn_ends_as_a_score_or_a_reason_and_the_money_adds_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    protocol = IftevalJudge(max_reasks=1)
    with start_judge_server(faults=FAULTS, seed=11) as server:
        spec = EndpointSpec(
            base_url=server.base_url, model="m", max_concurrency=32, timeout_s=5.0,
            usd_per_million_input=1.0, usd_per_million_output=1.0,
        )  # fmt: skip

        async def run() -> list[PointwiseJudgement]:
            async with open_gateway(spec, ledger_url=url, limiter="process", budget_usd=100.0) as gateway:

                async def ask(call: JudgeCall) -> JudgeReply:
                    return await gateway.ask(to_request(call, protocol.name))

                async def judge(number: int) -> PointwiseJudgement:
                    instance = PointwiseInstance(f"Name fruit {number}.", "An apple and a pear.", "An apple.")
                    return await run_protocol(protocol, instance, ask)

                return await asyncio.gather(*(judge(number) for number in range(ASKED)))

        first = await run()
        bill = _invoice(server.root_url)
        second = await run()
        after = _invoice(server.root_url)

    reasons = Counter(judgement.status for judgement in first if judgement.score is None)
    assert sum(judgement.score is not None for judgement in first) + sum(reasons.values()) == ASKED
    assert set(reasons) <= {"refused", "filtered", "cut", "unparsable", "error: empty", "error: malformed"}
    assert reasons["filtered"] and reasons["cut"]
    # all that is final is never asked again
    finals = {"refused", "filtered", "cut", "unparsable"}
    again = [old.status for old, new in zip(first, second, strict=True) if old.status in finals and new != old]
    assert len(first) == len(second) and not again
    failed = sum(count for name, count in reasons.items() if name.startswith("error"))
    assert after["requests"] - bill["requests"] <= 6 * failed

    connection = sqlite3.connect(tmp_path / "ledger.db")
    query = "select coalesce(sum(usd), 0), sum(prompt_tokens), sum(completion_tokens) from attempts where {}"
    usd, *told = connection.execute(query.format("prompt_tokens is not null")).fetchone()
    estimated, *_ = connection.execute(query.format("prompt_tokens is null")).fetchone()
    marked = connection.execute('select count(*) from calls where extra like \'%"usd": "estimated"%\'').fetchone()[0]
    open_attempts = connection.execute("select count(*) from attempts where outcome is null").fetchone()[0]
    connection.close()
    assert told == [after["seen"]["prompt_tokens"], after["seen"]["completion_tokens"]]
    assert abs(usd - sum(told) * MICRO_USD) < MICRO_USD
    unseen = after["by_status"]["no_usage"]
    billed = (unseen["prompt_tokens"] + unseen["completion_tokens"]) * MICRO_USD
    assert marked == unseen["calls"] and 0.5 * billed < estimated < 2 * billed
    assert open_attempts == 0


def _invoice(root: str) -> dict:  # type: ignore[type-arg]
    with urllib.request.urlopen(root + "/assay/invoice") as response:
        return json.load(response)  # type: ignore[no-any-return]
