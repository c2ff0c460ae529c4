"""From a study's judge to the endpoint that is asked, and whether anything listens there."""

from __future__ import annotations

import socket
import urllib.request
from urllib.parse import urlsplit

from assay.config import validate
from assay.errors import EndpointError
from assay.llm.endpoint import OPENAI_URL, EndpointSpec
from assay.studies.spec import JudgeConfig, Study

CONNECT_S = 10.0


def endpoint_of(
    judge: JudgeConfig, *, embedded_url: str | None = None, embedded_name: str | None = None
) -> EndpointSpec:
    """The endpoint of a judge.

    Args:
        judge: what the study says.
        embedded_url: base URL of the embedded judge server, once it runs.
        embedded_name: its name in the ledger: fixed, plus the hash of its rules, so that its port does not matter.
    """
    fields = {
        **judge.reach(),
        "base_url": judge.base_url or embedded_url or OPENAI_URL,
        "name": judge.endpoint or (embedded_name if judge.is_embedded else None),
        "model": judge.model,
        "max_reply_tokens": judge.max_reply_tokens,
        "reasoning_effort": judge.reasoning_effort,
        "ours": judge.is_embedded,
    }
    return validate(EndpointSpec, fields, "judge")


def writer_endpoint(study: Study, *, embedded_url: str | None = None, embedded_name: str | None = None) -> EndpointSpec:
    """The endpoint that writes rows and tags them."""
    return endpoint_of(study.writer or study.judge, embedded_url=embedded_url, embedded_name=embedded_name)


def check_endpoint(endpoint: EndpointSpec) -> None:
    """Open and close one connection to the endpoint; nothing is asked and nothing is paid.

    Raises:
        EndpointError: its key is not in the environment, or nothing listens there.
    """
    if not endpoint.kind.is_remote:
        return  # the model is loaded, or its absence told, by the first worker that needs it
    endpoint.api_key()
    parts = urlsplit(endpoint.base_url)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    if (parts.scheme in proxies or "all" in proxies) and not urllib.request.proxy_bypass(host):
        return  # only the proxy can tell
    try:
        socket.create_connection((host, parts.port or {"http": 80}.get(parts.scheme, 443)), CONNECT_S).close()
    except OSError as error:
        raise EndpointError(
            f"judge.base_url {endpoint.base_url}: nothing is listening there ({error.strerror or error}); expected "
            "an OpenAI-compatible endpoint; start it or correct the URL, and run the same command again"
        ) from None
