"""The judge server as clients see it: a real subprocess, the real OpenAI client, real sockets."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from assay.errors import EndpointError
from assay.judge_server import start_judge_server
from assay.judge_server.config import TOKEN_ENV

openai = pytest.importorskip("openai")

PROMPT = """Output format (csv):
<score1 from 0 to 10>,<score2 from 0 to 10>

Rate the responses to the following instruction.

Say which number comes after {number}.

Response 1: {answer}
Response 2: {gold}

Output:"""


def messages(number: int, answer: str | None = None) -> list[dict[str, str]]:
    text = PROMPT.format(number=number, answer=number + 1 if answer is None else answer, gold=number + 1)
    return [{"role": "user", "content": text}]


def client(server, **more):
    return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=10, **more)


def get(url: str, data: object = None) -> dict:
    body = None if data is None else json.dumps(data).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def server():
    with start_judge_server(batch_delay_s=0.2, models=("one", "two")) as running:
        yield running


def test_a_completion_is_answered_counted_and_billed(server) -> None:
    before = get(f"{server.root_url}/assay/invoice")
    with client(server) as ai:
        done = ai.chat.completions.create(model="one", messages=messages(3), n=3, temperature=0.1, seed=5)
        assert [choice.index for choice in done.choices] == [0, 1, 2]
        for choice in done.choices:
            assert choice.finish_reason == "stop"
            assert min(map(int, choice.message.content.split(","))) >= 9
        assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
        cut = ai.chat.completions.create(model="one", messages=[{"role": "user", "content": "Hm."}], max_tokens=2)
        assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 2)
        assert [model.id for model in ai.models.list()] == ["one", "two"]
    after = get(f"{server.root_url}/assay/invoice")
    assert after["calls"] - before["calls"] == 2
    billed = after["completion_tokens"] - before["completion_tokens"]
    assert billed == done.usage.completion_tokens + cut.usage.completion_tokens
    assert after["by_model"]["one"]["calls"] >= 2 and after["seen"]["calls"] >= 2
    assert get(f"{server.root_url}/healthz")["name"] == server.name


def test_structured_output_is_accepted(server) -> None:
    schema = {"type": "object", "properties": {"score_1": {"type": "integer"}, "score_2": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "scores", "schema": schema, "strict": True}}
    with client(server) as ai:
        done = ai.chat.completions.create(model="m", messages=messages(8, "ten"), response_format=wanted)
    scores = json.loads(done.choices[0].message.content)
    assert scores["score_1"] < 6 <= scores["score_2"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "expected an object"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": [{"role": "user"}]}, "role and a text"),
        ({"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 0}, "n: saw 0"),
        ({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}, "stream"),
    ],
)
def test_a_bad_request_is_told_why(server, body, says) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(f"{server.base_url}/chat/completions", body)
    assert caught.value.code == 400
    assert says in json.load(caught.value)["error"]["message"]


def test_a_batch_is_done_after_its_delay(server) -> None:
    rows = [
        {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "m", "messages": messages(number)} if number else {"model": "m"}}
        for number in range(5)
    ]  # fmt: skip
    with client(server) as ai:
        content = "\n".join(map(json.dumps, rows)).encode()
        file = ai.files.create(file=("rows.jsonl", content), purpose="batch")
        assert ai.files.content(file.id).content == content
        batch = ai.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"key": "k"}
        )
        assert batch.status in ("validating", "in_progress")
        deadline = time.monotonic() + 10
        while batch.status != "completed" and time.monotonic() < deadline:
            time.sleep(0.05)
            batch = ai.batches.retrieve(batch.id)
        assert (batch.request_counts.completed, batch.request_counts.failed) == (4, 1)
        answers = [json.loads(line) for line in ai.files.content(batch.output_file_id).text.splitlines()]
        assert {row["custom_id"] for row in answers} == {f"row-{number}" for number in range(1, 5)}
        assert all(row["response"]["body"]["choices"][0]["message"]["content"] for row in answers)
        errors = [json.loads(line) for line in ai.files.content(batch.error_file_id).text.splitlines()]
        assert [(row["custom_id"], row["response"]["status_code"]) for row in errors] == [("row-0", 400)]
        bad = ai.files.create(file=("bad.jsonl", b"no json"), purpose="batch")
        failed = ai.batches.create(input_file_id=bad.id, endpoint="/v1/chat/completions", completion_window="24h")
        time.sleep(0.1)
        failed = ai.batches.retrieve(failed.id)
        assert failed.status == "failed" and failed.errors.data[0].line == 1
        assert batch.id in [found.id for found in ai.batches.list()]


@pytest.mark.parametrize("window", ["fixed", "bucket"])
def test_limits_answer_429_and_may_change_while_running(window) -> None:
    with start_judge_server(rpm=60, window=window, window_s=1.0, burst_s=3.0) as server, client(server) as ai:
        # a fixed window of 1 s holds one request of 60 a minute, a bucket of 3 s holds three
        room = 1 if window == "fixed" else 3
        for number in range(room):
            raw = ai.chat.completions.with_raw_response.create(model="m", messages=messages(number))
        assert raw.headers["x-ratelimit-limit-requests"] == "60"
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            ai.chat.completions.create(model="m", messages=messages(9))
        assert caught.value.code == "rate_limit_exceeded"
        wait = int(caught.value.response.headers["retry-after-ms"]) / 1000
        assert 0 < wait <= 1.01
        # RFC 9110 knows whole seconds only, and nobody may come back too soon
        assert caught.value.response.headers["retry-after"] == str(math.ceil(wait))
        time.sleep(wait + 0.02)
        ai.chat.completions.create(model="m", messages=messages(9))
        assert get(f"{server.root_url}/assay/limits", {"rpm": 6000})["rpm"] == 6000
        for number in range(20):
            ai.chat.completions.create(model="m", messages=messages(number))
        assert get(f"{server.root_url}/assay/limits", {"rpm": None, "tpm": 100})["tpm"] == 100
        with pytest.raises(openai.RateLimitError, match="Request too large"):
            ai.chat.completions.create(model="m", messages=messages(1, "x" * 4000))
        assert get(f"{server.root_url}/assay/invoice")["by_status"]["rate_limited"]["calls"] == 2


def run_with_faults(server, count: int) -> list[str]:
    async def one(ai, number: int) -> str:
        try:
            done = await ai.chat.completions.create(model="m", messages=messages(number))
        except openai.APIConnectionError:
            return "cut"
        except openai.InternalServerError:
            return "5xx"
        except (openai.APIError, ValueError):
            return "truncated"
        [choice] = done.choices
        if choice.finish_reason == "content_filter":
            return "filter"
        text = choice.message.content
        return "empty" if not text else "answered" if text[0].isdigit() else "refusal" if "sorry" in text else "format"

    async def everything() -> list[str]:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0, timeout=30) as ai:
            return await asyncio.gather(*(one(ai, number) for number in range(count)))

    return asyncio.run(everything())


def test_faults_are_seen_by_the_client_as_drawn_and_billed_as_told() -> None:
    faults = {"5xx": 0.1, "hang": 0.05, "reset": 0.1, "truncated": 0.1, "empty": 0.1, "format": 0.1, "refusal": 0.1,
              "filter": 0.1}  # fmt: skip
    seen = []
    for _ in range(2):
        with start_judge_server(faults=faults, seed=4, hang_s=0.3) as server:
            seen.append(run_with_faults(server, 80))
            invoice = get(f"{server.root_url}/assay/invoice")
        told = {status: line["calls"] for status, line in invoice["by_status"].items()}
        silent = sum(told[name] for name in ("hang", "reset", "truncated"))
        # a hanging call is given up by the server after hang_s here, which looks like a reset
        assert Counter(told) - Counter(seen[-1]) == Counter(hang=told["hang"], reset=told["reset"])
        assert seen[-1].count("cut") == told["hang"] + told["reset"]
        assert invoice["unseen"]["calls"] == silent
        assert invoice["seen"]["calls"] == 80 - silent - told["5xx"]
    assert seen[0] == seen[1]  # whatever the order of arrival
    assert set(seen[0]) == {*faults, "cut", "answered"} - {"hang", "reset"}


def test_a_hanging_call_ends_when_the_client_gives_up() -> None:
    with start_judge_server(faults={"hang": 1.0}) as server, client(server) as ai:
        with pytest.raises(openai.APITimeoutError):
            ai.with_options(timeout=0.3).chat.completions.create(model="m", messages=messages(1))
        unseen = get(f"{server.root_url}/assay/invoice")["unseen"]
        assert unseen["calls"] == 1 and unseen["prompt_tokens"] > 0


def test_a_repeated_request_draws_anew() -> None:
    with start_judge_server(faults={"5xx": 0.5}, seed=1) as server, client(server) as ai:
        outcomes = []
        for _ in range(12):
            try:
                ai.chat.completions.create(model="m", messages=messages(1))
                outcomes.append(True)
            except openai.InternalServerError:
                outcomes.append(False)
        assert set(outcomes) == {True, False}


def test_latency_has_the_stated_mean() -> None:
    async def ask(server, count: int) -> float:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as ai:
            start = time.monotonic()
            await asyncio.gather(*(ai.chat.completions.create(model="m", messages=messages(n)) for n in range(count)))
            return time.monotonic() - start

    with start_judge_server(latency_ms=250.0, latency_shape="constant") as server:
        took = asyncio.run(ask(server, 20))
        assert 0.25 <= took < 3.0  # at once, not one after another (5 s)


def test_replay_over_http_says_what_it_has_not(tmp_path: Path) -> None:
    text = "# Instruction:\nName a colour.\n\n# Output (a):\n{}\n\n# Output (b):\n{}\n\n# Which is better?"
    rows = [
        {"judge": "J-1", "strategy": "Vanilla", "subset": "S", "index": 0, "stage": "compare", "swap": swap,
         "messages": [{"role": "user", "content": text.format(*pair)}], "completion": reply}
        for swap, pair, reply in ((False, ("Blue.", "Seven."), "Output (a)"), (True, ("Seven.", "Blue."), "Output (b)"))
    ]  # fmt: skip
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with start_judge_server(mode="replay", replay=(path,)) as server, client(server) as ai:
        for row in rows:
            done = ai.chat.completions.create(
                model="J-1",
                messages=row["messages"],
                extra_headers={"X-Assay-Protocol": "vanilla", "X-Assay-Step": "compare"},
            )
            assert done.choices[0].message.content == row["completion"]
        with pytest.raises(openai.NotFoundError, match="no recorded strategy 'cot'"):
            ai.chat.completions.create(
                model="J-1", messages=rows[0]["messages"], extra_headers={"X-Assay-Protocol": "cot"}
            )
        with pytest.raises(openai.NotFoundError, match="no recorded instance"):
            ai.chat.completions.create(model="J-1", messages=[{"role": "user", "content": "Hello"}])


def test_a_server_that_cannot_start_says_why(tmp_path: Path, server) -> None:
    port = int(server.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    with pytest.raises(EndpointError, match="cannot listen"):
        start_judge_server(port=port)
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{}\n")
    with pytest.raises(EndpointError, match="saw no exchange"):
        start_judge_server(mode="replay", replay=(bad,))


def test_a_token_is_needed_beyond_loopback_and_then_checked(monkeypatch) -> None:
    monkeypatch.delenv(TOKEN_ENV, raising=False)
    with pytest.raises(EndpointError, match=f"saw no token; expected {TOKEN_ENV}"):
        start_judge_server(host="0.0.0.0")
    monkeypatch.setenv(TOKEN_ENV, "secret")
    with start_judge_server() as server:
        with client(server) as ai, pytest.raises(openai.AuthenticationError):
            ai.chat.completions.create(model="m", messages=messages(1))
        with openai.OpenAI(base_url=server.base_url, api_key="secret", max_retries=0) as ai:
            assert ai.chat.completions.create(model="m", messages=messages(1)).choices


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"


def test_the_server_ends_with_its_parent_even_a_killed_one() -> None:
    code = (
        "import time\nfrom assay.judge_server import start_judge_server\n"
        "server = start_judge_server()\nprint(server.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    deadline = time.monotonic() + 8
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_the_command_prints_its_base_url_first() -> None:
    command = [sys.executable, "-m", "assay.judge_server", "--rubric", "--port", "0", "--rpm", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:") and url.endswith("/v1")
        assert get(f"{url}/models")["object"] == "list"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
