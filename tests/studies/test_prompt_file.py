from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from assay.errors import ConfigError
from assay.records import Rating
from assay.scoring.judges.protocols.pointwise import PointwiseInstance
from assay.studies.catalog import load_study
from assay.studies.scores import study_protocol
from assay.studies.spec import Study
from support.replayed import replay_protocol

PROMPT = "Ours.\n<|im_start|>user\nRate {response} for {prompt}, {low} to {high}.<|im_end|>\n"


def load(folder: Path, text: str = PROMPT, **judge: Any) -> Study:
    (folder / "prompts").mkdir(exist_ok=True)
    (folder / "prompts" / "memo.txt").write_text(text)
    fields = {"protocol": "my_rubric", "prompt": "prompts/memo.txt", "scale": [1, 3], **judge}
    (folder / "s.yaml").write_text(yaml.safe_dump({"extends": "quickstart", "judge": fields}))
    return load_study(str(folder / "s.yaml"))


def test_a_prompt_beside_the_study_asks_the_judge(tmp_path: Path) -> None:
    protocol = study_protocol(load(tmp_path))
    seen = []

    def ask(call: Any) -> str:
        seen.append(call.messages[-1].content)
        return "2"

    assert replay_protocol(protocol, PointwiseInstance("p", "an answer"), ask).outcome() == Rating(0.5, "2")
    assert "an answer" in seen[0]
    assert "1 to 3." in seen[0]
    assert protocol.name == "my_rubric"


def test_its_words_are_identity_and_its_name_and_comment_are_not(tmp_path: Path) -> None:
    one = load(tmp_path)
    assert load(tmp_path, PROMPT.replace("Ours.", "A comment.")).identity() == one.identity()
    other = load(tmp_path, PROMPT.replace("Rate", "Judge"))
    assert other.identity() != one.identity()
    assert study_protocol(other).identity() != study_protocol(one).identity()
    assert load(tmp_path, scale=[1, 5]).identity() != one.identity()
    again = Study.model_validate(one.model_dump(mode="json"))  # a stored study needs no file
    assert again.identity() == one.identity()


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"prompt": "../memo.txt"}, "without '..'"),
        ({"prompt": "/etc/passwd"}, "without '..'"),
        ({"prompt": "prompts/none.txt"}, r"judge\.prompt: cannot read .*No such file"),
        ({"protocol": "ifteval"}, "expected a name of its own"),
    ],
)
def test_bad_prompt_files_are_one_line(tmp_path: Path, judge: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, **judge)


def test_a_prompt_without_its_slots_is_refused_when_the_study_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"saw no \{response\}"):
        load(tmp_path, "<|im_start|>user\nRate {prompt}.<|im_end|>")
