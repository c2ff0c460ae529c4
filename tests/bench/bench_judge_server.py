"""CPU time per request of the judge server: rubric, rubric with limits, replay by hash and by texts.

Run: python tests/bench/bench_judge_server.py [REQUESTS]. The client speaks HTTP over 8 plain sockets, so that it, and
not the server, is the cheap side; CPU is read from /proc/PID/stat, which other load on the machine hardly moves.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "platform"))

from assay.judge_server import JudgeServer, start_judge_server  # noqa: E402
from assay.judge_server.replay.recordings import read_exchanges  # noqa: E402

CONNECTIONS = 8
IFTEVAL = (
    "You are a helpful assistant that helps evaluate the quality of two responses to a prompt.\n\n"
    "Answer by awarding a score between 0 and 10 to each response, where 0 means the response is completely "
    "inappropriate and 10 means the response is very good. A response that is acceptable should never be awarded less "
    "than 6 out of 10.\n\nOutput format (csv):\n<score1 from 0 to 10>,<score2 from 0 to 10>\n\n"
    "Rate the responses to the following instruction.\n\n### Instruction:\n{}\n\n### Response:\n\n\n"
    "Response 1: {}\nResponse 2: {}\n\nOutput:"
)
SHAPES = (
    ("Classify the sentence as negative or positive. Sentence {}: a charming film.", "It is positive.", "positive"),
    ("Anna has {} apples and buys 4 more. How many has she?", "Anna has 9 apples now.", "9"),
    ("Extract LOC, PER, ORG as JSON. Text {}: Maria met Tom in Paris.", "Maria and Tom are people, Paris is a place.",
     '{"LOC": ["Paris"], "PER": ["Maria", "Tom"], "ORG": []}'),
    ("Where is ball {}?", "The ball is in the kitchen.", "the kitchen"),
)  # fmt: skip


def rubric_bodies(count: int) -> list[bytes]:
    """Quickstart-like requests, all different."""
    bodies = []
    for index in range(count):
        prompt, answer, gold = SHAPES[index % len(SHAPES)]
        text = IFTEVAL.format(prompt.format(index), answer, gold)
        bodies.append(json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode())
    return bodies


def replay_bodies(files: Sequence[Path], count: int, *, reworded: bool) -> list[bytes]:
    """Recorded prompts; reworded ones are found by their texts."""
    rows = [row for path in files for row in read_exchanges(path)]
    bodies = []
    for index in range(count):
        row = rows[index % len(rows)]
        turns = [{"role": role, "content": (" " if reworded else "") + content} for role, content in row.messages]
        bodies.append(json.dumps({"model": row.judge, "messages": turns}).encode())
    return bodies


async def load(url: str, bodies: Sequence[bytes], headers: str) -> int:
    """Sends all bodies over keep-alive connections; returns how many were answered 200."""
    place = urlsplit(url)
    good = 0

    async def connection(part: Sequence[bytes]) -> None:
        nonlocal good
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for body in part:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            good += answer.startswith(b"HTTP/1.1 200")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(connection(bodies[index::CONNECTIONS]) for index in range(CONNECTIONS)))
    return good


def cpu_s(server: JudgeServer) -> float:
    """User and system seconds of the server's process so far."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, server: JudgeServer, bodies: Sequence[bytes], headers: str = "") -> float:
    """CPU milliseconds per request, after a warm-up."""
    asyncio.run(load(server.base_url, bodies[:200], headers))
    before, start = cpu_s(server), time.perf_counter()
    good = asyncio.run(load(server.base_url, bodies, headers))
    wall = time.perf_counter() - start
    cost = 1000 * (cpu_s(server) - before) / len(bodies)
    print(
        f"{name:34s} {cost:.3f} ms CPU/request   {len(bodies) / wall:7.0f} requests/s   {good}/{len(bodies)} answered"
    )
    return cost


def main() -> int:
    """Prints a line per case; exit code 1 where one costs over half a millisecond."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    costs = []
    with start_judge_server() as server:
        costs.append(measure("rubric", server, rubric_bodies(count)))
    with start_judge_server(rpm=10**8, tpm=10**10, faults={"5xx": 0.0001}, latency_ms=0.1) as server:
        costs.append(measure("rubric, limits, faults, latency", server, rubric_bodies(count)))
    shared = Path(os.environ.get("ASSAY_SHARED", ROOT.parent / "shared")) / "data" / "llmbar" / "exchanges"
    if shared.is_dir():
        files = sorted(shared.glob("*.GPT-4.Metrics_Reference.jsonl.gz"))
        with start_judge_server() as server:
            costs.append(measure("rubric, LLMBar prompts", server, replay_bodies(files, count, reworded=False)))
        with start_judge_server(mode="replay", replay=tuple(sorted(shared.glob("*.jsonl.gz")))) as server:
            header = "x-assay-protocol: metrics_reference\r\n"
            costs.append(
                measure("replay, recorded prompts", server, replay_bodies(files, count, reworded=False), header)
            )
            costs.append(measure("replay, found by texts", server, replay_bodies(files, count, reworded=True), header))
    return int(max(costs) > 0.5)


if __name__ == "__main__":
    sys.exit(main())
