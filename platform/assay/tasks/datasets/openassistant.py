"""OpenAssistant conversations: message trees, or the flat list of messages that they come in as well. Pure.

A tree branches where several people answered one message. Its conversation is the path along the best-ranked
replies (rank 0 is best; unranked ones come last, in file order); deleted messages are passed over with all below them.

Format: OpenAssistant/oasst1 and oasst2, `*.trees.jsonl.gz` (one tree a line: `prompt` with `replies`) and
`*.messages.jsonl.gz` (one message a line: `message_id`, `parent_id`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assay.errors import DataError
from assay.tasks.datasets.conversations import Turn
from assay.tasks.datasets.reading import Row

_ROLES = {"prompter": "user", "assistant": "assistant"}


def trees(rows: Iterable[Row], shown: str) -> Iterator[Row]:
    """The rows of a file as trees: those that are trees as they are, flat messages put together once all are read.

    Args:
        rows: (line number, object).
        shown: the file's name in messages.

    Raises:
        DataError: a row that is neither, or a message whose parent is not in the file.
    """
    messages: dict[str, dict[str, Any]] = {}
    lines: dict[str, int] = {}
    for number, row in rows:
        if isinstance(row.get("prompt"), Mapping):
            yield number, row
        elif isinstance(row.get("message_id"), str) and "text" in row:
            lines[row["message_id"]] = number
            messages[row["message_id"]] = {**row, "replies": []}
        else:
            raise DataError(
                f"{shown}:{number}: saw an object with {', '.join(list(row)[:6]) or 'nothing'}; expected an "
                "OpenAssistant tree (`prompt` with `replies`) or message (`message_id`, `parent_id`, `text`, `role`)"
            )
    for name, message in messages.items():
        parent = message.get("parent_id")
        if parent is not None:
            if parent not in messages:
                raise DataError(
                    f"{shown}:{lines[name]}: saw the parent {str(parent)!r:.50}, which is not in the file; expected "
                    "whole conversations; take the whole file"
                )
            messages[parent]["replies"].append(message)
    for name, message in messages.items():
        if message.get("parent_id") is None:
            yield lines[name], {"message_tree_id": name, "prompt": message}


def best_path(row: Mapping[str, Any], where: str) -> list[Turn]:
    """The turns along a tree's best-ranked replies, the prompter's first.

    Raises:
        DataError: a message without text, or with an unknown role. `where` starts the message.
    """
    turns: list[Turn] = []
    message: Any = row["prompt"]
    while message is not None:
        if not isinstance(message, Mapping) or not isinstance(message.get("text"), str):
            raise DataError(f"{where}: message {len(turns) + 1}: saw {message!r:.60}; expected an object with text")
        role = _ROLES.get(str(message.get("role")))
        if role is None:
            raise DataError(
                f"{where}: message {len(turns) + 1}: saw the role {message.get('role')!r:.40}; expected "
                f"{' or '.join(_ROLES)}"
            )
        turns.append(Turn(role, message["text"]))
        message = _best(message.get("replies"), f"{where}: message {len(turns)}")
    return turns


def language(row: Mapping[str, Any]) -> str:
    """Language code of a tree's first message; empty where it says none."""
    return str(row["prompt"].get("lang") or "")


def _best(replies: object, where: str) -> object:
    if replies is None:
        return None
    if not isinstance(replies, list) or not all(isinstance(reply, Mapping) for reply in replies):
        raise DataError(f"{where}: saw replies {replies!r:.60}; expected a list of messages")
    kept = [reply for reply in replies if not reply.get("deleted")]
    return min(kept, key=_rank, default=None)


def _rank(reply: Mapping[str, Any]) -> float:
    rank = reply.get("rank")
    return float(rank) if isinstance(rank, (int, float)) and not isinstance(rank, bool) else float("inf")
