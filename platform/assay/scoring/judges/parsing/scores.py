"""The one score in a judge's reply.

Pure; never raises on any text. `compat_*` does what published code did, quirks included; the others understand
decimals, fractions, words, markdown, code fences, labels and JSON, check the range and never clip. An unreadable
reply is None (missing data), never a zero and never a guess.
"""

from __future__ import annotations

import re

from assay.scoring.judges.parsing.criteria import Criteria, labelled_criteria
from assay.scoring.judges.parsing.text_numbers import (
    JSON_SCORE,
    Number,
    bare_number,
    clause_start,
    clean,
    embedded_json,
    in_range,
    number,
    numbers,
    text_lines,
    whole_json,
)
from assay.scoring.judges.parsing.withdrawn import is_taken_back, is_unmeant, revision, takes_back

_RATING = r"(?:scores?|ratings?|grades?|stars)"
_LABEL = re.compile(
    rf"\b(?:(?P<final>final|overall|total)[ ]{{1,2}}(?:[a-z]{{1,20}}[ ]{{1,2}}){{0,2}})?{_RATING}\b"
    r"|(?P<alone>\[RESULT\]|\b(?:final|overall|total|result|verdict)(?=[ ]?[:=]))",
    re.I,
)
_DIRECT = re.compile(
    r"(?:[ ]?\([^()\n]{0,60}\))?(?:[ ]{1,2}for[ ][^\n.:=0-9]{1,60})?[ ]{0,2}(?::|=|->|is|are)?[ ]{0,3}", re.I
)
_NEXT_LINE = re.compile(r"(?:[ ]?\([^()\n]{0,60}\))?[ ]{0,2}[:=]?[ ]{0,2}\n(?:[^\n:0-9]{1,40}:)?[ ]{0,3}", re.I)
_VERB = re.compile(
    r"\b(?:scor(?:es?|ed|ing)|rat(?:es?|ed|ing)|grad(?:es?|ed|ing)|giv(?:es?|en|ing)|gave|award(?:s|ed|ing)?"
    r"|assign(?:s|ed|ing)?|deserv(?:es?|ing)|earn(?:s|ed|ing)?|receiv(?:es?|ed|ing)|gets?|got"
    r"|mak(?:es?|ing)|is(?=[ ]an?[ ])|stars)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)|\n")
_LED_IN = re.compile(
    r"(?:^|[\s(])(?:a|an|it|of|this|that|as|at|to|is|be|only|just|perfect|solid|score|rating)[ :]{1,2}$", re.I
)
_CLOSED = re.compile(
    r"\s*(?:$|\n|[.,;:!?()\[\]]|-(?![a-z])|(?:for|because|as|since|in|on|and|but|due|indicating|with|to"
    r"|points?|stars?|given|overall"
    r"|based|which|when|if)\b)",
    re.IGNORECASE,
)
_SCALE_TOP = re.compile(r"\b(?:perfect|maximum|max|full|highest|top|best|lowest|minimum|possible|ideal)[ ]{0,2}$", re.I)
_HYPOTHETICAL = (
    r"from[ ]being|to[ ](?:make[ ](?:it|this)|get|earn|receive|reach|become)|short[ ]of|rather[ ]than"
    r"|instead[ ]of|not"
    r"|reach|achieve|become"
)
_NOT_TOLD = re.compile(rf"\b(?:{_HYPOTHETICAL})[ ]{{0,2}}(?:an?[ ]{{1,2}})?(?:perfect[ ]{{1,2}})?$", re.IGNORECASE)
_NOT_REACHED = re.compile(
    rf"\b(?:perfect|{_HYPOTHETICAL})[ ]{{0,2}}(?:an?[ ]{{1,2}})?(?:perfect[ ]{{1,2}})?$", re.IGNORECASE
)
_TOP_NAMED = re.compile(
    r"\b(?:perfect|maximum|max|full|highest|top|best|lowest|minimum)[ ](?:possible[ ])?(?:score|rating|mark)", re.I
)
_LISTED = re.compile(r"[ ]{0,4}\d{1,2}[.)][ ]")
_LEADING_TAIL = re.compile(r"[ ]{0,2}\(|[)\]]{0,2}[ ]{0,2}[:.](?=[ ])|[)\]]|[ ]-[ ]")
_BOXED = re.compile(r"\\boxed\s{0,2}\{\s{0,3}(?:\\text\s{0,2}\{)?([^{}\n]{1,40})\}")
_ON_A_SCALE = re.compile(
    r"\b(?:on|in|from|using|with)[ ](?:(?:a|the)[ ])?(?:scale|range)[ ](?:(?:of|from|between)[ ])?"
    r"\d{1,3}[ ]?(?:-|to|and|/)[ ]?\d{1,3}(?=[ ]?[:,])",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(r"(?:e\.g\.|for example|for instance|such as|format|example|not|n['’]?t)[:, ]{0,3}$", re.I)
_DOUBLE = re.compile(r"\[\[[ ]{0,3}([^\[\]\n]{1,30})\]\]")
_OPTION = re.compile(
    r"(?i:(?:the[ ])?(?:final[ ])?(?:my[ ]|your[ ])?(?:answer|option|choice)[ ]{0,2}(?:is)?[ ]{0,2}:?[ ]{0,2})?"
    r"[(\[]{0,2}([A-E])[)\]]{0,2}(?:$|[ ]{0,2}[:.)-](?:\s|$))"
)
MAX_DIGITS = 300
"""Beyond, an integer is no finite float."""
_LOOK = 120
"""Characters between a verb and its number, at most: "score the consistency of the summary ... as 4"."""


def parse_score(text: str, low: float, high: float) -> float | None:
    """The one score in a reply, in low..high, else None.

    Forms, the first that is there decides, and within a form its last occurrence:

    1. a reply that is JSON with one score, `[[7]]`, a box of TeX
    2. a "final", "overall" or "total" score with its number directly behind it, `[RESULT] 7`, then any score or
       rating label
    3. a first or last line that is nothing but a number ("7", "4/5", "3 stars")
    4. a JSON object in the reply, then a sentence that scores, rates, gives, earns ... a number ("a score of 4",
       "scores a 2 out of 5")
    5. a first or last sentence that is nothing but a number ("Four stars."), or one that opens with it ("1 (dull)")
    6. an option letter (A is `low`, B is `low` + 1, ...), only on scales that begin at 1 and end at 5 or below
    7. a fraction of the scale ("a 4 out of 5 in terms of coherence"), unless it names what was not reached;
       then labels inside a numbered list

    Where forms 1 to 3 hold a number off the scale the reply has no score: an earlier mention is no substitute. Nor
    has it one where several criteria have numbers and none is the overall one, where the number is refused, negated
    or imagined ("I was going to give a 9"), or where the reply takes it back and names no other. A revision that
    names one ("8 -> 6") replaces it. 8,5 is 8.5.
    """
    plain = clean(text)
    for value in whole_json(plain):
        found, score = _json_score(value, low, high)
        if found:
            return score
    marked = _marked(plain)
    if marked is not None:
        item = bare_number(marked)
        return None if item is None else item.rating(low, high)
    lines = text_lines(plain)
    if not lines:
        return None
    joined = "\n".join(lines)
    found_numbers = [item for item in numbers(joined) if not item.is_scale]
    criteria = labelled_criteria(joined, found_numbers)
    decided = _decided(joined, lines, found_numbers, criteria)
    if isinstance(decided, Number):
        return decided.rating(low, high)
    if decided is _NO_SCORE:
        return None
    if criteria.num_criteria > 1:
        return _told(joined, [item for item in found_numbers if item.start not in criteria.starts], low, high)
    for value in embedded_json(plain):
        found, score = _json_score(value, low, high)
        if found:
            return score
    for rule in (_told, _bare_sentence, _leading, _option, _fraction, _listed):
        score = rule(joined, found_numbers, low, high)
        if score is not None:
            return score
    return None


_NO_SCORE = object()
"""Numbers stand there and none of them is the score."""


def _marked(text: str) -> str | None:
    """What stands in the last double brackets or box; empty where several in one line differ or it is an example."""
    found = [*_DOUBLE.finditer(text), *_BOXED.finditer(text)]
    if not found:
        return None
    last = max(found, key=lambda match: match.start())
    start = clause_start(text, last.start())
    beside = {
        match[1].strip()
        for match in found
        if match.start() >= start
        and _EXAMPLE.search(text, max(0, match.start() - 16), match.start()) is None
        and not is_unmeant(text, match.start(), match.end())
    }
    if len(beside) != 1 or takes_back(text, last.end()):
        return ""
    return beside.pop()


def _decided(text: str, lines: list[str], found: list[Number], criteria: Criteria) -> Number | object | None:
    """The number of forms 2 and 3, with its revision; `_NO_SCORE` where the reply takes it back; None: read on."""
    decided = criteria.overall if criteria.num_criteria > 1 else _labelled(text, found) or _bare_line(lines)
    anchor = decided or (found[0] if found else None)
    if anchor is not None:
        revised = revision(text, found, anchor.end if decided is not None and decided in found else found[0].end)
        if revised is not None:
            return revised
        if takes_back(text, anchor.end if anchor in found else 0):
            return _NO_SCORE
    if decided is not None and decided not in found and _differ(lines):
        return _NO_SCORE
    return decided


def _differ(lines: list[str]) -> bool:
    """Whether the first and the last line are two numbers and no more: nothing says which of them is the score."""
    first, last = bare_number(lines[0]), bare_number(lines[-1])
    return first is not None and last is not None and first.value != last.value


def _labelled(text: str, found: list[Number], *, listed: bool = False) -> Number | None:
    """The number directly behind the last "final score", else behind the last other label.

    Labels in a numbered list rate parts of the answer; they are read on their own (`listed`), and last.
    """
    starts = {item.start: item for item in found}
    final = other = None
    for match in _LABEL.finditer(text):
        if _SCALE_TOP.search(text, max(0, match.start() - 12), match.start()):
            continue
        item = _behind(text, match.end(), starts)
        if item is None or _is_listed(text, match.start()) != listed or is_taken_back(text, match.start(), item):
            continue
        if match["final"] or match["alone"]:
            final = item
        else:
            other = item
    return final or other


def _is_listed(text: str, position: int) -> bool:
    return "\n" in text and _LISTED.match(text, text.rfind("\n", 0, position) + 1) is not None


def _listed(text: str, found: list[Number], low: float, high: float) -> float | None:
    item = _labelled(text, found, listed=True)
    return None if item is None else item.rating(low, high)


def _behind(text: str, end: int, starts: dict[int, Number]) -> Number | None:
    direct = _DIRECT.match(text, end)
    if direct is not None and direct.end() in starts:
        item = starts[direct.end()]
        spelled = not text[item.start].isdigit() and text[item.start] not in "+-"
        if _CLOSED.match(text, item.end) or (item.out_of is not None and not spelled):
            return item
    below = _NEXT_LINE.match(text, end)
    if below is not None and below.end() in starts:
        item = starts[below.end()]
        line_end = text.find("\n", item.end)
        rest = text[item.end : line_end if line_end >= 0 else len(text)]
        labelled = ":" in text[end : item.start].partition("\n")[2]
        if not any(char.isalnum() for char in rest) or (rest.lstrip().startswith("(") and not labelled):
            return item
    return None


def _bare_line(lines: list[str]) -> Number | None:
    """The number of a last or first line that is nothing else, perhaps behind a label of a word or two."""
    for line in dict.fromkeys((lines[-1], lines[0])):
        label, _, rest = _ON_A_SCALE.sub("", line).rpartition(":")
        words = _LISTED.sub("", label).split() if len(lines) == 1 else label.split()
        item = bare_number(rest)
        if item is not None and len(words) <= 2 and not any(char.isdigit() for word in words for char in word):
            return item
    return None


def _told(text: str, found: list[Number], low: float, high: float) -> float | None:
    decided = None
    index = 0
    for verb in _VERB.finditer(text):
        while index < len(found) and found[index].start < verb.end():
            index += 1
        if index == len(found):
            break
        item = found[index]
        if item.start - verb.end() > _LOOK or _SENTENCE_END.search(text, verb.end(), item.start):
            continue
        if _SCALE_TOP.search(text, max(0, verb.start() - 12), verb.start()):
            continue
        if _TOP_NAMED.search(text, verb.end(), item.start) or _NOT_TOLD.search(
            text, max(0, item.start - 40), item.start
        ):
            continue
        out_of_scale = item.out_of is not None and item.out_of == high
        led_in = _LED_IN.search(text, max(verb.start(), item.start - 12), item.start) is not None
        if is_taken_back(text, verb.start(), item):
            continue
        if (out_of_scale or (led_in and _CLOSED.match(text, item.end))) and item.rating(low, high) is not None:
            decided = item
    if decided is None or _rivals(text, found, decided, high):
        return None
    return decided.rating(low, high)


def _rivals(text: str, found: list[Number], decided: Number, high: float) -> bool:
    """Whether the same sentence awards another number too ("accuracy a 9 and style a 6")."""
    end = _SENTENCE_END.search(text, decided.end)
    for item in found:
        if decided.end <= item.start < (end.start() if end is not None else len(text)) and item.value != decided.value:
            led_in = re.search(r"\b(?:an?|of)[ ]$", text[max(0, item.start - 4) : item.start]) is not None
            named = _TOP_NAMED.search(text, decided.end, item.start) or _NOT_REACHED.search(
                text, max(0, item.start - 40), item.start
            )
            if (item.out_of == high or led_in) and not named and _CLOSED.match(text, item.end):
                return not is_taken_back(text, decided.end, item)
    return False


def _bare_sentence(text: str, found: list[Number], low: float, high: float) -> float | None:
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    if not ends:
        return None
    for piece in (text[: ends[0]], text[(ends[-2] if ends[-1] == len(text) and len(ends) > 1 else ends[-1]) :]):
        item = bare_number(piece)
        if item is not None:
            return item.rating(low, high)
    return None


def _leading(text: str, found: list[Number], low: float, high: float) -> float | None:
    """A number that opens the reply and is told from a list's: "2: somewhat interesting", "1 (dull)", "(2). The"."""
    opening = text.lstrip(" ([")
    item = next((item for item in found if item.start == len(text) - len(opening)), None)
    if item is None or _LEADING_TAIL.match(text, item.end) is None:
        return None
    numbered = text[item.end :].startswith(".") or any(line[:1].isdigit() for line in text.split("\n")[1:])
    return None if numbered else item.rating(low, high)


def _option(text: str, found: list[Number], low: float, high: float) -> float | None:
    if low != 1 or high > 5:
        return None
    match = _OPTION.match(text)
    return None if match is None else in_range(low + "ABCDE".index(match[1]), low, high)


def _fraction(text: str, found: list[Number], low: float, high: float) -> float | None:
    reached = [
        item
        for item in found
        if item.out_of == high
        and not _NOT_REACHED.search(text, max(0, item.start - 40), item.start)
        and not is_taken_back(text, item.start, item)
    ]
    return reached[-1].rating(low, high) if len({item.value for item in reached}) == 1 else None


def _json_score(value: object, low: float, high: float) -> tuple[bool, float | None]:
    """Whether the value holds one score at all, and the score where it is on the scale."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        named = [item for key, item in value.items() if JSON_SCORE.fullmatch(str(key)[:60].strip())]
        if not named:
            named = [item for item in value.values() if number(item) is not None]
        if len(named) != 1:
            return False, None
        value = named[0]
    elif number(value) is None:
        return False, None
    if isinstance(value, str):
        item = bare_number(value)
        return True, None if item is None else item.rating(low, high)
    return True, in_range(number(value), low, high)


def compat_integer(text: str) -> float | None:
    """LLMBar's ratings as published: `int(reply)`, else missing; neither the range nor anything else is checked."""
    bare = text.strip()
    if len(bare) > MAX_DIGITS:
        return None
    try:
        return float(int(bare))  # other scripts' digits and 1_0 are integers to it too
    except ValueError:
        return None
