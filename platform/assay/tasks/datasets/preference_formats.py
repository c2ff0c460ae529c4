"""Preference rows as people keep them: from a row of a known layout to its prompt and its answers, best first. Pure.

- trl: `prompt`, `chosen`, `rejected` as texts or lists of messages; without `prompt` it is what both sides begin with.
  `prompt`, `completion`, `label` is an unpaired row.
- hh (Anthropic): `chosen` and `rejected` are transcripts of Human and Assistant, alike up to the last turn.
- ultrafeedback: binarized (`prompt`, messages, `score_chosen`, `score_rejected`), or `completions` with a score each.
- shp: `history`, `human_ref_A`, `human_ref_B`, `labels` (1: A is preferred), `score_A`, `score_B`.
- llama_factory: Alpaca fields with `chosen` and `rejected` (or an `output` of two), or `conversations` beside them;
  `messages` with a `label`, or `kto_tag`, is an unpaired row.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from assay.errors import DataError
from assay.preference.rows import BAD, GOOD, Prompt
from assay.tasks.datasets.conversations import AnsweredTurn, Turn, exchange_of, past_turns, turns_of
from assay.tasks.datasets.sources import PreferenceFormat

LAYOUTS: tuple[str, ...] = tuple(name for name in get_args(PreferenceFormat) if name != "none")
"""Names of the layouts that are read."""
PROMPTS_DIFFER = "prompts differ"
NO_SCORE = "no score"


@dataclass(frozen=True)
class Stated:
    """What a row says, before equal or empty sides are looked for."""

    prompt: Prompt
    answers: tuple[str, ...]
    """Best first."""
    scores: tuple[float, ...] | None = None
    fault: str = ""
    """Why it is no preference, whatever its answers; empty where nothing is wrong."""


def read_preference(style: PreferenceFormat, row: Mapping[str, Any], where: str) -> Stated:
    """A row's prompt and answers.

    Raises:
        DataError: it lacks a field of the layout, or holds something else in it; `where` starts the message.
    """
    return _READERS[style](row, where)


# --- TRL ---------------------------------------------------------------------------------------------------


def _trl(row: Mapping[str, Any], where: str) -> Stated:
    if "completion" in row:
        answer = _last_text(row["completion"], where)
        return Stated(_prompt(row.get("prompt"), where), (answer,), (_label(row.get("label"), where),))
    chosen, rejected = _field(row, "chosen", where), _field(row, "rejected", where)
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise DataError(f"{where}: saw a text on one side and turns on the other; expected both alike; fix the row")
    if isinstance(chosen, str):
        return _trl_texts(row.get("prompt"), chosen, rejected, where)
    sides = [_messages(side, where) for side in (chosen, rejected)]
    said = row.get("prompt")
    if said is None:
        shared = _shared([turn.text for turn in sides[0]], [turn.text for turn in sides[1]])
    else:  # some files repeat the prompt's turns in front of each answer
        shared = min(map(len, sides)) - 1
    before = list(sides[0][:shared]) if said is None or isinstance(said, str) else _messages(said, where)
    fault = PROMPTS_DIFFER if sides[0][:shared] != sides[1][:shared] else ""
    if not before or all(turn.role == "system" for turn in before):
        if not isinstance(said, str):
            raise DataError(f"{where}: saw sides that begin differently and no prompt; expected what both answer")
        before = [*before, Turn("user", said)]
    answers = tuple("\n\n".join(turn.text for turn in side[shared:]) for side in sides)
    return Stated(_of_turns(before), answers, fault=fault)


def _trl_texts(said: object, chosen: str, rejected: str, where: str) -> Stated:
    if said is not None:
        return Stated(_prompt(said, where), (chosen, rejected))
    shared = _shared(chosen, rejected)
    while shared and not chosen[shared - 1].isspace():  # a word that both begin alike belongs to the answers
        shared -= 1
    return Stated(Prompt(chosen[:shared].strip()), (chosen[shared:], rejected[shared:]))


def _shared(first: Sequence[str], second: Sequence[str]) -> int:
    """How long both are the same from the start, less one item where one ends there: an answer is left to each."""
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
    return min(same, len(first) - 1, len(second) - 1) if not isinstance(first, str) else same


# --- Anthropic HH --------------------------------------------------------------------------------------------

_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def _hh(row: Mapping[str, Any], where: str) -> Stated:
    sides = [_transcript(_field(row, name, where), where) for name in ("chosen", "rejected")]
    fault = PROMPTS_DIFFER if sides[0][:-1] != sides[1][:-1] else ""
    return Stated(_of_turns(sides[0][:-1]), tuple(side[-1].text for side in sides), fault=fault)


def _transcript(text: object, where: str) -> list[Turn]:
    """The turns of a transcript, the last one the assistant's."""
    parts = _SPEAKER.split(text) if isinstance(text, str) else []
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = [Turn(roles[name], said.strip()) for name, said in zip(parts[1::2], parts[2::2], strict=True)]
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise DataError(
            f"{where}: saw {text!r:.60}; expected '\\n\\nHuman: ...' with '\\n\\nAssistant: ...' as the last"
        )
    return turns


# --- UltraFeedback, SHP ------------------------------------------------------------------------------------


def _ultrafeedback(row: Mapping[str, Any], where: str) -> Stated:
    if "completions" not in row:
        stated = _trl(row, where)
        scores = tuple(_number(row.get(name)) for name in ("score_chosen", "score_rejected"))
        if any(math.isnan(score) for score in scores):
            return stated
        fault = "equal scores" if scores[0] == scores[1] else stated.fault
        return Stated(stated.prompt, *_best_first(stated.answers, scores), fault=fault)
    prompt = Prompt(_answer_text(_field(row, "instruction", where), where))
    listed = row["completions"]
    if not isinstance(listed, list) or not all(isinstance(part, Mapping) for part in listed):
        raise DataError(f"{where}: saw completions {listed!r:.60}; expected a list of objects with response and score")
    answers = tuple(_answer_text(part.get("response"), where) for part in listed)
    scores = tuple(_number(part.get("overall_score", part.get("fine-grained_score"))) for part in listed)
    if any(math.isnan(score) for score in scores):
        return Stated(prompt, answers, fault=NO_SCORE)
    fault = "equal scores" if len(scores) > 1 and len(set(scores)) == 1 else ""
    return Stated(prompt, *_best_first(answers, scores), fault=fault)


def _shp(row: Mapping[str, Any], where: str) -> Stated:
    answers = tuple(_answer_text(_field(row, name, where), where) for name in ("human_ref_A", "human_ref_B"))
    scores = tuple(_number(row.get(name)) for name in ("score_A", "score_B"))
    label = _field(row, "labels", where)
    if label not in (0, 1):
        raise DataError(f"{where}: saw labels {label!r:.40}; expected 1 (A is preferred) or 0")
    prompt = Prompt(_answer_text(_field(row, "history", where), where))
    order = (0, 1) if label == 1 else (1, 0)
    ordered = tuple(answers[place] for place in order)
    ranked = tuple(scores[place] for place in order)
    # the label rests on votes and on time: where votes say otherwise, or nothing, the order alone is kept
    return Stated(prompt, ordered, ranked if ranked[0] >= ranked[1] else None)


# --- LLaMA-Factory -----------------------------------------------------------------------------------------


def _llama_factory(row: Mapping[str, Any], where: str) -> Stated:
    style = next((name for name in ("conversations", "messages") if isinstance(row.get(name), list)), "")
    tag = row.get("label", row.get("kto_tag"))
    if style:
        turns = turns_of(row, "sharegpt" if style == "conversations" else "messages", where)
        if "chosen" not in row:
            if not turns or turns[-1].role != "assistant":
                raise DataError(f"{where}: saw no answer in the last turn; expected one, with a label; fix the row")
            return Stated(_of_turns(turns[:-1]), (turns[-1].text,), (_label(tag, where),))
        answers = tuple(_last_text(_field(row, name, where), where) for name in ("chosen", "rejected"))
        return Stated(_of_turns(turns), answers)
    history = past_turns(row, where)
    exchange = AnsweredTurn(_answer_text(_field(row, "instruction", where), where), "", history)
    prompt = Prompt(exchange.instruction, _answer_text(row.get("input") or "", where), exchange.history_json)
    output = row.get("output")
    if isinstance(output, list) and len(output) == 2:
        return Stated(prompt, (_answer_text(output[0], where), _answer_text(output[1], where)))
    if "chosen" in row:
        answers = tuple(_last_text(_field(row, name, where), where) for name in ("chosen", "rejected"))
        return Stated(prompt, answers)
    return Stated(prompt, (_answer_text(output, where),), (_label(tag, where),))


# --- parts -------------------------------------------------------------------------------------------------


def _of_turns(turns: Sequence[Turn]) -> Prompt:
    exchange = exchange_of(turns, "")
    return Prompt(exchange.instruction, "", exchange.history_json)


def _prompt(said: object, where: str) -> Prompt:
    return Prompt(said) if isinstance(said, str) else _of_turns(_messages(said, where))


def _messages(listed: object, where: str) -> list[Turn]:
    turns = turns_of({"messages": listed}, "messages", where)
    if not turns:
        raise DataError(f"{where}: saw no turns; expected a list of role and content; fix the row")
    return turns


def _last_text(said: object, where: str) -> str:
    """An answer: a text, one turn, or the last of several turns."""
    if isinstance(said, Mapping):
        style: Literal["sharegpt", "messages"] = "sharegpt" if "value" in said else "messages"
        return turns_of({"conversations": [said], "messages": [said]}, style, where)[-1].text
    return said if isinstance(said, str) else _messages(said, where)[-1].text


def _field(row: Mapping[str, Any], name: str, where: str) -> Any:
    if row.get(name) is None:
        raise DataError(f"{where}: saw no {name!r} (fields: {', '.join(list(row)[:12])}); expected it; see preference")
    return row[name]


def _answer_text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: saw {value!r:.60}; expected text; fix the row")
    return value


def _label(value: object, where: str) -> float:
    if isinstance(value, bool) or value in (0, 1):
        return GOOD if value else BAD
    raise DataError(f"{where}: saw the label {value!r:.40}; expected true (good) or false (bad); fix the row")


def _number(value: object) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else math.nan  # type: ignore[arg-type]


def _best_first(answers: Sequence[str], scores: Sequence[float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Sorted by score, ties in their order."""
    order = sorted(range(len(answers)), key=lambda place: -scores[place])
    return tuple(answers[place] for place in order), tuple(scores[place] for place in order)


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], Stated]] = {
    "trl": _trl,
    "hh": _hh,
    "ultrafeedback": _ultrafeedback,
    "shp": _shp,
    "llama_factory": _llama_factory,
}
