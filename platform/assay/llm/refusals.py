"""What an endpoint's refusal is about: this row, this parameter, the account, or the day. Pure.

Only what speaks of the key or the account may stop a run; a flagged prompt is one row's affair.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

_ACCOUNT = re.compile(
    r"api[ _-]?key|invalid[_ ]key|unauthori[sz]ed|authenticat|credential|\btoken (?:is )?(?:invalid|expired)"
    r"|account|organi[sz]ation|billing|subscription|permission|not (?:have )?access|access (?:was )?denied"
    r"|country|region|project",
    re.IGNORECASE,
)
_NO_KEY = re.compile(r"\s{0,9}API key not valid\b", re.IGNORECASE)
"""Google's 400 for a key that it does not know."""
_NO_CREDIT = re.compile(r"\s{0,9}Your credit balance is too low\b", re.IGNORECASE)
"""Anthropic's 400 for an account without money. Both at the beginning: a refusal may quote the prompt further on."""
_FLAGGED = re.compile(
    r"content[_ -]?(?:filter|polic|management)|moderation|\bflagged\b|responsible[_ ]?ai|usage polic"
    r"|safety (?:system|reasons)"
    r"|\bprohibited_content\b|data_inspection_failed|sensitive content",
    re.IGNORECASE,
)
_DAILY = re.compile(
    r"per[-_ ]?day\b|PerDay|\(RPD\)|\(TPD\)|daily (?:limit|quota)|free-models-per-day|insufficient_quota"
)
_RETRY_IN = re.compile(r"^(\d{1,9}(?:\.\d{1,9})?)s$")


Subject = Literal["prompt", "account", "credit", ""]
"""What a refusal is about; empty where it is none of these."""


def subject_of(status: int, code: str, message: str, body: Any) -> Subject:
    """Whether a refusal is of this prompt, or of the key, the account or its credit, which every row would meet.

    An account is flagged and has usage policies too, so what a 403 says of one goes before such wording.

    Args:
        status: of the response.
        code: the error's code and type.
        message: the error's own words.
        body: the parsed body; OpenRouter tells the reasons against a prompt in `error.metadata.reasons`.
    """
    if status == 401:
        return "account"
    if status not in (400, 403, 422, 451):
        return ""
    metadata = _inner(body).get("metadata")
    if isinstance(metadata, dict) and metadata.get("reasons"):
        return "prompt"
    words = f"{code} {message[:2000]}"
    if status == 403 and _ACCOUNT.search(words):
        return "account"
    if status == 400 and _NO_KEY.match(message):
        return "account"
    if status == 400 and _NO_CREDIT.match(message):
        return "credit"
    return "prompt" if _FLAGGED.search(words) else ""


def is_daily(code: str, message: str, body: Any) -> bool:
    """Whether a 429 is about a quota of the day: waiting minutes does not help."""
    details = _inner(body).get("details")
    ids = json.dumps(details)[:4000] if isinstance(details, list) else ""
    return _DAILY.search(f"{code} {message[:2000]} {ids}") is not None


def retry_info_s(body: Any) -> float | None:
    """Seconds in Google's RetryInfo (`error.details[].retryDelay`, as in "17s"); None without one."""
    details = _inner(body).get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        found = _RETRY_IN.match(delay) if isinstance(delay, str) else None
        if found is not None:
            return float(found[1])
    return None


def headers_inside(body: Any) -> dict[str, str]:
    """Rate limit headers that OpenRouter repeats in `error.metadata.headers`, lower-case."""
    metadata = _inner(body).get("metadata")
    told = metadata.get("headers") if isinstance(metadata, dict) else None
    if not isinstance(told, dict):
        return {}
    return {
        str(name).lower(): str(value) for name, value in told.items() if str(name).lower().startswith("x-ratelimit-")
    }


def error_in(data: Any) -> dict[str, Any] | None:
    """The error object inside a body that came with status 200, at the top or in its first choice; None without one."""
    if not isinstance(data, dict):
        return None
    error = data.get("error")
    if not error:
        choices = data.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        error = first.get("error") if isinstance(first, dict) else None
    if not error:
        return None
    return error if isinstance(error, dict) else {"message": str(error)}


def status_in(error: dict[str, Any]) -> int:
    """The status that an error inside a 200 stands for: its code where that is one, else 500."""
    code = error.get("code", error.get("status"))
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
        return code
    if isinstance(code, str) and ("rate_limit" in code or code == "RESOURCE_EXHAUSTED"):
        return 429
    return 500


def _inner(body: Any) -> dict[str, Any]:
    if isinstance(body, list) and body:  # Gemini's compatible endpoint wraps its error in a list
        body = body[0]
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}
