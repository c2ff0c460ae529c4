"""Transports by what they need: a new one is a line in a table, and everything that asks, opens or prices follows."""

from __future__ import annotations

import pytest

from assay.config import validate
from assay.errors import ConfigError
from assay.llm import transport_kind
from assay.llm.endpoint import EndpointSpec, Reach
from assay.llm.prices import price_of
from assay.llm.transport_kind import TRANSPORTS, TransportKind


def test_an_unknown_transport_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"transport.*'post'.*chat, batch, local"):
        validate(Reach, {"transport": "post"}, "judge")


def test_files_hold_all_requests_and_others_as_many_as_may_be_under_way() -> None:
    widths = {name: kind.width(500, 64) for name, kind in TRANSPORTS.items()}
    assert widths == {"chat": 64, "batch": 500, "local": 64}
    assert TRANSPORTS["chat"].width(3, 64) == 3


def test_a_new_transport_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    flex = TransportKind("flex", price_share="batch_share")
    monkeypatch.setattr(transport_kind, "TRANSPORTS", {**TRANSPORTS, "flex": flex})
    monkeypatch.setattr("assay.llm.endpoint.TRANSPORTS", {**TRANSPORTS, "flex": flex})
    asked = validate(EndpointSpec, {"transport": "flex", "model": "gpt-4o-mini"}, "judge")
    plain, batch = (price_of(asked.replace(transport=name)) for name in ("chat", "batch"))
    half = price_of(asked)
    assert asked.kind is flex and plain is not None and batch is not None and half is not None
    assert half.usd_per_million_input == batch.usd_per_million_input == plain.usd_per_million_input / 2
    assert half.source.endswith("flex")
