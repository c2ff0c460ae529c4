"""LLMBar-format files, strategies by either name, patterns and prompts of a user."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from assay.errors import AssayError
from assay.judging.llmbar import make_strategies, read_llmbar
from assay.scoring.judges.parsing import COT, LABEL

ROW = {"input": "q", "output_1": "a", "output_2": "b", "label": 2}


def test_folders_files_and_packed_files_are_subsets(tmp_path: Path) -> None:
    for name in ("Natural", "GPTInst"):
        (tmp_path / "LLMBar" / name).mkdir(parents=True)
        (tmp_path / "LLMBar" / name / "dataset.json").write_text(json.dumps([ROW, {**ROW, "label": "1"}]))
    sets = read_llmbar([tmp_path / "LLMBar"], limit=1)
    assert [(part.name, len(part.items), part.items[0].gold) for part in sets] == [("GPTInst", 1, 2), ("Natural", 1, 2)]
    packed = tmp_path / "Mine.jsonl.xz"
    packed.write_bytes(lzma.compress("\n".join(map(json.dumps, [ROW, ROW])).encode()))
    (part,) = read_llmbar([packed])
    assert (part.name, len(part.items)) == ("Mine", 2)


@pytest.mark.parametrize(
    ("row", "says"),
    [({**ROW, "label": 0}, "saw label 0"), ({"input": "q", "label": 1}, "expected output_1"), ({}, "expected input")],
)
def test_a_row_that_is_no_pair_is_named(tmp_path: Path, row: dict[str, object], says: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([ROW, row]))
    with pytest.raises(AssayError, match=f"x.json: row 1: .*{says}"):
        read_llmbar([path])


def test_both_spellings_are_one_strategy_and_the_users_own_is_kept() -> None:
    made = make_strategies(["Metrics_Reference", "metrics_reference", "one_shot", "ChatEval"], "j", "compat")
    assert [strategy.spelled for strategy in made] == ["Metrics_Reference", "one_shot", "ChatEval"]
    assert [strategy.protocol.name for strategy in made] == ["metrics_reference", "one_shot", "chateval"]


def test_patterns_are_those_of_the_judge(shared_data: Path) -> None:
    """Recorded cot replies of PaLM2 were read with the label pattern."""
    configs = shared_data / "llmbar/judge_configs.json"
    (palm,) = make_strategies(["CoT"], "PaLM2", "compat", patterns=configs)
    (other,) = make_strategies(["CoT"], "somebody", "compat", patterns=configs)
    assert palm.has_own_patterns and not other.has_own_patterns
    # the identity shows the patterns in use
    assert palm.protocol.identity()["patterns"][0] == [LABEL.first, LABEL.second]  # type: ignore[index]
    assert other.protocol.identity()["patterns"][0] == [COT.first, COT.second]  # type: ignore[index]


def test_prompts_and_patterns_that_cannot_be_used_are_refused_before_a_call(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    for options, says in (
        ({"prompts": tmp_path}, "saw no such file"),
        ({"patterns": tmp_path / "none.json"}, "cannot be read"),
        ({"patterns": tmp_path / "list.json"}, "saw a list"),
    ):
        with pytest.raises(AssayError, match=says):
            make_strategies(["vanilla"], "j", "strict", **options)
