"""What prompted judges share, and that the page's example is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ConfigError
from assay.scoring.judges.asking import READERS
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.table import SHIPPED_PROTOCOLS
from support.replayed import replay_protocol

PAGE = Path(__file__).parents[4] / "platform" / "docs" / "extending.md"
IMPORTS = """
from __future__ import annotations
from dataclasses import dataclass
from assay.llm.requests import Sampling
from assay.scoring.judges.asking import read_step
from assay.scoring.judges.calls import JudgeCall, Steps
from assay.scoring.judges.judgements import PointwiseJudgement
from assay.scoring.judges.parsing import parse_score
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.scoring.judges.protocols.prompted import PromptedJudge
"""


def test_the_pages_judge_asks_again_is_fenced_and_has_an_identity(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(SLOTS = .*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "Rate.txt").write_text("<|im_start|>user\nRate {response} for {prompt}.<|im_end|>")
    found: dict[str, Any] = {"__name__": __name__}
    exec(IMPORTS + code, found)
    judge = found["MyJudge"](prompts_dir=tmp_path)
    replies = iter(["hm", "7"])
    seen = []

    def answer(call: Any) -> str:
        seen.append(call.messages[-2 if len(call.messages) > 2 else -1].content)
        return next(replies)

    judgement = replay_protocol(judge, PointwiseInstance("p", "r"), answer)
    assert judgement.score == 7
    assert len(judgement.exchanges) == 2
    assert "<<<BEGIN" in seen[0]
    assert {**judge.identity(), "prompt": ""} == {
        "protocol": "my_judge",
        "mode": "strict",
        "version": READERS,
        "max_reasks": 1,
        "prompt": "",
    }
    compat = found["MyJudge"](prompts_dir=tmp_path, mode="compat")
    assert (compat.identity()["version"], compat.identity()["max_reasks"]) == (1, 0)


@pytest.mark.parametrize("name", ["ifteval", "geval_fluency", "objecqa", "mt_bench_single"])
def test_a_schema_is_for_strict_alone(name: str) -> None:
    with pytest.raises(ConfigError, match="saw structured in compat mode"):
        SHIPPED_PROTOCOLS.make(name, "compat", structured=True)


@pytest.mark.parametrize(("name", "parameter"), [("faireval", "structured"), ("geval_fluency", "max_reasks")])
def test_what_a_protocol_never_does_is_no_parameter_of_it(name: str, parameter: str) -> None:
    with pytest.raises(ConfigError, match=parameter):
        SHIPPED_PROTOCOLS.make(name, **{parameter: 1})
