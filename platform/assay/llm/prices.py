"""What a call costs: a dated table of list prices, overridden by the endpoint's own fields. Pure.

An unknown model's cost is None ("price unknown"), never zero; our own servers and local models cost nothing. Whatever
else listens on this machine may be a proxy of somebody who bills.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from assay.llm.endpoint import EndpointSpec


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens, and where the figures come from."""

    usd_per_million_input: float
    usd_per_million_output: float
    source: str

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars for one call with this usage."""
        return (prompt_tokens * self.usd_per_million_input + completion_tokens * self.usd_per_million_output) / 1e6


def price_of(endpoint: EndpointSpec, model: str | None = None) -> Price | None:
    """The price of `model` (default the endpoint's) there; None where it is not known.

    The longest name of the table that starts `model` decides, so dated releases ("gpt-4o-2024-11-20") find their
    family; a name must end where the model's does or at one of "-", "@", ":".
    """
    name = model or endpoint.model
    if endpoint.usd_per_million_input is not None and endpoint.usd_per_million_output is not None:
        price = Price(endpoint.usd_per_million_input, endpoint.usd_per_million_output, "endpoint spec")
    elif endpoint.ours or endpoint.transport == "local":
        return Price(0.0, 0.0, "a server of ours" if endpoint.ours else "a model of this machine")
    else:
        found = _lookup(name)
        if found is None:
            return None
        price = found
    if endpoint.transport == "batch":
        share = float(_table()["batch_share"])
        return Price(
            price.usd_per_million_input * share, price.usd_per_million_output * share, price.source + ", batch"
        )
    return price


def table_date() -> str:
    """The day that the table's prices are from."""
    return str(_table()["date"])


def _lookup(model: str) -> Price | None:
    bare = model.rsplit("/", 1)[-1].lower()
    best = ""
    for name in _table()["models"]:
        fits = bare == name or (bare.startswith(name) and bare[len(name)] in "-@:")
        if fits and len(name) > len(best):
            best = name
    if not best:
        return None
    entry = _table()["models"][best]
    return Price(float(entry["input"]), float(entry["output"]), f"{entry['source']}, {table_date()}")


@cache
def _table() -> dict[str, Any]:
    text = files("assay.llm").joinpath("prices.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
