"""What the headers of a response say about rate limits. Pure.

Read are OpenAI's family (`x-ratelimit-limit-requests`, `-remaining-`, `-reset-`, the same for tokens; Azure, Groq, vLLM
gateways and many others send it), Anthropic's (`anthropic-ratelimit-requests-limit`, reset as a date), `retry-after`
(seconds or a date), `retry-after-ms`, and OpenRouter's `x-ratelimit-reset` (milliseconds since 1970).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_MINUTE_S = 90.0
"""A limit whose reset lies further away than this does not count requests per minute but per hour or day."""
EPOCH_FROM_S = 1e9
"""A count of seconds from here on is a time: September 2001, or a wait of 31 years."""
_WANTED = (b"x-ratelimit-", b"anthropic-ratelimit-", b"retry-after", b"date")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|s|m|h|d)")
_UNIT_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Observation:
    """What one response said about the endpoint's limits; None where it said nothing."""

    rate_limited: bool = False
    """Whether it was an answer 429."""
    retry_after_s: float | None = None
    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    remaining_requests: float | None = None
    remaining_tokens: float | None = None


def wanted_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers that `observe` reads, lower-case, out of all that a response has."""
    found = {}
    for name, value in raw:
        lower = name.lower()
        if lower.startswith(_WANTED):
            found[lower.decode("latin-1")] = value.decode("latin-1")
    return found


def observe(status: int | None, headers: Mapping[str, str]) -> Observation:
    """Read a response. `headers` have lower-case names."""
    requests, remaining_requests = _limit(headers, "requests")
    tokens, remaining_tokens = _limit(headers, "tokens")
    return Observation(
        rate_limited=status == 429,
        retry_after_s=_retry_after(headers),
        requests_per_min=requests,
        tokens_per_min=tokens,
        remaining_requests=remaining_requests,
        remaining_tokens=remaining_tokens,
    )


def duration_s(text: str) -> float | None:
    """Seconds in "6m0s", "120ms", "1h2m3.5s", "17" or "0.5"; None for anything else."""
    text = text.strip().lower()
    plain = _number(text)
    if plain is not None:
        return plain
    parts = _DURATION.findall(text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        return None
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in parts)


def _limit(headers: Mapping[str, str], kind: str) -> tuple[float | None, float | None]:
    limit = _number(headers.get(f"x-ratelimit-limit-{kind}") or headers.get(f"anthropic-ratelimit-{kind}-limit"))
    if limit is None or limit <= 0:
        return None, None
    remaining = _number(
        headers.get(f"x-ratelimit-remaining-{kind}") or headers.get(f"anthropic-ratelimit-{kind}-remaining")
    )
    reset = headers.get(f"x-ratelimit-reset-{kind}") or headers.get(f"anthropic-ratelimit-{kind}-reset")
    reset_s = _until(reset, headers) if reset else None
    if reset_s is not None and reset_s > LONGEST_MINUTE_S:
        return None, None
    return limit, remaining


def _retry_after(headers: Mapping[str, str]) -> float | None:
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return max(0.0, millis / 1000)
    text = headers.get("retry-after")
    if text is None and _number(headers.get("x-ratelimit-remaining")) == 0:
        text = headers.get("x-ratelimit-reset")  # OpenRouter's, without a kind
    seconds = _until(text, headers) if text else None
    return None if seconds is None else max(0.0, seconds)


def _until(text: str, headers: Mapping[str, str]) -> float | None:
    """Seconds from the response's own date to a duration or a date, so that a wrong clock here does no harm."""
    epoch = _epoch(text)
    seconds = duration_s(text) if epoch is None else None
    if seconds is not None:
        return seconds
    when = _date(text) if epoch is None else epoch
    if when is None:
        return None
    sent = _date(headers.get("date", "")) or datetime.now(UTC)
    return (when - sent).total_seconds()


def _epoch(text: str) -> datetime | None:
    """A time told in seconds or milliseconds since 1970, which no wait in seconds is as long as."""
    try:
        value = float(text)
    except ValueError:
        return None
    if EPOCH_FROM_S <= value < 1e11:
        return datetime.fromtimestamp(value, UTC)
    if EPOCH_FROM_S * 1e3 <= value < 1e14:
        return datetime.fromtimestamp(value / 1e3, UTC)
    return None


def _date(text: str) -> datetime | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = parse(text)
        except (ValueError, TypeError):
            continue
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e12 else None
