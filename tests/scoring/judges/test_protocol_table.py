"""The table of protocols: names, identities, the driver, and what importing it costs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ConfigError
from assay.fingerprint import fingerprint
from assay.llm.requests import ChatRequest, request_key
from assay.scoring.judges.calls import JudgeCall, run_protocol, to_request
from assay.scoring.judges.protocols.joint import JointInstance
from assay.scoring.judges.protocols.mt_bench import DialoguePair, JudgedDialogue
from assay.scoring.judges.protocols.pairwise import PairInstance
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.table import SHIPPED_PROTOCOLS, ProtocolEntry
from support.shipped import make_joint, make_pairwise, make_pointwise, make_protocol, protocol_kind, protocol_names

INSTANCES: dict[str, Any] = {
    "pointwise": PointwiseInstance("p", "r", "g"),
    "pairwise": PairInstance("p", "a", "b"),
    "joint": JointInstance("p", {"m": "a", "n": "b"}),
    "dialogue": JudgedDialogue(("q",), ("a",)),
    "dialogue_pair": DialoguePair(("q",), ("a",), ("b",)),
}


@pytest.mark.parametrize("mode", ["compat", "strict"])
@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_runs_to_a_judgement_on_replies_that_say_nothing(name: str, mode: str) -> None:
    protocol = make_protocol(name, mode)  # type: ignore[arg-type]
    requests: list[ChatRequest] = []

    async def ask(call: JudgeCall) -> str:
        requests.append(to_request(call, protocol.name, "judge"))
        return "hm"

    judgement = asyncio.run(run_protocol(protocol, INSTANCES[protocol_kind(name)], ask))
    assert len(judgement.exchanges) == len(requests) > 0
    assert protocol.mode == mode
    # no call of one run meets another's stored reply
    assert len({request_key("e", request) for request in requests}) == len(requests)


@pytest.mark.parametrize("name", protocol_names())
def test_identity_has_canonical_form_and_tells_modes_apart(name: str) -> None:
    strict, compat = make_protocol(name), make_protocol(name, "compat")
    assert fingerprint(strict.identity()) == fingerprint(make_protocol(name).identity())
    assert fingerprint(strict.identity()) != fingerprint(compat.identity())


def test_the_same_instance_is_asked_with_the_same_keys_again() -> None:
    for name in protocol_names():
        instance = INSTANCES[protocol_kind(name)]
        first, second = (
            [request_key("e", to_request(call, name, "m")) for call in next(make_protocol(name).run(instance))]
            for _ in range(2)
        )
        assert first == second


def test_names_are_found_in_both_spellings_and_unknown_ones_listed() -> None:
    assert make_pairwise("Vanilla_2shot").name == make_pairwise("two_shot").name == "two_shot"
    with pytest.raises(ConfigError, match="ifteval"):
        make_protocol("nonsense")
    with pytest.raises(ConfigError, match="expected one of"):
        make_pointwise("vanilla")
    with pytest.raises(ConfigError, match="it is joint"):
        make_pairwise("joint")


def test_parameters_are_the_protocols_own_and_others_are_refused(tmp_path: Path) -> None:
    assert make_joint(repeats=4).identity()["repeats"] == 4
    assert make_pointwise("ifteval", temperature=0.0).identity()["temperature"] == 0.0
    with pytest.raises(ConfigError, match="tempo"):
        make_protocol("joint", tempo=1)
    with pytest.raises(ConfigError, match="no such file"):
        make_pairwise("vanilla", prompts_dir=tmp_path).identity()


def test_protocols_are_added_once() -> None:
    with pytest.raises(ConfigError, match="second definition"):
        SHIPPED_PROTOCOLS.extended([ProtocolEntry("ifteval", "pointwise", lambda mode: None)])


def test_importing_the_protocols_loads_no_engine_and_no_numpy() -> None:
    code = "import sys, assay.scoring.judges.table; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"ray", "torch", "vllm", "mlflow", "openai", "numpy", "scipy"} & set(run.stdout.split())
