"""Keys cover what shapes a reply and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.llm.endpoint import EndpointSpec
from assay.llm.ledger.call_rows import request_of, request_row
from assay.llm.requests import GREEDY, Answer, ChatRequest, Message, Sampling, request_key

BASE = ChatRequest("m", (Message("system", "be fair"), Message("user", "a or b?")), Sampling(max_tokens=5))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "m2"},
        {"messages": (Message("user", "be fair"), Message("user", "a or b?"))},
        {"messages": (Message("system", "be fair"), Message("user", "b or a?"))},
        {"sampling": Sampling(max_tokens=6)},
        {"sampling": Sampling(max_tokens=5, extra={"top_k": 1})},
        {"replicate": 1},
    ],
)
def test_whatever_shapes_the_reply_moves_the_key(changes: dict[str, object]) -> None:
    assert request_key("e", dataclasses.replace(BASE, **changes)) != request_key("e", BASE)


def test_the_endpoint_name_moves_the_key() -> None:
    assert request_key("e", BASE) != request_key("f", BASE)


def test_protocol_and_step_move_the_key_only_in_compat() -> None:
    named = dataclasses.replace(BASE, protocol="cot")
    assert request_key("e", named) == request_key("e", BASE)
    assert request_key("e", named, "compat") != request_key("e", BASE, "compat")
    assert request_key("e", dataclasses.replace(BASE, step="metrics"), "compat") == request_key("e", BASE, "compat")


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_text_cannot_slip_from_one_field_into_the_next(a: str, b: str, c: str, d: str) -> None:
    one = ChatRequest("m", (Message("user", a), Message("user", b)))
    two = ChatRequest("m", (Message("user", c), Message("user", d)))
    assert (request_key("e", one) == request_key("e", two)) == ((a, b) == (c, d))


def test_keys_do_not_drift() -> None:
    assert request_key("api.openai.com", BASE) == "68aa47d6780a4087ff63a9b2e24f98aa"


def test_unset_sampling_is_not_sent() -> None:
    assert GREEDY.body == {"temperature": 0.0}
    body = Sampling(temperature=None, max_tokens=3, stop=("x",), logprobs=True, top_logprobs=5, extra={"k": 1}).body
    assert body == {"max_tokens": 3, "stop": ["x"], "logprobs": True, "top_logprobs": 5, "k": 1}


def test_an_answer_gives_all_its_texts() -> None:
    assert Answer("a", "stop", 1, 1, 0.0, False, "k").texts == ("a",)
    assert Answer("a", "stop", 1, 1, 0.0, False, "k", '{"texts": ["a", "b"]}').texts == ("a", "b")


def test_two_deployments_of_one_azure_account_are_two_endpoints() -> None:
    url = "https://mine.openai.azure.com/openai/deployments/{}?api-version=2024-06-01"
    names = {EndpointSpec(base_url=url.format(name), model="gpt-4o").endpoint_name for name in ("one", "two")}
    assert names == {f"mine.openai.azure.com/openai/deployments/{name}" for name in ("one", "two")}
    assert EndpointSpec(base_url="https://host.example/some/v1").endpoint_name == "host.example"


def test_a_stored_request_is_the_request_that_was_asked() -> None:
    sampling = Sampling(temperature=None, max_tokens=9, stop=("a",), extra={"reasoning_effort": "low"})
    request = ChatRequest("m", (Message("user", "é"),), sampling, 3, "p", "s")
    row = request_row(request, "k", endpoint=EndpointSpec(), study="", judge="")
    assert request_of(row) == request
