"""What bodies and statuses mean; nothing here sends anything."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import EndpointError, LimitReached
from assay.llm.endpoint import EndpointSpec
from assay.llm.requests import ChatRequest, Message
from assay.llm.transports.chat import ChatTransport, one_line, read_refusal, read_reply, storable

SPEC = EndpointSpec(model="m")
NAMES = st.sampled_from(["choices", "message", "content", "usage", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    max_leaves=12,
)


def reply(content: str | None = "Output (a)", finish: str = "stop", **changes: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    return json.dumps({"choices": [choice], "usage": usage, **changes}).encode()


def test_a_plain_answer() -> None:
    found = read_reply(reply(), {})
    assert (found.outcome, found.text, found.finish_reason) == ("answered", "Output (a)", "stop")
    assert (found.prompt_tokens, found.completion_tokens) == (9, 2)


@pytest.mark.parametrize("content", ["", "  \n", None])
def test_an_empty_answer_is_none(content: str | None) -> None:
    assert read_reply(reply(content), {}).outcome == "empty"


def test_filters_and_refusals_have_names_of_their_own() -> None:
    assert read_reply(reply("half a", "content_filter"), {}).outcome == "filtered"
    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    refused = read_reply(reply(choices=[{"message": message, "finish_reason": "stop"}]), {})
    assert (refused.outcome, refused.text) == ("refused", "I cannot.")


def test_missing_usage_is_unknown_not_zero() -> None:
    assert read_reply(reply(usage=None), {}).prompt_tokens is None


def test_several_choices_and_logprobs_are_kept() -> None:
    choices = [{"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": []}} for text in "ab"]
    assert json.loads(read_reply(reply(choices=choices), {}).extra) == {
        "texts": ["a", "b"],
        "logprobs": {"content": []},
    }


@given(st.integers(0, len(reply()) - 1))
def test_every_truncated_body_is_malformed(length: int) -> None:
    assert read_reply(reply()[:length], {}).outcome == "malformed"


@given(JSON)
def test_no_json_makes_the_reader_fail(value: object) -> None:
    assert read_reply(json.dumps(value).encode(), {}).outcome in ("malformed", "empty", "answered", "refused")


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (429, "rate_limit_exceeded", "rate limited"),
        (500, "", "server error"),
        (503, "", "server error"),
        (408, "", "server error"),
        (400, "context_length_exceeded", "rejected"),
        (400, "content_filter", "filtered"),
        (404, "no_recorded_reply", "rejected"),
    ],
)
def test_statuses(status: int, code: str, outcome: str) -> None:
    body = json.dumps({"error": {"message": "why", "code": code}}).encode()
    assert read_refusal(status, body, {}, endpoint=SPEC, secret="").outcome == outcome


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("Request too large for m on tokens per min (TPM): Limit 500, Requested 724.", "rejected"),
        ("Request too large for gpt-4o on TPM: Limit 30000, Requested 40000. The input must be reduced.", "rejected"),
        ("The number of requested tokens (724) exceeds the limit of 500 a minute", "rejected"),
        ("Rate limit reached for m on TPM: Limit 500, Used 0, Requested 1,724.", "rejected"),
        ("Rate limit reached for m on TPM: Limit 1,500, Used 1400, Requested 724. Please try again in 2s.",
         "rate limited"),
        ("This request would exceed your organization's rate limit of 40,000 input tokens per minute", "rate limited"),
    ],
)  # fmt: skip
def test_a_request_that_no_waiting_makes_fit_is_not_sent_again(message: str, outcome: str) -> None:
    body = json.dumps({"error": {"message": message, "code": "rate_limit_exceeded", "type": "tokens"}}).encode()
    found = read_refusal(429, body, {}, endpoint=SPEC, secret="")
    assert found.outcome == outcome
    assert message[:200] in found.detail


def test_what_asks_to_come_back_is_no_final_refusal() -> None:
    body = json.dumps({"error": {"message": "requested tokens exceeds what is left in this minute"}}).encode()
    assert read_refusal(429, body, {"retry-after": "3"}, endpoint=SPEC, secret="").outcome == "rate limited"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "invalid_api_key", EndpointError),
        (403, "permission_denied", EndpointError),
        (404, "model_not_found", EndpointError),
        (429, "insufficient_quota", LimitReached),
        (402, "", LimitReached),
    ],
)
def test_what_ends_the_work(status: int, code: str, error: type[Exception]) -> None:
    body = json.dumps({"error": {"message": "no sk-secret-key here", "code": code}}).encode()
    found = read_refusal(status, body, {}, endpoint=SPEC, secret="sk-secret-key")
    assert isinstance(found.error, error)
    assert "sk-secret-key" not in str(found.error)
    assert "\n" not in str(found.error)


def test_messages_are_one_short_line() -> None:
    assert one_line("a\n b" + "x" * 999, "").startswith("a b")
    assert len(one_line("x" * 999, "")) == 300


@given(st.text() | st.just("\ud800x") | st.just("a\x00b"))
def test_whatever_is_stored_can_be_stored(text: str) -> None:
    kept = storable(text)
    kept.encode()
    assert "\x00" not in kept
    assert storable(kept) == kept


def test_a_reply_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "Output "}, {"type": "text", "text": "(a)"}, {"type": "image"}]
    body = json.dumps({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}).encode()
    exchange = read_reply(body, {})
    assert (exchange.outcome, exchange.text) == ("answered", "Output (a)")


async def test_azures_classic_url_keeps_its_query_and_sends_its_own_header(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        body = reply()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/openai/deployments/judge?api-version=2024-10-21"
    transport = ChatTransport(EndpointSpec(base_url=url, model="m"))
    found = await transport.send(ChatRequest("m", (Message("user", "x"),)), 1)
    await transport.close()
    server.close()
    assert found.outcome == "answered"
    head = seen[0].decode().lower()
    assert head.startswith("post /openai/deployments/judge/chat/completions?api-version=2024-10-21 ")
    assert "\napi-key: secret\r" in head


def test_any_other_query_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="saw a query"):
        EndpointSpec(base_url="https://proxy.example/v1?tenant=7")
