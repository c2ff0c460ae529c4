"""CPU and memory of one IFTEval judgement on the client, from the prompt to the parsed score; the server has no limits.

    python tests/bench/bench_gateway.py [--calls 100000] [--quick] [--out FILE.json]

Prints one line of JSON. Aim: at most 1.5 ms of CPU per judgement (limit 3), memory flat over the calls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
import time
from pathlib import Path

from assay.judge_server.launch import start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.opening import Asker, open_gateway
from assay.scoring.judges.calls import JudgeCall, JudgeReply, run_protocol, to_request
from assay.scoring.judges.protocols.pointwise import IftevalJudge, PointwiseInstance

PROTOCOL = IftevalJudge()
"""As studies ask by default: strict, the texts fenced, both readings parsed."""
RESPONSE = "The first thing to know is that water boils at a lower temperature on a mountain. " * 12


def instance(name: str) -> PointwiseInstance:
    return PointwiseInstance(f"Explain item {name} of the list of facts about cooking.", RESPONSE, RESPONSE[:300])


async def judge_all(gateway: Asker, calls: int, salt: str, concurrency: int, marks: list[float]) -> int:
    """Judges so many instances and counts the scores; memory is read ten times on the way."""
    source = iter(range(calls))
    scored = 0

    async def ask(call: JudgeCall) -> JudgeReply:
        return await gateway.ask(to_request(call, PROTOCOL.name))

    async def work() -> None:
        nonlocal scored
        for number in source:
            judgement = await run_protocol(PROTOCOL, instance(f"{salt}{number}"), ask)
            scored += judgement.score is not None
            if number % max(1, calls // 10) == 0:
                marks.append(round(rss_mib(), 1))

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return scored


def rss_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]


async def judge(base_url: str, calls: int, concurrency: int, folder: Path) -> dict[str, object]:
    spec = EndpointSpec(base_url=base_url, model="rubric-judge", max_concurrency=concurrency)
    async with open_gateway(
        spec, ledger_url=f"sqlite:///{folder}/ledger.db", study="bench", limiter="process"
    ) as gateway:
        await judge_all(gateway, 200, "warm", concurrency, [])  # imports, connections, compiled statements
        marks: list[float] = []
        cpu, wall = time.process_time(), time.perf_counter()
        scored = await judge_all(gateway, calls, "", concurrency, marks)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        cached_cpu = time.process_time()
        await judge_all(gateway, min(calls, 2000), "", concurrency, [])
        cached_cpu = time.process_time() - cached_cpu
    return {
        "calls": calls,
        "scored": scored,
        "cpu_ms_per_judgement": round(cpu / calls * 1e3, 3),
        "wall_ms_per_judgement": round(wall / calls * 1e3, 3),
        "cpu_ms_per_cached_judgement": round(cached_cpu / min(calls, 2000) * 1e3, 3),
        "rss_mib_over_the_run": marks,
        "ledger_mib": round((folder / "ledger.db").stat().st_size / 2**20, 1),
    }


async def sdk_alone(base_url: str, calls: int, concurrency: int) -> float:
    """CPU in ms of the openai SDK's own typed call with the same transport: what a bare client costs."""
    import openai

    client = openai.AsyncOpenAI(
        base_url=base_url, api_key="none", max_retries=0, http_client=openai.DefaultAioHttpClient()
    )
    source = iter(range(calls))

    async def work() -> None:
        for number in source:
            await client.chat.completions.create(
                model="rubric-judge", max_tokens=PROTOCOL.max_tokens, temperature=PROTOCOL.temperature,
                messages=[{"role": m.role, "content": m.content} for m in PROTOCOL.messages(instance(f"sdk{number}"))],  # type: ignore[misc]
            )  # fmt: skip

    cpu = time.process_time()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    cpu = time.process_time() - cpu
    await client.close()
    return round(cpu / calls * 1e3, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="3,000 calls")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    calls = 3_000 if arguments.quick else arguments.calls
    with start_judge_server() as server, tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(judge(server.base_url, calls, arguments.concurrency, Path(folder)))
        found["sdk_alone_cpu_ms"] = asyncio.run(sdk_alone(server.base_url, min(calls, 3000), arguments.concurrency))
    text = json.dumps(found)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
