"""CPU and memory of one judgement on the client: prompt, limiter, HTTP, parse, ledger; against a server without limits.

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
from collections.abc import Iterator
from pathlib import Path

from assay.judge_server.launch import start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.gateway import open_gateway
from assay.llm.requests import Answer, ChatRequest, Message, Sampling

SAMPLING = Sampling(max_tokens=32)
RULES = "You are a fair judge. Judge how well the response follows the instruction, from 0 to 9. " * 8
RESPONSE = "The first thing to know is that water boils at a lower temperature on a mountain. " * 12


def prompts(calls: int, salt: str) -> Iterator[ChatRequest]:
    for number in range(calls):
        user = f"{RULES}\n\nInstruction:\nExplain item {salt}{number}.\n\nResponse:\n{RESPONSE}\n\nScore (0-9):"
        yield ChatRequest("", (Message("system", RULES[:90]), Message("user", user)), SAMPLING)


def parse(text: str) -> int | None:
    found = re.findall(r"\d+", text)
    return int(found[-1]) if found else None


def rss_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]


async def judge(base_url: str, calls: int, concurrency: int, folder: Path) -> dict[str, object]:
    spec = EndpointSpec(base_url=base_url, model="rubric-judge", max_concurrency=concurrency)
    async with open_gateway(
        spec, ledger_url=f"sqlite:///{folder}/ledger.db", study="bench", limiter="process"
    ) as gateway:
        async for _ in gateway.ask_many(prompts(200, "warm")):  # imports, connections, compiled statements
            pass
        marks, parsed, answered = [], 0, 0
        cpu, wall = time.process_time(), time.perf_counter()
        async for index, reply in gateway.ask_many(prompts(calls, "")):
            if isinstance(reply, Answer):
                answered += 1
                parsed += parse(reply.text) is not None
            if index % max(1, calls // 10) == 0:
                marks.append(round(rss_mib(), 1))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        cached_cpu = time.process_time()
        async for _ in gateway.ask_many(prompts(min(calls, 2000), "")):
            pass
        cached_cpu = time.process_time() - cached_cpu
    return {
        "calls": calls,
        "answered": answered,
        "parsed": parsed,
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
    source = prompts(calls, "sdk")

    async def work() -> None:
        for request in source:
            await client.chat.completions.create(
                model="rubric-judge", max_tokens=32, temperature=0.0,
                messages=[{"role": m.role, "content": m.content} for m in request.messages],  # type: ignore[misc]
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
