"""How requests can reach a model: the only list of transports, and what each of them needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator


@dataclass(frozen=True, slots=True)
class TransportKind:
    """One of them. What asks, opens or prices looks at these properties, never at the name."""

    name: str
    is_remote: bool = True
    """There is a URL, a key, a connection to try and a price; else a model in this process, which is free."""
    travels_in_files: bool = False
    """Requests go up in files of many and come back hours later, with books of their own."""
    price_share: str | None = None
    """Share of the price table that is paid, by its name there; None: the whole price."""

    @property
    def one_leads(self) -> bool:
        """Whether one request of a kind should go ahead and fill the endpoint's prompt cache for the others."""
        return not self.travels_in_files

    def width(self, num_requests: int, max_concurrency: int) -> int:
        """Requests under way at once: what travels in files travels together."""
        return num_requests if self.travels_in_files else min(max_concurrency, num_requests)


TRANSPORTS: Mapping[str, TransportKind] = {
    kind.name: kind
    for kind in (
        TransportKind("chat"),
        TransportKind("batch", travels_in_files=True, price_share="batch_share"),
        TransportKind("local", is_remote=False),
    )
}


def _known(name: str) -> str:
    if name not in TRANSPORTS:
        raise ValueError(f"expected one of {', '.join(TRANSPORTS)}")
    return name


TransportName = Annotated[str, AfterValidator(_known)]
