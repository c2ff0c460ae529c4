"""Rate-limit headers as providers spell them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.llm.limits.headers import duration_s, observe, wanted_headers


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("17", 17.0),
        ("0.5", 0.5),
        ("soon", None),
        ("3 apples", None),
        ("", None),
        ("nan", None),
        ("-4", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


@given(st.text(max_size=20))
def test_no_text_makes_a_duration_fail(text: str) -> None:
    found = duration_s(text)
    assert found is None or found >= 0


def test_openai_headers() -> None:
    seen = observe(
        200,
        {
            "x-ratelimit-limit-requests": "600",
            "x-ratelimit-remaining-requests": "599",
            "x-ratelimit-reset-requests": "100ms",
            "x-ratelimit-limit-tokens": "40000",
            "x-ratelimit-remaining-tokens": "39500",
            "x-ratelimit-reset-tokens": "750ms",
        },
    )
    assert (seen.requests_per_min, seen.tokens_per_min) == (600, 40000)
    assert (seen.remaining_requests, seen.remaining_tokens) == (599, 39500)
    assert not seen.rate_limited


def test_a_limit_per_day_is_no_limit_per_minute() -> None:
    # Groq's request limit counts days: 14,400 a day, one used, back in 6 s; after 30 uses back in 3 minutes
    day = {"x-ratelimit-limit-requests": "14400", "x-ratelimit-remaining-requests": "14370"}
    assert observe(200, {**day, "x-ratelimit-reset-requests": "2m59.56s"}).requests_per_min is None


def test_anthropic_headers_count_from_the_responses_own_date() -> None:
    seen = observe(
        429,
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:30Z",
            "retry-after": "Thu, 01 Jan 2026 00:00:12 GMT",
            "date": "Thu, 01 Jan 2026 00:00:00 GMT",
        },
    )
    assert (seen.requests_per_min, seen.retry_after_s, seen.rate_limited) == (50, 12.0, True)


def test_milliseconds_win_over_seconds() -> None:
    assert observe(429, {"retry-after-ms": "250", "retry-after": "1"}).retry_after_s == 0.25


def test_only_what_is_read_is_kept() -> None:
    raw = [(b"X-RateLimit-Limit-Requests", b"5"), (b"Set-Cookie", b"secret"), (b"Retry-After", b"2")]
    assert wanted_headers(raw) == {"x-ratelimit-limit-requests": "5", "retry-after": "2"}
