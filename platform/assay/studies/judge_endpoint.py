"""From a study's judge to the endpoint that is asked. Pure."""

from __future__ import annotations

from assay.llm.endpoint import OPENAI_URL, EndpointSpec
from assay.studies.spec import JudgeConfig


def endpoint_of(
    judge: JudgeConfig, *, embedded_url: str | None = None, embedded_name: str | None = None
) -> EndpointSpec:
    """The endpoint of a judge.

    Args:
        judge: what the study says.
        embedded_url: base URL of the embedded judge server, once it runs.
        embedded_name: its name in the ledger: fixed, plus the hash of its rules, so that its port does not matter.
    """
    return EndpointSpec(
        base_url=judge.base_url or embedded_url or OPENAI_URL,
        name=judge.endpoint or (embedded_name if judge.is_embedded else None),
        model=judge.model,
        api_key_env=judge.api_key_env,
        requests_per_min=judge.requests_per_min,
        tokens_per_min=judge.tokens_per_min,
        max_concurrency=judge.max_concurrency,
        timeout_s=judge.timeout_s,
        step_headers=judge.is_embedded,
    )
