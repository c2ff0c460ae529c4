"""How much of an endpoint's rate limit is spent: four Ray actors share one budget; the server counts.

    python tests/bench/bench_utilisation.py [--quick] [--seconds 180] [--rpm 600 6000] [--peers] [--out FILE.json]

For each limit and each kind of server (fixed window, token bucket) one line of JSON: utilisation of the limit from the
first request on, answers 429 after the first window, and, in a second run, the utilisation from 10 s after the limit
was halved, and from 10 s after it was doubled, while running (only headers tell). One more pair of runs has a token
limit that binds. `--peers` runs, against the same servers, asyncio + semaphore + the SDK's own retries, and Ray Data's
HTTP request processor. Utilisation counts accepted requests (or billed tokens) against the limit, so a bucket's stored
credit can lift a burst above 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "disabled")

import ray

from assay.judge_server.launch import JudgeServer, start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.opening import open_gateway
from assay.llm.requests import ChatRequest, Message, Sampling

ACTORS = 4
TOKENS_PER_CALL = 60  # about what `question` costs at the server


def question(number: int, salt: str) -> str:
    return (
        f"Rate the answer to question {salt}-{number} from 0 to 9. The answer says: it depends on the weather, mostly."
    )


@ray.remote(num_cpus=0.1)
class Asker:
    """One of the workers that share the limit."""

    def ready(self) -> bool:
        import openai  # noqa: F401  # its import takes a second

        return True

    async def assay(self, base_url: str, ledger: str, name: str, until: float) -> dict[str, Any]:
        spec = EndpointSpec(base_url=base_url, model="rubric-judge", max_concurrency=512)

        def requests() -> Iterator[ChatRequest]:
            number = 0
            while time.time() < until:
                yield ChatRequest("", (Message("user", question(number, name)),), Sampling(max_tokens=16))
                number += 1

        cpu = time.process_time()
        async with open_gateway(spec, ledger_url=ledger, study="bench", limiter="ray") as gateway:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - time.time() + 2):
                    async for _ in gateway.ask_many(requests(), concurrency=128):
                        pass
            stats = gateway.stats()
        return {"attempts": stats.attempts, "cpu_s": time.process_time() - cpu}

    async def semaphore(self, base_url: str, name: str, until: float, width: int) -> dict[str, Any]:
        import openai

        client = openai.AsyncOpenAI(
            base_url=base_url, api_key="none", max_retries=10, http_client=openai.DefaultAioHttpClient()
        )
        number = 0
        failed = 0

        async def work() -> None:
            nonlocal number, failed
            while time.time() < until:
                number += 1
                try:
                    await client.chat.completions.create(
                        model="rubric-judge", max_tokens=16,
                        messages=[{"role": "user", "content": question(number, name)}],
                    )  # fmt: skip
                except openai.APIError:
                    failed += 1

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until - time.time() + 2):
                await asyncio.gather(*(work() for _ in range(width)))
        await client.close()
        return {"attempts": number, "failed": failed}


@dataclass
class Meter:
    """What the server billed, read four times a second."""

    server: JudgeServer

    def __post_init__(self) -> None:
        self.marks: list[tuple[float, int, int, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def started(self) -> float:
        """When the first answer was billed."""
        return next((t for t, calls, *_ in self.marks if calls), time.time())

    def share(self, start: float, end: float, rpm: float, tpm: float | None) -> float:
        """Of the binding limit, between two times."""
        inside = [mark for mark in self.marks if start <= mark[0] <= end]
        first, last = inside[0], inside[-1]
        minutes = (last[0] - first[0]) / 60
        used = (last[1] - first[1]) / (rpm * minutes)
        return max(used, (last[2] - first[2]) / (tpm * minutes)) if tpm else used

    def refused(self, start: float, end: float) -> int:
        inside = [mark for mark in self.marks if start <= mark[0] <= end]
        return inside[-1][3] - inside[0][3]

    def calls(self, start: float, end: float) -> int:
        inside = [mark for mark in self.marks if start <= mark[0] <= end]
        return inside[-1][1] - inside[0][1]

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            bill, limits = self._get("/assay/invoice"), self._get("/assay/limits")
            tokens = bill["prompt_tokens"] + bill["completion_tokens"]
            self.marks.append((time.time(), bill["calls"], tokens, sum(limits["refused"].values())))

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.server.root_url + path) as response:
            return json.load(response)


class Machine:
    """What else the machine did: a timing means nothing without it."""

    def __init__(self) -> None:
        self._last = self._read()

    def state(self) -> dict[str, float]:
        """Load average, and the share of all cores that was busy since the last call, in [0, 1]."""
        (busy, total), (busy_before, total_before) = (now := self._read()), self._last
        self._last = now
        share = (busy - busy_before) / max(1, total - total_before)
        return {"load_1min": round(os.getloadavg()[0], 2), "cores_busy": round(share, 2)}

    def _read(self) -> tuple[int, int]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def set_rpm(server: JudgeServer, rpm: int) -> None:
    data = json.dumps({"rpm": rpm}).encode()
    request = urllib.request.Request(server.root_url + "/assay/limits", data, {"content-type": "application/json"})
    urllib.request.urlopen(request).close()


def server_of(kind: str, rpm: int, tpm: int | None, window_s: float) -> JudgeServer:
    return start_judge_server(rpm=rpm, tpm=tpm, window=kind, window_s=window_s, burst_s=window_s, latency_ms=300.0)


def run_assay(server: JudgeServer, seconds: float, during: Any = None) -> tuple[Meter, list[dict[str, Any]]]:
    askers = [Asker.remote() for _ in range(ACTORS)]
    ray.get([asker.ready.remote() for asker in askers])
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter(server)
        until = time.time() + seconds + 1
        ledger = f"sqlite:///{folder}/ledger.db"
        work = [asker.assay.remote(server.base_url, ledger, f"a{i}", until) for i, asker in enumerate(askers)]
        if during is not None:
            during(meter)
        found = ray.get(work)
        meter.stop()
    for asker in askers:
        ray.kill(asker)
    return meter, found


def steady(kind: str, rpm: int, tpm: int | None, seconds: float, window_s: float) -> dict[str, Any]:
    with server_of(kind, rpm, tpm, window_s) as server:
        meter, found = run_assay(server, seconds)
    start = meter.started()
    calls = meter.calls(start, start + seconds)
    late = meter.refused(start + min(window_s, seconds / 2), start + seconds)
    return {
        "run": "steady", "client": "assay", "server": kind, "rpm": rpm, "tpm": tpm, "seconds": seconds,
        "utilisation": round(meter.share(start, start + seconds, rpm, tpm), 4),
        "refused_after_first_window": late,
        "refused_share": round(late / max(1, calls), 5),
        "refused_ever": meter.refused(0, start + seconds),
        "client_cpu_ms_per_call": round(1e3 * sum(f["cpu_s"] for f in found) / max(1, calls), 2),
    }  # fmt: skip


def changing(kind: str, rpm: int, seconds: float, window_s: float) -> dict[str, Any]:
    times: list[float] = []

    def during(meter: Meter) -> None:
        while not any(mark[1] for mark in meter.marks):
            time.sleep(0.05)
        start = meter.started()
        # a fixed window that is cut after more than the new limit was spent has nothing to give until it ends, to
        # anybody: the limits change as windows begin
        step = window_s * max(1, round(seconds / 3 / window_s))
        for number, new in ((1, rpm // 2), (2, rpm)):
            time.sleep(max(0.0, start + number * step + 0.2 - time.time()))
            set_rpm(server, new)
            times.append(time.time())

    with server_of(kind, rpm, None, window_s) as server:
        meter, _ = run_assay(server, seconds, during)
    halved, doubled = times
    end = meter.started() + seconds
    return {
        "run": "changing", "client": "assay", "server": kind, "rpm": rpm, "seconds": seconds,
        "utilisation_from_10_s_after_halving": round(meter.share(halved + 10, doubled, rpm // 2, None), 4),
        "utilisation_from_10_s_after_doubling": round(meter.share(doubled + 10, end, rpm, None), 4),
        "refused_from_10_s_after": meter.refused(halved + 10, doubled) + meter.refused(doubled + 10, end),
    }  # fmt: skip


def peer_semaphore(kind: str, rpm: int, seconds: float, window_s: float, width: int = 16) -> dict[str, Any]:
    with server_of(kind, rpm, None, window_s) as server:
        askers = [Asker.remote() for _ in range(ACTORS)]
        ray.get([asker.ready.remote() for asker in askers])
        meter = Meter(server)
        until = time.time() + seconds + 1
        work = [asker.semaphore.remote(server.base_url, f"s{i}", until, width) for i, asker in enumerate(askers)]
        found = ray.get(work)
        meter.stop()
        for asker in askers:
            ray.kill(asker)
    return _peer("asyncio + semaphore + SDK retries", kind, rpm, seconds, window_s, meter) | {
        "failed": sum(f["failed"] for f in found)
    }


def peer_ray_data(kind: str, rpm: int, seconds: float, window_s: float) -> dict[str, Any]:
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    rows = int(rpm / 60 * seconds * 1.5)
    # its rate is a whole number of requests per second and actor: as many actors as leave no remainder
    actors = next(n for n in range(ACTORS, 0, -1) if rpm // 60 % n == 0)
    with server_of(kind, rpm, None, window_s) as server:
        url = server.base_url + "/chat/completions"
        config = HttpRequestProcessorConfig(
            url=url, headers={"Authorization": "Bearer none"}, qps=rpm // 60 // actors, concurrency=actors,
            batch_size=16, max_retries=10,
        )  # fmt: skip

        def to_request(row: dict[str, Any]) -> dict[str, Any]:
            messages = [{"role": "user", "content": question(int(row["id"]), "r")}]
            return {"payload": {"model": "rubric-judge", "max_tokens": 16, "messages": messages}}

        processor = build_processor(config, preprocess=to_request, postprocess=lambda row: {"id": 1})
        meter = Meter(server)
        data = processor(ray.data.range(rows, override_num_blocks=ACTORS * 8))

        def consume() -> None:
            with contextlib.suppress(Exception):  # ended by the clock
                for _ in data.iter_batches(batch_size=64):
                    pass

        thread = threading.Thread(target=consume, daemon=True)
        thread.start()
        while not any(mark[1] for mark in meter.marks) and thread.is_alive():
            time.sleep(0.1)
        thread.join(seconds)
        meter.stop()
        return _peer("Ray Data HttpRequestProcessor", kind, rpm, seconds, window_s, meter)


def _peer(client: str, kind: str, rpm: int, seconds: float, window_s: float, meter: Meter) -> dict[str, Any]:
    start = meter.started()
    end = start + seconds
    late = meter.refused(start + min(window_s, seconds / 2), end)
    return {
        "run": "steady", "client": client, "server": kind, "rpm": rpm, "seconds": seconds,
        "utilisation": round(meter.share(start, end, rpm, None), 4),
        "refused_after_first_window": late,
        "refused_share": round(late / max(1, meter.calls(start, end)), 5),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="30 s a run, windows of 10 s, 600 requests/min only")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--window-s", type=float, default=60.0, help="of the fixed window, and of the bucket's credit")
    parser.add_argument("--rpm", type=int, nargs="+", default=[600, 6000])
    parser.add_argument("--kinds", nargs="+", default=["fixed", "bucket"])
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only", choices=["steady", "changing", "tokens", "peers"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    seconds, window_s, rates = arguments.seconds, arguments.window_s, arguments.rpm
    if arguments.quick:
        seconds, window_s, rates = 30.0, 10.0, rates[:1]
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, namespace="bench", log_to_driver=False,
        object_store_memory=200_000_000,
    )  # fmt: skip
    lines = []
    machine = Machine()

    def show(line: dict[str, Any]) -> None:
        line |= machine.state()
        lines.append(line)
        print(json.dumps(line), flush=True)

    def wanted(run: str) -> bool:
        return arguments.only in (None, run)

    for rpm in rates:
        for kind in arguments.kinds:
            if wanted("steady"):
                show(steady(kind, rpm, None, seconds, window_s))
            if wanted("tokens"):
                show(steady(kind, rpm, rpm * TOKENS_PER_CALL // 2, seconds, window_s))
            if wanted("changing"):
                show(changing(kind, rpm, max(seconds, 75.0), window_s))
            if arguments.peers and wanted("peers"):
                show(peer_semaphore(kind, rpm, seconds, window_s))
                show(peer_ray_data(kind, rpm, seconds, window_s))
    ray.shutdown()
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
