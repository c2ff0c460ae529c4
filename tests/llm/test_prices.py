"""Prices: unknown is unknown, local is free, dated releases find their family."""

from __future__ import annotations

import asyncio
import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.llm.endpoint import EndpointSpec
from assay.llm.ledger.call_rows import told_beside, usd_of
from assay.llm.opening import open_gateway, tell_price_age
from assay.llm.prices import OLD_DAYS, _map_of, age_warning, price_of, table_date
from assay.llm.requests import ChatRequest, Message, Sampling
from assay.llm.token_estimate import TokenEstimate
from assay.llm.transports.chat import Attempted, read_reply


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("gpt-4o-2024-11-20", 2.5),
        ("gpt-4o-mini", 0.15),
        ("openai/gpt-4o-mini-2024-07-18", 0.15),
        ("gpt-4", 30.0),
        ("gpt-4-0314", 30.0),
    ],
)
def test_dated_releases_find_their_family(model: str, price: float) -> None:
    found = price_of(EndpointSpec(model=model))
    assert found is not None
    assert found.usd_per_million_input == price
    assert table_date() in found.source


@pytest.mark.parametrize("model", ["gpt-4omega", "my-finetune", "gpt"])
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert price_of(EndpointSpec(model=model)) is None


def test_the_spec_wins_and_batches_cost_half() -> None:
    spec = EndpointSpec(model="x", usd_per_million_input=2.0, usd_per_million_output=4.0)
    price = price_of(spec)
    assert price is not None
    assert price.usd(1_000_000, 500_000) == 4.0
    half = price_of(spec.replace(transport="batch"))
    assert half is not None
    assert half.usd(1_000_000, 500_000) == 2.0


def test_a_local_model_is_free_and_so_is_our_own_server() -> None:
    ours = EndpointSpec(base_url="http://127.0.0.1:1/v1", model="anything", ours=True)
    for spec in (ours, EndpointSpec(transport="local", model="anything")):
        price = price_of(spec)
        assert price is not None
        assert price.usd(10**6, 10**6) == 0


def test_what_listens_on_this_machine_may_pass_on_to_somebody_who_bills() -> None:
    assert price_of(EndpointSpec(base_url="http://127.0.0.1:1/v1", model="anything")) is None
    price = price_of(EndpointSpec(base_url="http://127.0.0.1:1/v1", model="gpt-4o"))
    assert price is not None
    assert price.usd_per_million_input == 2.5


def test_a_cap_without_a_price_is_refused(tmp_path: object) -> None:
    with pytest.raises(ConfigError, match="price of 'mystery'"):
        open_gateway(
            EndpointSpec(model="mystery"), ledger_url=f"sqlite:///{tmp_path}/l.db", budget_usd=1.0, limiter="process"
        )


def test_estimates_settle_on_what_usage_reports() -> None:
    request = ChatRequest("m", (Message("user", "x" * 3000),), Sampling(max_tokens=500))
    estimate = TokenEstimate()
    # 4 characters a token, 4 tokens for the message, 64 for a reply of unknown length
    assert estimate.tokens(request) == 3000 // 4 + 4 + 64
    for _ in range(200):
        estimate.learn(request, Attempted("answered", 200, {}, prompt_tokens=1004, completion_tokens=20))
    assert estimate.tokens(request) == pytest.approx(1024, abs=2)


@pytest.mark.parametrize("url", ["ftp://x/v1", "nonsense", "https://user:pw@host/v1"])
def test_bad_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected a URL"):
        EndpointSpec(base_url=url)


def test_a_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(Exception, match="OPENAI_API_KEY"):
        EndpointSpec().api_key()
    assert EndpointSpec(base_url="http://localhost:8000/v1").api_key() == "none"


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("o3-pro", 20.0),
        ("gpt-4o-2024-05-13", 5.0),
        ("o3", 2.0),
        ("gpt-3.5-turbo-0301", 1.5),
        ("gpt-3.5-turbo-1106", 1.0),
        ("gpt-3.5-turbo-16k-0613", 3.0),
        ("gpt-3.5-turbo-0125", 0.5),
        ("gpt-4.1-mini-2025-04-14", 0.4),
    ],
)
def test_a_models_price_is_its_own(model: str, price: float) -> None:
    found = price_of(EndpointSpec(model=model))
    assert found is not None and found.usd_per_million_input == price


def test_a_free_variant_is_free_at_openrouter_alone() -> None:
    at_openrouter = price_of(EndpointSpec(base_url="https://openrouter.ai/api/v1", model="meta/llama:free"))
    assert at_openrouter is not None and at_openrouter.usd(10**6, 10**6) == 0
    assert price_of(EndpointSpec(base_url="https://other.example/v1", model="meta/llama:free")) is None


def test_prices_of_an_old_table_are_doubted_and_told_ones_are_not() -> None:
    listed, told = (
        price_of(EndpointSpec(model="gpt-4o")),
        EndpointSpec(usd_per_million_input=1, usd_per_million_output=1),
    )
    of_table = date.fromisoformat(table_date())
    assert age_warning(listed, of_table + timedelta(OLD_DAYS)) == ""
    assert f"{OLD_DAYS + 1} days ago" in age_warning(listed, of_table + timedelta(OLD_DAYS + 1))
    assert age_warning(price_of(told), of_table + timedelta(10_000)) == ""
    assert age_warning(None, of_table + timedelta(10_000)) == ""


@pytest.mark.parametrize("transport", ["chat", "batch"])
def test_an_old_table_is_told_whichever_way_requests_go(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("assay.llm.prices.OLD_DAYS", -100_000)
    tell_price_age.cache_clear()
    spec = EndpointSpec(model="gpt-4o", transport=transport)

    async def begin() -> None:
        await open_gateway(spec, ledger_url=f"sqlite:///{tmp_path}/l.db", limiter="process").close()

    asyncio.run(begin())
    tell_price_age.cache_clear()
    assert f"prices are of {table_date()}" in caplog.text


def test_a_price_map_goes_before_the_table(tmp_path: Path) -> None:
    entry = {"input_cost_per_token": 3e-6, "output_cost_per_token": 9e-6, "cache_read_input_token_cost": 1e-6}
    (tmp_path / "map.json").write_text(json.dumps({"gpt-4o": entry, "broken": {"input_cost_per_token": "3"}}))
    spec = EndpointSpec(model="openai/gpt-4o", price_map=str(tmp_path / "map.json"))
    price = price_of(spec)
    assert price is not None and price.usd(1_000_000, 1_000_000, 500_000) == pytest.approx(0.5 * 3 + 0.5 * 1 + 9)
    assert price_of(spec, "broken") is None
    listed = price_of(spec, "o3")
    assert listed is not None and listed.usd_per_million_input == 2.0
    for content in ("[", "[1]"):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(ConfigError, match=r"price_map .*bad\.json"):
            price_of(spec.replace(price_map=str(tmp_path / "bad.json")))
        (tmp_path / "bad.json").unlink()
        _map_of.cache_clear()


@pytest.mark.parametrize("model", ["gpt-4o-audio-preview", "o3-deep-research", "gpt-5-pro", "gpt-4o-mini:extended"])
def test_another_model_of_the_family_has_no_price(model: str) -> None:
    assert price_of(EndpointSpec(model=model)) is None


def test_planted_usage_is_booked_to_the_cent() -> None:
    usage = {
        "prompt_tokens": 1_000_000,
        "completion_tokens": 100_000,
        "total_tokens": 1_300_000,
        "prompt_tokens_details": {"cached_tokens": 600_000},
    }
    body = {"choices": [{"message": {"content": "b"}, "finish_reason": "stop"}], "usage": usage}
    exchange = read_reply(json.dumps(body).encode(), {})
    price = price_of(EndpointSpec(model="gpt-4o"))
    # 400,000 fresh at 2.50, 600,000 cached at 1.25, 300,000 out at 10, of them 200,000 thought outside of completion
    assert usd_of(exchange, price) == pytest.approx(0.4 * 2.5 + 0.6 * 1.25 + 0.3 * 10.0)


def test_a_reply_without_usage_costs_what_we_estimate_and_says_so() -> None:
    exchange = read_reply(json.dumps({"choices": [{"message": {"content": "b"}}]}).encode(), {})
    price = price_of(EndpointSpec(model="gpt-4o"))
    assert usd_of(exchange, price, 0.25) == 0.25
    assert json.loads(told_beside(exchange, price, (), 0.25).extra) == {"usd": "estimated"}
    assert usd_of(Attempted("server error", 503, {}), price, 0.25) is None
