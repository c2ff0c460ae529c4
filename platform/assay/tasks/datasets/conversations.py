"""ShareGPT and messages rows: from the turns of a conversation to question, answer and earlier turns. Pure.

Turns of tools, and calls of tools, are kept as turns and never trained. An answer's question is the user's turn before
it; where something else stands between them (a tool's reply), the question is empty and all of it is an earlier turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from assay.errors import DataError

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "tool_response": "tool",
}


class Turn(NamedTuple):
    """Something said."""

    role: str
    """system, user, assistant or tool."""
    text: str
    is_trained: bool = True
    """Of an assistant's turn: whether it may be an answer to learn."""


@dataclass(frozen=True, slots=True)
class AnsweredTurn:
    """A user's turn, its answer, and what came before."""

    instruction: str
    output: str
    history: tuple[Turn, ...]

    @property
    def history_json(self) -> str:
        """Earlier turns as `Example.history_json` wants them."""
        return json.dumps([[turn.role, turn.text] for turn in self.history], ensure_ascii=False) if self.history else ""

    @property
    def first(self) -> tuple[str, str]:
        """The conversation's first question and answer: what all of its exchanges have in common."""
        question = next((turn.text for turn in self.history if turn.role == "user"), self.instruction)
        answer = next((turn.text for turn in self.history if turn.role == "assistant" and turn.is_trained), self.output)
        return question, answer


def turns_of(row: Mapping[str, Any], style: Literal["sharegpt", "messages"], where: str) -> list[Turn]:
    """The turns of a row; `system` and `tools` fields beside them come first. Turns of one assistant in a row are one.

    Raises:
        DataError: no list of turns, an unknown role or weight, or content that is no text. `where` starts the message.
    """
    names = ("conversations", "from", "value") if style == "sharegpt" else ("messages", "role", "content")
    listed = row.get(names[0], row.get("conversation") if style == "sharegpt" else None)
    if not isinstance(listed, list):
        raise DataError(f"{where}: saw no list {names[0]!r}; expected turns with {names[1]} and {names[2]}")
    turns: list[Turn] = []
    if beside := [text for text in (row.get("system"), _tools(row.get("tools"))) if isinstance(text, str) and text]:
        turns.append(Turn("system", "\n\n".join(beside)))
    for number, turn in enumerate(listed, start=1):
        if not isinstance(turn, dict):
            raise DataError(f"{where}: turn {number}: saw {turn!r:.40}; expected {names[1]} and {names[2]}")
        _add(turns, _turn(turn, names[1], names[2], f"{where}: turn {number}"))
    return turns


def exchanges(turns: Sequence[Turn], which: Literal["first", "last", "each"]) -> list[AnsweredTurn]:
    """The answered user turns, oldest first, or one of them alone; what follows the last answer is dropped."""
    found = [
        exchange_of(turns[:place], turn.text)
        for place, turn in enumerate(turns)
        if turn.role == "assistant" and turn.is_trained and any(before.role == "user" for before in turns[:place])
    ]
    return {"first": found[:1], "last": found[-1:], "each": found}[which]


def past_turns(row: Mapping[str, Any], where: str) -> tuple[Turn, ...]:
    """Earlier turns of an Alpaca row: its `system` text and its `history` of [question, answer] pairs.

    Raises:
        DataError: `history` is something else.
    """
    turns: list[Turn] = []
    if isinstance(row.get("system"), str) and row["system"]:
        turns.append(Turn("system", row["system"]))
    for pair in row.get("history") or ():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise DataError(f"{where}: saw the history entry {pair!r:.60}; expected [question, answer]")
        turns += [Turn("user", pair[0]), Turn("assistant", pair[1])]
    return tuple(turns)


def exchange_of(before: Sequence[Turn], answer: str) -> AnsweredTurn:
    """An answer to what was said before; a system's turn between question and answer is told before the question."""
    end = len(before)
    while end and before[end - 1].role == "system":
        end -= 1
    if end and before[end - 1].role == "user":
        return AnsweredTurn(before[end - 1].text, answer, (*before[: end - 1], *before[end:]))
    return AnsweredTurn("", answer, tuple(before))


def _turn(turn: Mapping[str, Any], role_name: str, text_name: str, where: str) -> Turn:
    said = turn.get(role_name)
    role = _ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        raise DataError(f"{where}: saw the role {said!r:.40}; expected one of {', '.join(_ROLES)}")
    content, calls = turn.get(text_name), turn.get("tool_calls") or turn.get("function_call")
    if content is None and calls:
        content, role = "", "call"
    text = _turn_text(content, where)
    if calls:
        text = "\n".join(filter(None, (text, json.dumps(calls, ensure_ascii=False))))
        role = "call" if role == "assistant" else role
    if role == "call":
        return Turn("assistant", text, is_trained=False)
    return Turn(role, text, is_trained=_is_trained(turn, where))


def _is_trained(turn: Mapping[str, Any], where: str) -> bool:
    """By a turn's `weight` (0 or 1) or `train`."""
    for name, yes, no in (("weight", (1, None), 0), ("train", (True, None), False)):
        said = turn.get(name)
        if said == no and said is not None:
            return False
        if said not in yes:
            raise DataError(
                f"{where}: saw {name} {said!r:.40}; expected {no} or {yes[0]}; leave it out to train the turn"
            )
    return True


def _add(turns: list[Turn], turn: Turn) -> None:
    """Append a turn, or join it to the same assistant's turn before it."""
    before = turns[-1] if turns else None
    if before is not None and before.role == turn.role == "assistant" and before.is_trained and turn.is_trained:
        turns[-1] = before._replace(text=f"{before.text}\n\n{turn.text}")
    else:
        turns.append(turn)


def _tools(listed: object) -> str:
    """Definitions of tools, as text."""
    if isinstance(listed, str):
        return "" if listed.strip() in ("", "[]") else listed
    return json.dumps(listed, ensure_ascii=False) if isinstance(listed, list) and listed else ""


def _turn_text(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    raise DataError(f"{where}: saw content {content!r:.60}; expected text")
