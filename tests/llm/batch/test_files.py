"""Lines of the batch API's files, as they go up and as they come down."""

from __future__ import annotations

import json

import pytest

from assay.llm.batch.files import MAX_ROWS, RequestFile, RequestLine, read_line, request_line
from assay.llm.endpoint import EndpointSpec
from assay.llm.requests import ChatRequest, Message, Sampling

ENDPOINT = EndpointSpec(base_url="https://api.example.org/v1", name="judge", model="m")
REQUEST = ChatRequest("m", (Message("user", "Rate it: naïve."),), Sampling(max_tokens=8), protocol="p", step="s")
BODY = {"model": "m"}


def test_a_line_names_its_request_and_tells_the_step_only_where_it_is_wanted() -> None:
    plain = {"custom_id": "k", "method": "POST", "url": "/v1/chat/completions", "body": BODY}
    line = request_line("k", BODY, REQUEST, ENDPOINT)
    assert line.endswith(b"\n")
    assert json.loads(line) == plain
    told = request_line("k", BODY, REQUEST, ENDPOINT.replace(step_headers=True))
    assert json.loads(told) == {**plain, "assay": {"protocol": "p", "step": "s", "replicate": "0"}}


def test_a_file_holds_its_lines_in_order_up_to_its_limit() -> None:
    file = RequestFile(1)
    for number in range(MAX_ROWS):
        assert file.has_room_for(b"x\n")
        file.add(f"k{number}", RequestLine(b"x\n", "{}", 7, 5, 0.5))
    assert not file.has_room_for(b"x\n")
    assert file.content == b"x\n" * MAX_ROWS
    assert sum(file.tokens.values()) == 7 * MAX_ROWS


def test_a_file_keeps_to_the_rows_and_tokens_that_were_told_and_halves_hold_all() -> None:
    file = RequestFile(2, max_rows=5, max_tokens=20)
    assert file.has_room_for(b"x\n", 99)  # alone
    for number in range(4):
        assert file.has_room_for(b"x\n", 5)
        file.add(f"k{number}", RequestLine(b"%d\n" % number, "{}", 7, 5, 0.5))
    assert not file.has_room_for(b"x\n", 1)
    first, second = file.halves()
    assert first.content + second.content == file.content
    assert (first.tries, first.max_tokens, first.queue_tokens, second.usd) == (2, 20, 10, 1.0)


def reply(**response: object) -> bytes:
    return json.dumps({"custom_id": "k", "response": response}).encode()


@pytest.mark.parametrize(
    ("line", "key", "outcome"),
    [
        (
            reply(
                status_code=200,
                body={
                    "choices": [{"message": {"content": "7"}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 9, "completion_tokens": 1},
                },
            ),
            "k",
            "answered",
        ),
        (reply(status_code=500, body={"error": {"message": "busy"}}), "k", "server error"),
        (
            reply(status_code=401, body={"error": {"message": "no key"}}),
            "k",
            "rejected",
        ),  # of one line: no reason to end
        (b'{"custom_id": "k", "response": null, "error": {"message": "expired"}}', "k", "server error"),
        (b'{"custom_id": "k", "response": {"status_code": "many", "body": {}}}', "", "malformed"),
        (b"[1]", "", "malformed"),
        (b"not JSON", "", "malformed"),
    ],
)
def test_every_line_that_comes_down_is_an_exchange(line: bytes, key: str, outcome: str) -> None:
    found, exchange = read_line(line, ENDPOINT)
    assert (found, exchange.outcome) == (key, outcome)
