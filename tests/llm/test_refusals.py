"""What a refusal is about: a row, a parameter, the account, the day; and what a 200 may hold."""

from __future__ import annotations

import json

import pytest

from assay.errors import EndpointError, LimitReached
from assay.llm.endpoint import EndpointSpec
from assay.llm.learned_parameters import LEAST_GROWN, LearnedParameters, not_honoured
from assay.llm.limits.headers import observe
from assay.llm.requests import ChatRequest, Message, Sampling
from assay.llm.transports.chat import Attempted, read_refusal, read_reply

SPEC = EndpointSpec(model="m")
DATE = "Sun, 29 Nov 2026 06:00:00 GMT"
SENT_MS = 1795932000000
"""The same moment in milliseconds since 1970."""


def refusal(status: int, error: object, headers: dict[str, str] | None = None, *, listed: bool = False) -> Attempted:
    body: object = {"error": error}
    return read_refusal(
        status, json.dumps([body] if listed else body).encode(), headers or {}, endpoint=SPEC, secret=""
    )


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, {"code": 403, "message": "m requires moderation", "metadata": {"reasons": ["violence"]}}),
        (403, {"message": "Your input was flagged by the moderation system."}),
        (400, {"message": "The response was filtered: the prompt triggers Azure OpenAI's content management policy."}),
        (400, {"code": "content_filter", "message": "no"}),
        (400, {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}),
    ],
)
def test_a_flagged_prompt_is_one_filtered_row(status: int, error: object) -> None:
    assert refusal(status, error).outcome == "filtered"


def test_only_a_403_about_the_key_or_the_account_stops_a_run() -> None:
    assert refusal(403, {"message": "This prompt cannot be served."}).outcome == "rejected"
    for words in ("Your API key has no access", "Project `p` does not have access to model `m`", "account deactivated"):
        assert isinstance(refusal(403, {"message": words}).error, EndpointError)
    assert isinstance(refusal(401, {"message": ""}).error, EndpointError)


@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        (403, "Your organization has been disabled for repeated violations of our usage policies", EndpointError),
        (403, "Your account was flagged", EndpointError),
        (400, "API key not valid. Please pass a valid API key.", EndpointError),
        (400, "Your credit balance is too low to access the API.", LimitReached),
    ],
)
def test_what_is_said_of_the_account_is_no_row_of_its_own(status: int, words: str, error: type[Exception]) -> None:
    found = refusal(status, {"message": words})
    assert (found.outcome, type(found.error)) == ("unusable", error)


def test_a_prompt_that_is_quoted_back_stops_no_run() -> None:
    for words in ("Invalid messages: 'API key not valid'", "Bad input: 'your credit balance is too low'"):
        assert refusal(400, {"message": words}).outcome == "rejected"
    told = {"message": "Your account requires moderation", "metadata": {"reasons": ["violence"]}}
    assert refusal(403, told).outcome == "filtered"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Rate limit reached for m on requests per day (RPD): Limit 200, Used 200.", "rate_limit_exceeded"),
        ("Rate limit exceeded: free-models-per-day.", ""),
    ],
)
def test_a_quota_of_the_day_stops_at_once(message: str, code: str) -> None:
    assert isinstance(refusal(429, {"message": message, "code": code}).error, LimitReached)


def test_googles_quota_ids_and_waits_are_read() -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}
    quota = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}
    waits = refusal(429, {"code": 429, "message": "quota", "details": [retry]}, listed=True)
    assert waits.outcome == "rate limited"
    assert observe(429, waits.headers).retry_after_s == 17.5
    assert isinstance(refusal(429, {"message": "quota", "details": [quota, retry]}).error, LimitReached)


def test_a_reset_that_is_a_time_is_no_count_of_seconds() -> None:
    inside = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(SENT_MS + 4000)}
    openrouter = refusal(429, {"code": 429, "message": "free", "metadata": {"headers": inside}}, {"date": DATE})
    assert observe(429, openrouter.headers).retry_after_s == pytest.approx(4.0)
    seconds = {"date": DATE, "retry-after": str(SENT_MS // 1000 + 9)}
    assert observe(429, seconds).retry_after_s == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, "rate limited"),
        ({"error": {"code": "503", "message": "overloaded"}}, "server error"),
        ({"error": "out of memory"}, "server error"),
        ({"error": {"code": 403, "message": "moderation", "metadata": {"reasons": ["x"]}}}, "filtered"),
        ({"choices": [{"error": {"code": 502, "message": "upstream"}, "message": {"content": ""}}]}, "server error"),
        ({"choices": [{"message": {"content": "half"}, "finish_reason": "error"}]}, "server error"),
    ],
)
def test_an_error_inside_a_200_goes_the_way_of_its_status(body: object, outcome: str) -> None:
    found = read_reply(json.dumps(body).encode(), {})
    assert found.outcome == outcome
    assert (found.http_status == 429) == (outcome == "rate limited")


def test_the_first_words_of_what_is_no_reply_are_shown() -> None:
    assert "<html><title>Sign in</title>" in read_reply(b"<html><title>Sign in</title>", {}).detail
    assert "data: {" in read_reply(b'data: {"choices": []}\n\n', {}).detail


def test_an_empty_reply_that_spent_its_budget_is_cut_and_says_what_to_do() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 64, "completion_tokens_details": {"reasoning_tokens": 64}}
    body = {"choices": [{"message": {"content": ""}, "finish_reason": "length"}], "usage": usage}
    found = read_reply(json.dumps(body).encode(), {})
    assert (found.outcome, found.reasoning_tokens) == ("cut", 64)
    assert "cut at 64 tokens" in found.detail and "max_reply_tokens" in found.detail


REQUEST = ChatRequest(
    "o3", (Message("user", "x"),), Sampling(temperature=0.1, max_tokens=64, logprobs=True, top_logprobs=20)
)


@pytest.mark.parametrize(
    ("detail", "field", "value"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_completion_tokens", 64),
        ("Unsupported value: 'temperature' does not support 0.1. Only the default is supported.", "temperature", None),
        ("HTTP 400: Invalid value for 'top_logprobs': must be less than or equal to 5.", "top_logprobs", 5),
        ("HTTP 400: temperature: Only the default (1) value is supported with this model.", "temperature", None),
        ("HTTP 400: temperature is not supported with this model.", "temperature", None),
        ("HTTP 422: Unknown field temperature", "temperature", None),
    ],
)  # fmt: skip
def test_a_refused_parameter_is_learned_once(detail: str, field: str, value: object) -> None:
    learned = LearnedParameters()
    assert learned.learn(REQUEST, 400, detail)
    assert learned.sent(REQUEST).sampling.body.get(field) == value
    assert "max_tokens" not in learned.sent(REQUEST).sampling.body or field != "max_completion_tokens"
    assert not learned.learn(REQUEST, 400, detail)  # what was not sent cannot be refused again: no circle
    assert not_honoured(REQUEST, learned.sent(REQUEST)) == ([] if field == "max_completion_tokens" else [field])
    assert learned.sent(ChatRequest("other", REQUEST.messages, REQUEST.sampling)).sampling == REQUEST.sampling


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (403, "HTTP 403: You are not allowed to request logprobs from this model."),
        (400, "HTTP 400: Unsupported parameter: 'logprobs' is not supported with this model."),
        (400, "HTTP 400: top_logprobs: Extra inputs are not permitted"),
    ],
)
def test_refused_log_probabilities_are_left_out_together(status: int, detail: str) -> None:
    learned = LearnedParameters()
    assert learned.learn(REQUEST, status, detail)
    sent = learned.sent(REQUEST)
    assert not {"logprobs", "top_logprobs"} & sent.sampling.body.keys()
    assert not_honoured(REQUEST, sent) == ["logprobs", "top_logprobs"]


def test_what_was_not_honoured_is_told_of_the_request_that_was_sent() -> None:
    learned = LearnedParameters()
    sent = learned.sent(REQUEST)
    learned.learn(REQUEST, 400, "HTTP 400: Unsupported value: 'temperature'")  # of another request, meanwhile
    assert not_honoured(REQUEST, sent) == []


@pytest.mark.parametrize(
    "detail",
    [
        "HTTP 400: This model's maximum context length is 8192 tokens",
        "HTTP 400: max_tokens is too large: 64. This model supports at most 32 completion tokens",
        "HTTP 400: moderation",
        "HTTP 400: Invalid prompt: raise the temperature and stop, then seed the field.",
        "HTTP 400: Invalid 'messages': your prompt must be at most 9 lines about temperature logprobs",
    ],
)
def test_other_refusals_teach_nothing(detail: str) -> None:
    learned = LearnedParameters()
    assert not learned.learn(REQUEST, 400, detail)
    assert learned.sent(REQUEST) is REQUEST


def test_the_budget_of_a_model_that_thinks_grows_once_unless_it_was_told() -> None:
    learned = LearnedParameters()
    assert learned.grow(REQUEST) and not learned.grow(REQUEST)
    assert learned.sent(REQUEST).sampling.max_tokens == LEAST_GROWN
    assert not_honoured(REQUEST, learned.sent(REQUEST)) == ["max_tokens"]
    assert not LearnedParameters(may_grow=False).grow(REQUEST)
