"""Thinking in a reply: drafts that a reasoning model wrote before its answer, taken off before any reader sees them.

Pure; never raises on any text; linear in its length. Known are tags (`<think>`, `<reasoning>`, `[THINK]`, ...), a lone
closing tag (the opening one stood in the chat template), channels ("analysis ... final"), paired special tokens and
Granite's headings. A block that never ends holds no answer: what stands before it may be a draft too. A heading
("[Reasoning]", "Here is my thought process:") is thinking only where its end stands there too, or the reply was cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from assay.scoring.judges.parsing.text_numbers import last_match


class SpokenReply(NamedTuple):
    """A reply without its drafts."""

    text: str
    """What was answered; empty where the thinking never ended."""
    thinking_chars: int
    """Characters that were taken off; 0 means that the text is the reply as it came."""
    is_unfinished: bool
    """Whether the thinking never ended: there is no answer, whatever the draft says."""


class MeanRead(NamedTuple):
    """What several replies say together."""

    value: float
    """Mean of the scores in those that can be read; NaN where none can."""
    num_read: int


Parsed = TypeVar("Parsed")


def read_spoken(reply: str, read: Callable[[str], Parsed | None]) -> Parsed | None:
    """What `read` finds in the reply without its thinking; None where the thinking never ended."""
    spoken = spoken_part(reply)
    return None if spoken.is_unfinished else read(spoken.text)


def mean_spoken(replies: Sequence[object], read: Callable[[str], float | None]) -> MeanRead:
    """`read_spoken` of each reply that is a text; what cannot be read lowers no mean."""
    found = [score for reply in replies if isinstance(reply, str) and (score := read_spoken(reply, read)) is not None]
    return MeanRead(sum(found) / len(found) if found else math.nan, len(found))


_NAMES = (
    r"(?:[a-z]{1,12}:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|reflect|scratch_?pad|analysis"
    r"|deliberation"
    r"|(?:inner|internal)[ _-]?(?:monologue|thoughts?|thinking|reasoning)|monologue|chain[ _-]of[ _-]thought|cot)"
)
_TAG = re.compile(
    rf"<(?P<angle_end>/)?\s{{0,3}}{_NAMES}(?:\s[^<>\n]{{0,80}})?\s{{0,3}}(?P<angle_empty>/)?>"
    rf"|\[(?P<square_end>/)?\s{{0,2}}(?:THINK(?:ING)?|REASONING|THOUGHTS?)\s{{0,2}}\]"
    r"|◁(?P<triangle_end>/)?think(?:ing)?▷"
    r"|<\|(?:(?P<word_end>end|/)[_ ]?(?:of[_ ])?|(?:start|begin)[_ ]?(?:of[_ ])?)?(?:thinking|thought|think"
    r"|reasoning)\|>"
    r"|<details\b(?=[^<>]{0,200}reasoning)[^<>]{0,200}>|(?P<details_end></details>)",
    re.IGNORECASE,
)
_SQUARE_THINK = re.compile(r"\[\s{0,2}(?:THINK(?:ING)?|think)\s{0,2}\]")
_END_GROUPS = ("angle_end", "square_end", "triangle_end", "word_end", "details_end")
_NOT_A_NAME = re.compile(r"(?:begin|start|end)[_ ]?(?:of[_ ])?|[^a-z]")
_CHANNEL = re.compile(r"<\|channel\|>\s{0,3}(?P<name>[a-z]{1,20})[^<]{0,80}(?:<\|message\|>|$)", re.IGNORECASE)
_BARE_CHANNEL = re.compile(r"\s{0,9}(?:analysis|commentary)(?=[A-Z\s:])")
_BARE_FINAL = re.compile(r"(?:assistant\s{0,3}final|^[ ]{0,3}final[ ]{0,2}:?[ ]{0,2}$)", re.MULTILINE)
_GRANITE = re.compile(r"\s{0,9}Here(?:'s| is) my thought process:", re.IGNORECASE)
_GRANITE_END = re.compile(r"Here(?:'s| is) my response:", re.IGNORECASE)
_WRAPPER = re.compile(
    r"</?\s{0,2}(?:answer|final_answer|response|output|solution)\s{0,2}>"
    r"|<\|(?:start|begin|end)[_ ]?(?:of[_ ])?(?:response|solution|answer)\|>"
    r"|<\|(?:return|end|im_end|eot_id|message)\|>",
    re.IGNORECASE,
)
_QUOTES = "`\"'“”‘’"


def spoken_part(reply: str, *, is_cut: bool = False) -> SpokenReply:
    """The reply without its thinking.

    A tag right between quotes or backticks is quoted and no tag. Wrappers of the answer (`<answer>`) go only where
    thinking went, so that a reply without any comes back unchanged, character by character.

    Args:
        reply: as it came.
        is_cut: whether the reply's budget ended it: then a heading without its end is thinking too.
    """
    for split in (_by_channels, partial(_by_headings, is_cut=is_cut), partial(_by_tags, is_cut=is_cut)):
        spoken = split(reply)
        if spoken is None:
            continue
        if not spoken:
            return SpokenReply("", len(reply), is_unfinished=True)
        text = _WRAPPER.sub(" ", spoken[0]).strip()
        return SpokenReply(text, len(reply) - len(spoken[0]), is_unfinished=False)
    return SpokenReply(reply, 0, is_unfinished=False)


_Split = tuple[()] | tuple[str] | None
"""None: this form is not there; empty: the thinking never ends; one text: what was said beside it."""


def _by_channels(reply: str) -> _Split:
    """Harmony's channels, with their special tokens or as they look once these were dropped."""
    last = last_match(_CHANNEL, reply)
    if last is not None:
        return (reply[last.end() :],) if last["name"].lower() == "final" else ()
    if _BARE_CHANNEL.match(reply):
        final = last_match(_BARE_FINAL, reply)
        if final is not None:
            return (reply[final.end() :],)
        if re.match(r"\s{0,9}analysis(?=[A-Z])", reply):  # "analysisWe need to": no word of any language
            return ()
    return None


def _by_headings(reply: str, *, is_cut: bool) -> _Split:
    if _GRANITE.match(reply) is None:
        return None
    end = last_match(_GRANITE_END, reply)
    if end is None:
        return () if is_cut else None
    return (reply[end.end() :],)


def _by_tags(reply: str, *, is_cut: bool) -> _Split:
    """What stands outside of all blocks; a closing tag without an opening one ends a block that began the reply."""
    if not any(mark in reply for mark in ("<", "[", "◁")):
        return None
    tags = [
        (tag, _NOT_A_NAME.sub("", tag[0].lower())[:5], any(tag[group] for group in _END_GROUPS))
        for tag in _TAG.finditer(reply)
        if not _is_quoted(reply, tag.start(), tag.end()) and not tag["angle_empty"]
    ]
    last_end = {name: tag.start() for tag, name, is_end in tags if is_end}
    blocks: list[str] = []
    outside: list[str] = []
    position = 0
    found = False
    for tag, name, is_end in tags:
        if tag["details_end"] and name not in blocks:
            continue
        if not is_end and not is_cut and last_end.get(name, -1) < tag.start() and _is_heading(tag):
            continue
        found = True
        if is_end:
            if name in blocks:
                del blocks[blocks.index(name) :]  # a draft that names its own tag has opened nothing
            else:
                blocks.clear()
                outside.clear()
        else:
            if not blocks:
                outside.append(reply[position : tag.start()])
            blocks = [*blocks[:8], name]
        position = tag.end()
    if not found:
        return None
    if blocks:
        return ()
    return ("\n".join(part for part in [*outside, reply[position:]] if part.strip()),)


def _is_heading(tag: re.Match[str]) -> bool:
    """Whether a tag without an end may head a part of the reply, as "[Reasoning]" does: "[THINK]" may not."""
    return tag[0].startswith("[") and _SQUARE_THINK.fullmatch(tag[0]) is None


def _is_quoted(text: str, start: int, end: int) -> bool:
    return start > 0 and end < len(text) and text[start - 1] in _QUOTES and text[end] in _QUOTES
