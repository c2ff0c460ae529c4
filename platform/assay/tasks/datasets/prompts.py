"""A file of prompts: single questions, instructions with an input, or whole conversations with system text and tools.

Rows are as the loaders know them, but need no answer: a conversation ends with what waits for one, and where it ends
with an assistant's turn, that is the reference and what came before is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.errors import DataError
from assay.fingerprint import delimited_hash
from assay.records import INSTRUCTIONS, TEST, Example
from assay.row_files import read_rows
from assay.tasks.datasets.conversations import AnsweredTurn, Turn, exchange_of, past_turns, turns_of

QUESTION_FIELDS = ("prompt", "question", "instruction")


def read_prompts(path: Path, limit: int | None = None) -> list[Example]:
    """Prompts as examples of the instruction set, in the file's order; ids are the rows' own, else by content.

    Args:
        path: JSON lines, or a JSON list: `messages` of role and content, `conversations` of from and value, or
            `prompt` (also called question or instruction) with an optional `input`; `system`, `tools` and `history`
            where there are any, and `id`.
        limit: at most so many, the first ones.

    Raises:
        DataError: a row without a question, or two with one id.
    """
    found: dict[str, Example] = {}
    for number, row in enumerate(read_rows(path)[:limit], start=1):
        where = f"{path}:{number}"
        exchange, text = _exchange(row, where)
        own = row.get("id", row.get("example_id"))
        content = delimited_hash([exchange.instruction, text, exchange.history_json])
        example_id = str(own) if own not in (None, "") else content
        if example_id in found:
            seen = f"the id {example_id!r:.60}" if own not in (None, "") else "one prompt"
            raise DataError(f"{where}: saw {seen} a second time; expected prompts to differ; drop a row")
        found[example_id] = Example(
            example_id, INSTRUCTIONS, TEST, exchange.instruction, text, exchange.output, "", exchange.history_json
        )
    return list(found.values())


def _exchange(row: Mapping[str, Any], where: str) -> tuple[AnsweredTurn, str]:
    """What is asked, and the input beside it."""
    if "messages" in row or "conversations" in row or "conversation" in row:
        turns = turns_of(row, "messages" if "messages" in row else "sharegpt", where)
        answer = turns.pop().text if turns and turns[-1].role == "assistant" else ""
        if not any(turn.role == "user" for turn in turns):
            raise DataError(f"{where}: saw a conversation without a user's turn; expected one; fix the row")
        return exchange_of(turns, answer), ""
    question = next((row[name] for name in QUESTION_FIELDS if isinstance(row.get(name), str) and row[name]), None)
    if question is None:
        raise DataError(
            f"{where}: saw {', '.join(map(str, row))[:80]}; expected messages, conversations or "
            f"{' or '.join(QUESTION_FIELDS)}; rename a field"
        )
    text, tools = row.get("input") or "", row.get("tools")
    if not isinstance(text, str):
        raise DataError(f"{where}: saw input {text!r:.40}; expected text; fix the row")
    reference = row.get("reference", row.get("output"))
    history = past_turns(row, where) if tools is None else (*turns_of({**row, "messages": []}, "messages", where),)
    if tools is not None and row.get("history"):
        raise DataError(f"{where}: saw tools beside history; expected a conversation as messages; rewrite the row")
    return AnsweredTurn(question, reference if isinstance(reference, str) else "", _told(history)), text


def _told(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    return tuple(turn for turn in turns if turn.text)
