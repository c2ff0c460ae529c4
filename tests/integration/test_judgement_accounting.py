"""Every judgement that was asked for ends as a score or as a reason, and the ledger's tokens are the server's."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from assay.judge_server.launch import start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.opening import open_gateway
from assay.scoring.judges.calls import JudgeCall, JudgeReply, run_protocol, to_request
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.protocols.pointwise import IftevalJudge, PointwiseInstance

# 20 % of all calls; every tenth fault is one that is billed and never answered
FAULTS = {
    "5xx": 0.03, "429": 0.02, "hang": 0.002, "reset": 0.018, "truncated": 0.02, "empty": 0.02, "format": 0.05,
    "refusal": 0.02, "filter": 0.02,
}  # fmt: skip
WORKERS = 64


@pytest.mark.parametrize("asked", [400, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("structured", [False, True])
async def test_every_judgement_is_a_score_or_a_reason_and_every_token_is_booked(
    tmp_path: Path, asked: int, structured: bool
) -> None:
    protocol = IftevalJudge(structured=structured, max_reasks=1)
    found: list[PointwiseJudgement | None] = [None] * asked
    source = iter(range(asked))
    with start_judge_server(faults=FAULTS, seed=5) as server:
        spec = EndpointSpec(base_url=server.base_url, model="m", max_concurrency=WORKERS, timeout_s=3.0)
        url = f"sqlite:///{tmp_path}/ledger.db"
        async with open_gateway(spec, ledger_url=url, limiter="process") as gateway:

            async def ask(call: JudgeCall) -> JudgeReply:
                return await gateway.ask(to_request(call, protocol.name))

            async def judge() -> None:
                for number in source:
                    instance = PointwiseInstance(f"Name fruit {number}.", "An apple and a pear.", "An apple.")
                    found[number] = await run_protocol(protocol, instance, ask)

            await asyncio.gather(*(judge() for _ in range(WORKERS)))
        with urllib.request.urlopen(server.root_url + "/assay/invoice") as response:
            bill = json.load(response)

    judgements = [judgement for judgement in found if judgement is not None]
    assert len(judgements) == asked
    scored = [judgement for judgement in judgements if judgement.score is not None]
    reasons = Counter(judgement.status for judgement in judgements if judgement.score is None)
    assert len(scored) + sum(reasons.values()) == asked
    assert all(judgement.status == "ok" and 0 <= (judgement.score or 0) <= 10 for judgement in scored)
    # refusals and filters are answers: they are not asked again; a wrong format is once, and is rarely wrong twice
    assert set(reasons) <= {"refused", "filtered", "unparsable", "error: empty"}
    for reason in ("refused", "filtered"):
        assert 0.005 * asked <= reasons[reason] <= 0.05 * asked
    assert reasons["unparsable"] <= 0.02 * asked
    again = sum(len(judgement.exchanges) > 1 for judgement in judgements)
    assert 0.02 * asked <= again <= 0.09 * asked

    connection = sqlite3.connect(tmp_path / "ledger.db")
    attempts = "select sum(prompt_tokens), sum(completion_tokens), count(prompt_tokens) from attempts"
    booked = connection.execute(attempts).fetchone()
    late = connection.execute("select count(*) from attempts where outcome = 'timeout'").fetchone()[0]
    kept = dict(connection.execute("select status, count(*) from calls group by status").fetchall())
    (open_attempts,) = connection.execute("select count(*) from attempts where outcome is null").fetchone()
    connection.close()
    late -= bill["by_status"].get("hang", {"calls": 0})["calls"]
    seen = tuple(bill["seen"][kind] for kind in ("prompt_tokens", "completion_tokens", "calls"))
    # a machine so slow that answers come after the timeout: the server then thinks that they were seen
    assert booked == seen if late == 0 else (booked < seen and seen[2] - booked[2] <= late)
    assert open_attempts == 0
    assert sum(kept.values()) == sum(len(judgement.exchanges) for judgement in judgements)
