"""Which endpoint is asked, under which limits. The key itself is never part of a spec: only its variable's name."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import urllib.request
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, field_validator

from assay.config import NOT_IDENTITY, Config, Later
from assay.errors import EndpointError
from assay.llm.local_model import LocalModel, local_endpoint_name
from assay.llm.transport_kind import TRANSPORTS, TransportKind, TransportName
from assay.records import Mode

AZURE_QUERY = "api-version"
OPENAI_URL = "https://api.openai.com/v1"
_OUR_NAME = re.compile(r"assay-[A-Za-z0-9._-]{1,100}")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class BatchLimits(Config):
    """What of ours may be in a provider's batch API at once."""

    max_rows: int = Field(20_000, ge=1)
    """Requests per file; providers allow 50,000."""
    max_enqueued_tokens: int | None = Field(None, ge=1)
    """Estimated tokens of all batches of a run that are not over. None: what the provider says when its queue is
    full."""


class Reach(Config):
    """How an endpoint is reached and paid: the same fields on every door, never what a judge is.

    Doors have defaults of their own. `step_headers` is no part of a study's key, and part of the ledger's.
    """

    base_url: Annotated[str | None, NOT_IDENTITY] = None
    """URL of an OpenAI-compatible endpoint, up to and with `/v1`."""
    api_key_env: Annotated[str, NOT_IDENTITY] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; keys are never arguments or fields. Loopback servers need
    none."""
    transport: Annotated[TransportName, NOT_IDENTITY] = "chat"
    """chat completions; the provider's batch files (half the price, hours); a local model through vLLM."""
    local: Annotated[LocalModel, NOT_IDENTITY] = LocalModel()
    """How the model is loaded, with `transport=local`."""
    batch: Annotated[BatchLimits, NOT_IDENTITY] = BatchLimits()
    """How much goes up at once, with `transport=batch`."""
    requests_per_min: Annotated[float | None, NOT_IDENTITY] = Field(None, gt=0)
    """Limit over all workers that is kept to in any case. None: what the endpoint's headers and 429s say."""
    tokens_per_min: Annotated[float | None, NOT_IDENTITY] = Field(None, gt=0)
    """Likewise, prompt and reply together."""
    max_concurrency: Annotated[int, NOT_IDENTITY] = Field(256, ge=1)
    """Requests in flight, over all workers."""
    timeout_s: Annotated[float, NOT_IDENTITY] = Field(120.0, gt=0)
    """For one attempt, connecting and reading the whole body included."""
    max_attempts: Annotated[int, NOT_IDENTITY] = Field(6, ge=1)
    """Per request. An answer 429 is no attempt in this sense: it only waits, unless the request is above the limit."""
    give_up_s: Annotated[float, NOT_IDENTITY] = Field(180.0, gt=0)
    """An endpoint that has answered nothing for so long while asked is taken for down; a request that it has answered
    with nothing but 429 for so long, while it served others, fails."""
    step_headers: Annotated[bool | None, NOT_IDENTITY] = None
    """Send X-Assay-Protocol, X-Assay-Step, X-Assay-Replicate and X-Assay-Attempt. None: to servers of ours. Where they
    are sent a reply may depend on them, so the ledger's keys cover the protocol."""
    max_tokens_field: Annotated[Literal["max_tokens", "max_completion_tokens"], NOT_IDENTITY] = "max_tokens"
    """How this endpoint calls the longest reply; OpenAI's reasoning models want the second."""
    usd_per_million_input: Annotated[float | None, NOT_IDENTITY] = Field(None, ge=0)
    """Price of prompt tokens. None: the table in `prices`, where the model is unknown the cost is unknown."""
    usd_per_million_output: Annotated[float | None, NOT_IDENTITY] = Field(None, ge=0)
    """Price of reply tokens; give both or none."""
    usd_per_million_cached: Annotated[float | None, NOT_IDENTITY] = Field(None, ge=0)
    """Price of prompt tokens that the endpoint had cached, beside the other two. None: as the others."""
    price_map: Annotated[str | None, NOT_IDENTITY] = None
    """File in the form of LiteLLM's model_prices_and_context_window.json, asked before the table; workers read it
    too."""

    @property
    def kind(self) -> TransportKind:
        """What the transport needs."""
        return TRANSPORTS[self.transport]

    def reach(self) -> dict[str, Any]:
        """Every field of `Reach` that says something, for another config of this kind."""
        found = {name: getattr(self, name) for name in Reach.model_fields}
        return {name: value for name, value in found.items() if value is not None}


class ReplySettings(Config):
    """What is asked of a model's replies beyond what a protocol says; part of every key where it is set."""

    max_reply_tokens: Annotated[int | None, Later(None)] = Field(None, ge=1)
    """Longest reply, in tokens, thinking included. None: the protocol's, and more where the endpoint reports that the
    model spent it on reasoning."""
    reasoning_effort: Annotated[Literal["minimal", "low", "medium", "high"] | None, Later(None)] = None
    """Sent to reasoning models. None: the endpoint's default."""

    def reply_settings(self) -> dict[str, Any]:
        """Those that are set."""
        found = {name: getattr(self, name) for name in ReplySettings.model_fields}
        return {name: value for name, value in found.items() if value is not None}


class EndpointSpec(Reach, ReplySettings):
    """An OpenAI-compatible endpoint and the model that is asked there."""

    base_url: str = OPENAI_URL
    """URL up to and with `/v1`."""
    name: str | None = None
    """Names the endpoint in ledger keys. Default: host (and port) of `base_url`, at Azure with the deployment. A server
    of ours tells a name of its own with the hash of its rules or replay files, so that its port does not matter
    (`with_reported_name`)."""
    model: str = "gpt-4o-mini"
    """Sent to the endpoint; with `transport=local` a model folder or a hub id."""
    ours: bool = False
    """A server of this project, which reads the step headers and costs nothing. `with_reported_name` finds out."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected a URL such as https://api.openai.com/v1")
        if parts.username or parts.password:
            raise ValueError("expected a URL without a key in it; put the key into the environment")
        if parts.query and set(parse_qs(parts.query, keep_blank_values=True)) != {AZURE_QUERY}:
            raise ValueError(
                f"saw a query ({parts.query}); expected none, or Azure's {AZURE_QUERY} alone; leave it out"
            )
        return url.rstrip("/")

    @property
    def azure_version(self) -> str | None:
        """The `api-version` of Azure's classic URL (.../openai/deployments/NAME?api-version=...); None for others."""
        return next(iter(parse_qs(urlsplit(self.base_url).query).get(AZURE_QUERY, [])), None)

    @property
    def host(self) -> str:
        """Host, with the port where one is given."""
        return urlsplit(self.base_url).netloc

    @property
    def endpoint_name(self) -> str:
        """What ledger keys call this endpoint. Of Azure's classic URL the deployment too: it is what answers there."""
        if self.name is None and not self.kind.is_remote:
            return local_endpoint_name(self.model, self.local.numbers)
        if self.name is None and self.azure_version is not None:
            return self.host + urlsplit(self.base_url).path
        return self.name or self.host

    @property
    def is_local(self) -> bool:
        """Whether it listens on this machine's loopback."""
        return not self.kind.is_remote or urlsplit(self.base_url).hostname in LOOPBACK

    @property
    def sends_step_headers(self) -> bool:
        """`step_headers`, decided."""
        return self.ours if self.step_headers is None else self.step_headers

    def key_mode(self, mode: Mode) -> Mode:
        """The mode for `request_key`: a reply that may depend on the protocol is that protocol's own."""
        return "compat" if self.sends_step_headers else mode

    def api_key(self) -> str:
        """The key, from the environment.

        Raises:
            EndpointError: the variable is not set and the endpoint is not a local one.
        """
        key = os.environ.get(self.api_key_env, "").strip()
        if key:
            return key
        if self.is_local:
            return "none"
        raise EndpointError(
            f"endpoint {self.endpoint_name}: saw no key in ${self.api_key_env}; expected one; "
            f"export {self.api_key_env}=... or name another variable with judge.api_key_env"
        )

    def account(self) -> str:
        """8 hex digits that tell accounts apart without telling the key: limits belong to the account."""
        return hashlib.sha256(b"assay account\0" + self.api_key().encode()).hexdigest()[:8]


def with_reported_name(endpoint: EndpointSpec) -> EndpointSpec:
    """The endpoint as `ours`, where a server of ours tells its name at /healthz; unchanged elsewhere.

    It also gets that name, unless it has one: another server may get the same port tomorrow, and only the told name
    keeps their replies apart in the ledger.
    """
    if endpoint.ours or not endpoint.is_local or not endpoint.kind.is_remote:
        return endpoint
    url = endpoint.base_url.removesuffix("/v1") + "/healthz"
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as response:
            told = json.loads(response.read(4096))
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return endpoint  # down, or another kind of server: the first request will tell
    name = told.get("name") if isinstance(told, dict) else None
    if not isinstance(name, str) or _OUR_NAME.fullmatch(name) is None:
        return endpoint
    return endpoint.replace(name=endpoint.name or name, ours=True)
