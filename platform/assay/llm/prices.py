"""What a call costs: a dated table of list prices, overridden by the endpoint's own fields. Pure.

An unknown model's cost is None ("price unknown"), never zero; our own servers and local models cost nothing. Whatever
else listens on this machine may be a proxy of somebody who bills.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from assay.llm.endpoint import EndpointSpec

_RELEASE = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|00\d|latest)|-v\d(?::\d)?")


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens, and where the figures come from."""

    usd_per_million_input: float
    usd_per_million_output: float
    source: str
    usd_per_million_cached: float | None = None
    """Of prompt tokens that the endpoint had cached; None: as the others."""

    def usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Dollars for one call with this usage; `cached_tokens` are part of `prompt_tokens`."""
        plain = self.usd_per_million_input
        cached = plain if self.usd_per_million_cached is None else self.usd_per_million_cached
        fresh = prompt_tokens - cached_tokens
        return (fresh * plain + cached_tokens * cached + completion_tokens * self.usd_per_million_output) / 1e6


def price_of(endpoint: EndpointSpec, model: str | None = None) -> Price | None:
    """The price of `model` (default the endpoint's) there; None where it is not known.

    A model's price is its own: after a name of the table only a date or a version may follow ("gpt-4o-2024-11-20"),
    so o3-pro is not o3; a release with another price than its family has a line of its own. OpenRouter's ":free" is
    free.
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
            price.usd_per_million_input * share,
            price.usd_per_million_output * share,
            price.source + ", batch",
            None if price.usd_per_million_cached is None else price.usd_per_million_cached * share,
        )
    return price


def table_date() -> str:
    """The day that the table's prices are from."""
    return str(_table()["date"])


def _lookup(model: str) -> Price | None:
    bare = model.rsplit("/", 1)[-1].lower()
    if bare.endswith(":free"):
        return Price(0.0, 0.0, "a free variant")
    models = _table()["models"]
    best = max((name for name in models if _is_release(bare, name)), key=len, default="")
    if not best:
        return None
    entry = models[best]
    cached = entry.get("cached")
    return Price(
        float(entry["input"]),
        float(entry["output"]),
        f"{entry['source']}, {table_date()}",
        None if cached is None else float(cached),
    )


def _is_release(model: str, family: str) -> bool:
    """Whether a model is of this name, or a dated or numbered release of it."""
    return model == family or (model.startswith(family) and _RELEASE.fullmatch(model[len(family) :]) is not None)


@cache
def _table() -> dict[str, Any]:
    text = files("assay.llm").joinpath("prices.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
