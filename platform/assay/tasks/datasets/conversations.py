"""ShareGPT and messages rows: from the turns of a conversation to instruction, answer and earlier turns. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
}
Turn = tuple[str, str]
"""Role (system, user, assistant) and text."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user's turn, its answer, and what came before."""

    instruction: str
    output: str
    history: tuple[Turn, ...]

    @property
    def history_json(self) -> str:
        """Earlier turns as `Example.history_json` wants them."""
        return json.dumps([list(turn) for turn in self.history], ensure_ascii=False) if self.history else ""


def turns_of(row: Mapping[str, Any], style: Literal["sharegpt", "messages"], where: str) -> list[Turn]:
    """The turns of a row; a `system` field beside them comes first.

    Raises:
        DataError: no list of turns, an unknown role, or content that is no text. `where` starts the message.
    """
    names = ("conversations", "from", "value") if style == "sharegpt" else ("messages", "role", "content")
    listed = row.get(names[0], row.get("conversation") if style == "sharegpt" else None)
    if not isinstance(listed, list):
        raise DataError(f"{where}: saw no list {names[0]!r}; expected turns with {names[1]} and {names[2]}")
    turns: list[Turn] = []
    if isinstance(row.get("system"), str) and row["system"]:
        turns.append(("system", row["system"]))
    for number, turn in enumerate(listed, start=1):
        if not isinstance(turn, dict):
            raise DataError(f"{where}: turn {number}: saw {turn!r:.40}; expected {names[1]} and {names[2]}")
        said = turn.get(names[1])
        role = _ROLES.get(said.lower()) if isinstance(said, str) else None
        if role is None:
            raise DataError(f"{where}: turn {number}: saw the role {said!r:.40}; expected one of {', '.join(_ROLES)}")
        turns.append((role, _text(turn.get(names[2]), f"{where}: turn {number}")))
    return turns


def exchanges(turns: Sequence[Turn], which: Literal["first", "last", "each"]) -> list[Exchange]:
    """The answered user turns, oldest first, or one of them alone; what follows the last answer is dropped."""
    found = [
        Exchange(turns[place - 1][1], text, tuple(turns[: place - 1]))
        for place, (role, text) in enumerate(turns)
        if role == "assistant" and place > 0 and turns[place - 1][0] == "user"
    ]
    return {"first": found[:1], "last": found[-1:], "each": found}[which]


def past_turns(row: Mapping[str, Any], where: str) -> tuple[Turn, ...]:
    """Earlier turns of an Alpaca row: its `system` text and its `history` of [question, answer] pairs.

    Raises:
        DataError: `history` is something else.
    """
    turns: list[Turn] = []
    if isinstance(row.get("system"), str) and row["system"]:
        turns.append(("system", row["system"]))
    for pair in row.get("history") or ():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise DataError(f"{where}: saw the history entry {pair!r:.60}; expected [question, answer]")
        turns += [("user", pair[0]), ("assistant", pair[1])]
    return tuple(turns)


def _text(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    raise DataError(f"{where}: saw content {content!r:.60}; expected text")
