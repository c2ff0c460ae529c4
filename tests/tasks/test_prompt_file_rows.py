"""Files of prompts: single questions, inputs, conversations with system text and tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.errors import DataError
from assay.tasks.datasets.prompts import read_prompts
from assay.tasks.templates import messages


def prompts_file(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_single_questions_keep_their_ids_or_get_them_from_content(tmp_path: Path) -> None:
    path = prompts_file(
        tmp_path, {"id": 7, "prompt": "Why?"}, {"instruction": "Sum up", "input": "long", "output": "s"}
    )
    first, second = read_prompts(path)
    assert (first.example_id, first.instruction) == ("7", "Why?")
    assert (second.input, second.reference, len(second.example_id)) == ("long", "s", 32)
    assert len(read_prompts(path, 1)) == 1


def test_a_conversation_keeps_turns_system_text_and_tools(tmp_path: Path) -> None:
    tools = [{"name": "weather"}]
    turns = [("user", "Hi"), ("assistant", "Hello"), ("user", "Weather?")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns], "system": "Be short.", "tools": tools}
    (found,) = read_prompts(prompts_file(tmp_path, row))
    assert messages(found) == [
        {"role": "system", "content": 'Be short.\n\n[{"name": "weather"}]'},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Weather?"},
    ]


def test_an_answered_conversation_is_asked_without_its_answer(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "Two and two?"}, {"from": "gpt", "value": "Four"}]}
    (found,) = read_prompts(prompts_file(tmp_path, row))
    assert (found.instruction, found.reference, found.history_json) == ("Two and two?", "Four", "")


def test_system_text_beside_a_single_question_comes_first(tmp_path: Path) -> None:
    (found,) = read_prompts(prompts_file(tmp_path, {"prompt": "Q", "system": "S", "tools": [{"name": "t"}]}))
    assert messages(found) == [
        {"role": "system", "content": 'S\n\n[{"name": "t"}]'},
        {"role": "user", "content": "Q"},
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "x"}], r":1: saw text; expected messages, conversations or prompt or question or instruction"),
        ([{"prompt": "x"}, {"prompt": "x"}], r":2: saw one prompt a second time"),
        ([{"id": 1, "prompt": "x"}, {"id": 1, "prompt": "y"}], r":2: saw the id '1' a second time"),
        ([{"messages": [{"role": "system", "content": "x"}]}], r"without a user's turn"),
        ([{"prompt": "x", "input": 3}], r"saw input 3; expected text"),
        ([{"prompt": "x", "tools": [{"name": "t"}], "history": [["a", "b"]]}], r"tools beside history"),
    ],
)
def test_rows_that_ask_nothing_are_named(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_prompts(prompts_file(tmp_path, *rows))
