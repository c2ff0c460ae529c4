"""What a call costs: a dated table of list prices, overridden by the endpoint's own fields. Pure.

An unknown model's cost is None ("price unknown"), never zero; our own servers and local models cost nothing. Whatever
else listens on this machine may be a proxy of somebody who bills.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from assay.errors import ConfigError
from assay.llm.endpoint import EndpointSpec

OLD_DAYS = 180
"""Age of the table from which its prices are doubted."""
_RELEASE = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|00\d|latest)|-v\d(?::\d)?")


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens, and where the figures come from."""

    usd_per_million_input: float
    usd_per_million_output: float
    source: str
    usd_per_million_cached: float | None = None
    """Of prompt tokens that the endpoint had cached; None: as the others."""
    is_of_table: bool = False
    """Whether it is a list price of the package's own table, which grows old."""

    def usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Dollars for one call with this usage; `cached_tokens` are part of `prompt_tokens`."""
        plain = self.usd_per_million_input
        cached = plain if self.usd_per_million_cached is None else self.usd_per_million_cached
        fresh = prompt_tokens - cached_tokens
        return (fresh * plain + cached_tokens * cached + completion_tokens * self.usd_per_million_output) / 1e6


def price_of(endpoint: EndpointSpec, model: str | None = None) -> Price | None:
    """The price of `model` (default the endpoint's) there; None where it is not known.

    A model's price is its own: after a name of the table only a date or a version may follow ("gpt-4o-2024-11-20"),
    so o3-pro is not o3; a release with another price than its family has a line of its own. At OpenRouter ":free" is
    free. A price map of the endpoint goes before the table.

    Raises:
        ConfigError: the price map cannot be read.
    """
    name = model or endpoint.model
    if endpoint.usd_per_million_input is not None and endpoint.usd_per_million_output is not None:
        price = Price(
            endpoint.usd_per_million_input,
            endpoint.usd_per_million_output,
            "endpoint spec",
            endpoint.usd_per_million_cached,
        )
    elif endpoint.ours or not endpoint.kind.is_remote:
        return Price(0.0, 0.0, "a server of ours" if endpoint.ours else "a model of this machine")
    else:
        mapped = None if endpoint.price_map is None else _in_map(endpoint.price_map, name)
        found = mapped or _lookup(name, is_openrouter=endpoint.host.endswith("openrouter.ai"))
        if found is None:
            return None
        price = found
    if endpoint.kind.price_share is not None:
        share = float(_table()[endpoint.kind.price_share])
        return Price(
            price.usd_per_million_input * share,
            price.usd_per_million_output * share,
            f"{price.source}, {endpoint.kind.name}",
            None if price.usd_per_million_cached is None else price.usd_per_million_cached * share,
            price.is_of_table,
        )
    return price


def table_date() -> str:
    """The day that the table's prices are from."""
    return str(_table()["date"])


def age_warning(price: Price | None, today: date) -> str:
    """One line where a price is of the table and the table is old; else empty."""
    if price is None or not price.is_of_table:
        return ""
    days = (today - date.fromisoformat(table_date())).days
    if days <= OLD_DAYS:
        return ""
    return (
        f"prices are of {table_date()}, {days} days ago, and may have moved: set judge.usd_per_million_input and "
        "judge.usd_per_million_output, or judge.price_map"
    )


def _in_map(path: str, model: str) -> Price | None:
    """The price of a model in LiteLLM's map, under its full name or the one behind the last slash."""
    table = _map_of(path)
    for name in (model, model.lower(), model.rsplit("/", 1)[-1].lower()):
        entry = table.get(name)
        if not isinstance(entry, dict):
            continue
        given, taken, cached = (_per_million(entry, name) for name in _MAP_FIELDS)
        if given is not None and taken is not None:
            return Price(given, taken, f"price map {path}", cached)
    return None


_MAP_FIELDS = ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")


def _per_million(entry: dict[str, Any], name: str) -> float | None:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        return None
    return float(value) * 1e6


@cache
def _map_of(path: str) -> dict[str, Any]:
    try:
        table = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"judge.price_map {path}: cannot be read ({reason}); expected LiteLLM's JSON map") from None
    if not isinstance(table, dict):
        raise ConfigError(f"judge.price_map {path}: saw a {type(table).__name__}; expected an object by model")
    return table


def _lookup(model: str, *, is_openrouter: bool) -> Price | None:
    bare = model.rsplit("/", 1)[-1].lower()
    if is_openrouter and bare.endswith(":free"):
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
        is_of_table=True,
    )


def _is_release(model: str, family: str) -> bool:
    """Whether a model is of this name, or a dated or numbered release of it."""
    return model == family or (model.startswith(family) and _RELEASE.fullmatch(model[len(family) :]) is not None)


@cache
def _table() -> dict[str, Any]:
    text = files("assay.llm").joinpath("prices.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
