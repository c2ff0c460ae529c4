"""Which fault befalls a request: drawn from (seed, request hash, replicate, attempt), never by arrival. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from assay.judge_server.config import FAULTS, REFUSED_PARAMETERS
from assay.judge_server.rubric.draws import Draws

WRONG_FORMAT = (
    "The evaluation is complete.",
    "Both have their merits, and a fair comparison takes more context than is given here.",
    "| criterion | remark |\n| --- | --- |\n| grammar | fine |\n| relevance | fine |",
    "Sure! Happy to evaluate. What would you like to know first?",
)
UNPAID = ("flagged", "inner_error", "html", "stream", "quota", "retry_info", *REFUSED_PARAMETERS)
"""Faults that are answered instead of the request, and cost nothing."""
CUT_TOKENS = 64
"""Billed for an empty reply of a request that set no budget."""
DRAFT = "Output (a) is better at first sight. [[A]] Score: 1, or 1,1?"
REASONING_TOKENS = 150
"""Billed for thinking that usage tells in its total alone."""
REFUSAL = "I'm sorry, but I can't assist with that request."


def draw_fault(faults: Mapping[str, float], draws: Draws) -> str:
    """Name of the fault, or "" for none."""
    if not faults:
        return ""
    place = draws.uniform("fault")
    for name in FAULTS:
        share = faults.get(name, 0.0)
        if place < share:
            return name
        place -= share
    return ""


def wrong_format(draws: Draws) -> str:
    """A reply that answers nothing."""
    return WRONG_FORMAT[int(draws.uniform("wrong format") * len(WRONG_FORMAT))]


def refusal(fault: str, model: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """(status, body, headers) of one of the faults in `UNPAID`, in the words that endpoints use."""
    if fault == "stream":
        return 200, b'data: {"choices": [{"delta": {"content": "8"}}]}\n\n', [(b"content-type", b"text/event-stream")]
    if fault == "retry_info":  # as Gemini's compatible endpoint tells it: in a list, and in no header
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.1s"}]
        told = [{"error": {"code": 429, "message": "Resource exhausted.", "details": details}}]
        return 429, json.dumps(told).encode(), [(b"content-type", b"application/json")]
    if fault == "html":
        page = "<html><head><title>Sign in to the network</title></head><body></body></html>"
        return 200, page.encode(), [(b"content-type", b"text/html")]
    statuses = {"flagged": 403, "inner_error": 200, "quota": 429}
    errors: dict[str, dict[str, object]] = {
        "flagged": {"code": 403, "message": "Input flagged.", "metadata": {"reasons": ["violence"]}},
        "inner_error": {"code": 502, "message": "The upstream provider returned an error."},
        "quota": {
            "code": "rate_limit_exceeded",
            "message": f"Rate limit reached for {model}, requests per day.",
        },
        "max_tokens": {
            "message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "code": "unsupported_parameter",
        },
        "temperature": {
            "message": "Unsupported value: 'temperature'. Only the default (1) value is supported.",
            "code": "unsupported_value",
        },
        "top_logprobs": {"message": "Invalid value for 'top_logprobs': must be less than or equal to 5."},
    }
    body = json.dumps({"error": errors[fault]}).encode()
    return statuses.get(fault, 400), body, [(b"content-type", b"application/json")]
