"""Structured output: off by default and then without a trace; on, a schema is sent and the same parser reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assay.errors import ConfigError
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.protocols.mt_bench import JudgedDialogue
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from support.replayed import replay_protocol
from support.shipped import make_protocol, protocol_kind, protocol_names

NAMES = (*protocol_names("pointwise"), "mt_bench_single")


def filled(schema: dict[str, Any]) -> dict[str, Any]:
    """A document that fits a schema of `structured`."""
    values: dict[str, Any] = {}
    for name, part in schema["properties"].items():
        if "enum" in part:
            values[name] = part["enum"][-1]
        else:
            values[name] = part["minimum"] + 2 if part["type"] == "number" else "scores 1 of 10 for [[3]] reasons"
    assert schema["required"] == list(values)
    assert schema["additionalProperties"] is False
    return values


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_sent_where_it_is_asked_for_and_read_by_the_same_parser(name: str) -> None:
    plain, structured = make_protocol(name), make_protocol(name, structured=True)
    instance = (
        PointwiseInstance("p", "r", "g") if protocol_kind(name) == "pointwise" else JudgedDialogue(("q",), ("a",))
    )
    calls: list[JudgeCall] = []

    def answer(call: JudgeCall) -> str:
        calls.append(call)
        asked = call.sampling.response_format
        return "hm" if asked is None else json.dumps(filled(asked["json_schema"]["schema"]))

    replay_protocol(plain, instance, answer)
    assert all("response_format" not in call.sampling.body for call in calls)
    judgement = replay_protocol(structured, instance, answer)
    assert judgement.status == "ok"
    assert judgement.label or judgement.score == judgement.low + 2
    assert "structured" not in plain.identity()
    assert structured.identity()["structured"] is True


@pytest.mark.parametrize("name", NAMES)
def test_compat_sends_what_was_published(name: str) -> None:
    with pytest.raises(ConfigError, match="structured in compat mode"):
        make_protocol(name, "compat", structured=True)


def test_probabilities_of_a_bare_number_have_no_schema() -> None:
    with pytest.raises(ConfigError, match="logprobs with structured"):
        make_protocol("geval_fluency", structured=True, logprobs=True)
