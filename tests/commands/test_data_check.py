"""`assay data check`: counts before any model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.commands.data_check import check_command
from assay.errors import ConfigError
from support.marked_tokenizers import marked_tokenizer


def test_a_file_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"instruction": f"Question number {n}?", "output": f"Answer {n}", "split": "train"} for n in range(40)]
    rows += [rows[0], {**rows[1], "output": "Another"}, {**rows[2], "output": "Use <think> here " * 30}]
    data, folder = tmp_path / "a.jsonl", tmp_path / "tokenizer"
    data.write_text("\n".join(map(json.dumps, rows)))
    made = marked_tokenizer("chatml, bytes")
    made.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    check_command(str(data), [], "jsonl", str(folder), 200, True)
    found = json.loads(capsys.readouterr().out)["a.jsonl"]
    assert sum(found["rows"].values()) == 43
    assert found["copies in train"] + found["questions with answers that differ"] > 0
    assert (found["over 200 tokens"], found["answers that spell special tokens"]) == (1, 1)
    check_command(str(data), [], "jsonl", str(folder), 200, False)
    told = capsys.readouterr().out
    assert "1 over 200 tokens" in told
    assert "trained as text" in told
    with pytest.raises(ConfigError, match="--set is for a study"):
        check_command(str(data), ["x=1"], "jsonl", "", 200, False)


def test_a_study_is_counted_dataset_by_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    check_command("quickstart", [], "jsonl", "", 512, False)
    told = capsys.readouterr().out
    assert "instructions: 200 train" in told
    assert "3 training rows repeat a held-out row" in told
    assert "toy_sentiment: 1,024 train" in told
