"""What a judge's prompt shows (instruction, responses, reference) and which form of reply it asks for. Pure.

The prompt's own wording decides; a protocol named in a header only settles what the wording leaves open. Text
between fence markers (`<<<BEGIN nonce>>>` ... `<<<END nonce>>>`, each on its own line) is taken out before
headings are looked for, so that a response cannot pass for a heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from assay.tasks.catalog import INSTRUCTION_CATEGORIES, OTHER

Form = Literal[
    "csv",
    "number",
    "bracket_number",
    "output_label",
    "bracket_label",
    "letter_pair",
    "two_numbers",
    "joint",
    "letter_scale",
    "category",
    "subjective",
    "questions",
    "unknown",
]
CATEGORIES = (*INSTRUCTION_CATEGORIES, OTHER)


@dataclass(frozen=True, slots=True)
class Asked:
    """A judge's prompt as the rubric understands it."""

    form: Form
    instruction: str = ""
    """The task with its input, or the source text of a summary."""
    responses: tuple[tuple[str, str], ...] = ()
    """(label, text) in the order shown; the label is "" where there is one response."""
    reference: str | None = None
    low: float = 0.0
    high: float = 10.0
    dimension: str = ""
    style: str = ""
    """Variant of the form: "explained", "speech", "evidence", "rating_first", "analysis_first", "stars" or ""."""
    tie: bool = False
    """A pairwise form that allows a tie."""
    options: tuple[str, ...] = ()
    """Classes to choose from, as the prompt spells them."""


_FENCE = re.compile(r"<<<BEGIN ([0-9a-fA-F]+)>>>[ \t]*\n(.*?)\n?<<<END \1>>>", re.DOTALL)
_OTHER_FENCE = re.compile(
    r"^<<<\s*(?!BEGIN|END)([\w ]{0,24}?)\s*([0-9a-fA-F]{4,64})\s*>>>[ \t]*\n(.*?)\n?^<<<\s*(?:/|END)?\s*\1\s*\2\s*>>>",
    re.DOTALL | re.MULTILINE,
)
_NOTE = re.compile(r"Text between <<<BEGIN [0-9a-f]+>>> and .*")
"""What a system turn says about the fence: it speaks of scores and verdicts, and asks for neither."""
_HOLE = re.compile("\ue000(\\d+)\ue001")

_HEADING = re.compile(
    r"""^[ \t]*(?P<mark>\#{1,6}|\[|<\||\*\*)?[ \t]*(?:(?P<start>The\ Start\ of)[ \t]+|(?P<stop>The\ End\ of)[ \t]+)?
    (?:the[ \t]+)?
    (?:
      (?P<reference>(?:(?:an?|gold|human[- ]written|correct|ground[- ]truth)[ \t]+)*
        (?:reference|gold|correct|ground[- ]truth|expected|ideal)(?!\w)(?:[ \t]+[\w'-]+){0,8})
     |(?P<rest>questions?\ about\ (?:the\ )?outputs?|which\ is\ better|decision|debate|discussion|score\ of|requirements
        |rules|what\ your\ reply
        |criteria|evaluation\ (?:form|steps|cri?te?e?ria|given)|stars?
        |your\ (?:answer|choice|decision|task|reply|scores?|vote|contribution|evaluation|verdict)
        |reply|system|example|format|output\ format|labels|scores?|verdict|category|label|steps)
     |(?P<instruction>(?:user(?:'s)?[ \t]+|original[ \t]+)?(?:(?:first|second)[ \t]+)?
        (?:instruction|question|prompt|query|task|request)
        (?:[ \t]+\d)?)
     |(?P<source>input|article|source(?:[ \t]+text)?|news|document|conversation(?:[ \t]+history)?|dialogue|context
        |corresponding\ fact|fact)
     |(?P<response>(?:(?:ai|model(?:'s)?|candidate|student(?:'s)?|chatbot|assistant's)[ \t]+)?
        (?:(?:first|second)[ \t]+)?
        (?P<base>response|answer|output|summary|assistant|candidate|completion|prediction|model|system\ output)
        (?:[ \t]+of[ \t]+assistant)?
        (?:[ \t]*\#?[ \t]*(?P<label>\([A-Za-z]\)|\(\d{1,3}\)|(?-i:[A-Z]{1,2})|(?-i:[a-z])|\d{1,3})(?!\w))?
        (?:(?:'s)?[ \t]+(?:answer|response|output|conversation(?:\ with\ user)?))?
        (?:\ to\ the\ (?:first|second)\ question)?)
    )(?!\w)
    (?P<more>[^:\n\]|]*)
    (?P<close>:(?:\*\*)?|\][:]?|\|>|\*\*:?|$)[ \t]*(?P<inline>.*)$""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_PLAIN_START = re.compile(r"rate the responses? to the following instruction[.:]?[ \t]*\n", re.IGNORECASE)
_NUMERALS = {
    "zero": 0, "one": 1, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "ten": 10, "hundred": 100,
}  # fmt: skip
_SCALE = re.compile(
    r"(?:scale (?:of|from)|between|from|range(?: of)?|score(?: of)?|integer|number)\s+(\d{1,3}|zero|one)\s*"
    r"(?:to|and|-|–|\.\.)\s*(\d{1,3}|three|four|five|six|seven|ten|hundred)\b|\((\d)\s*[-–]\s*(\d{1,3})\)|\b(\d)\s*[-–]\s*(10|100|5|9)\b",
)
_DIMENSIONS = (
    "coherence",
    "consistency",
    "fluency",
    "relevance",
    "engagingness",
    "groundedness",
    "naturalness",
    "informativeness",
)


LONGEST_REMINDER = 300
"""Characters of a turn that only asks for the reply again."""
_REMINDER = re.compile(r"could not be (?:read|parsed|understood)|\b(?:reply|answer|respond|try) again\b", re.IGNORECASE)


def outside_fences(text: str) -> str:
    """A prompt without what stands between fence markers."""
    return _take_out(text, [])


def read_prompt(messages: Sequence[tuple[str, str]], protocol: str = "", step: str = "") -> Asked:
    """What these (role, content) messages show and ask for; `form` is "unknown" where no rule knows the wording."""
    body = next((content for role, content in reversed(messages) if role == "user"), "")
    if not body:
        body = messages[-1][1] if messages else ""
    whole = "\n".join(content for _, content in messages)
    holes: list[str] = []
    body = _take_out(body, holes)
    wording = (_NOTE.sub("", _take_out(whole, [])) if "<<<" in whole else whole).lower()
    protocol, step = protocol.lower(), step.lower()
    asked = _sections(body, holes)
    asked = replace(asked, form=_form(wording, asked, protocol, step))
    low, high = _scale(wording, asked.form)
    return replace(
        asked,
        low=low,
        high=high,
        dimension=_dimension(wording) if asked.form in ("number", "letter_scale", "letter_pair") else "",
        style=_style(wording, asked.form),
        tie="[[c]]" in wording or ("equally" in wording and asked.form == "letter_pair"),
        options=_options(whole) if asked.form == "category" else (),
        reference=_reference(asked, protocol),
    )


def without_reminders(messages: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The conversation up to its question: a judge that is told that its reply could not be read answers that again."""
    while len(messages) >= 3 and messages[-2][0] == "assistant" and messages[-3][0] == "user":
        role, text = messages[-1]
        if role != "user" or len(text) > LONGEST_REMINDER or _REMINDER.search(text) is None:
            break
        messages = messages[:-2]
    return tuple(messages)


def _take_out(text: str, holes: list[str]) -> str:
    if "<<<" not in text:
        return text

    def hole(match: re.Match[str]) -> str:
        holes.append(match.group(match.re.groups))
        return f"\ue000{len(holes) - 1}\ue001"

    return _OTHER_FENCE.sub(hole, _FENCE.sub(hole, text))


def _put_back(text: str, holes: list[str]) -> str:
    text = text.strip()
    match = _HOLE.fullmatch(text)
    if match:
        return holes[int(match.group(1))] if int(match.group(1)) < len(holes) else text
    return _HOLE.sub(lambda found: holes[int(found.group(1))] if int(found.group(1)) < len(holes) else "", text)


def _sections(body: str, holes: list[str]) -> Asked:
    plain = _plain_sections(body, holes)
    if plain is not None:
        return plain
    instruction: list[str] = []
    responses: list[tuple[str, str]] = []
    reference: str | None = None
    for kind, label, text in _split(body):
        value = _put_back(text, holes)
        if kind in ("instruction", "source"):
            instruction.append(value)
        elif kind == "reference" and reference is None:
            reference = value
        elif kind == "response":
            responses.append((label, value))
    return Asked("unknown", "\n".join(part for part in instruction if part), tuple(responses), reference)


def _split(body: str) -> list[tuple[str, str, str]]:
    """(kind, label, text) of each section that a heading starts; text before the first heading is left out."""
    heads = list(_heads(body))
    responses = [head for head in heads if head.kind == "response"]
    first = next((head for head in responses if head.label), responses[0] if responses else None)
    two_turns = any(head.turn == 2 for head in responses)
    kept: list[_Head] = []
    for head in heads:
        inside = bool(kept) and kept[-1].kind == "response"
        if head.kind == "response" and first and first.label and (head.base != first.base or not head.label):
            continue  # one prompt labels all its responses alike: another form is part of a text
        if two_turns and head.turn == 1 and head.kind in ("response", "reference"):
            head = replace(head, kind="rest")  # the second answer is judged
            inside = False
        if inside and head.kind in ("instruction", "source"):
            continue  # a response may well hold a line "Question: ..."; what is asked stands before it
        if inside and head.kind == "response" and not head.label:
            if not body[head.text_at :].strip():
                kept.append(replace(head, kind="rest"))  # "Output:" at the end: the judge is to write there
            continue
        kept.append(head)
    sections = []
    for index, head in enumerate(kept):
        end = kept[index + 1].at if index + 1 < len(kept) else len(body)
        sections.append((head.kind, head.label, body[head.text_at : end].strip()))
    return sections


@dataclass(frozen=True, slots=True)
class _Head:
    kind: str
    label: str
    at: int
    text_at: int
    base: str = ""
    """Mark and word that name a response: `# output`."""
    turn: int = 0
    """1 or 2 where the heading tells the turn of a conversation."""


def _heads(body: str) -> Iterator[_Head]:
    at = 0
    for line in body.split("\n"):
        # most lines are prose: two cheap looks spare them the pattern
        if line.lstrip()[:1] in ("#", "[", "<", "*") or ":" in line[:160]:
            match = _HEADING.match(body, at)
            head = _head(match) if match else None
            if head is not None:
                yield head
        at += len(line) + 1


def _head(match: re.Match[str]) -> _Head | None:
    """The heading on this line, if it is one: marked as such, or a name and a colon."""
    kind = next(name for name in ("reference", "rest", "instruction", "source", "response") if match[name])
    more = match["more"].strip()
    marked, colon = bool(match["mark"]), ":" in match["close"]
    if not marked and not colon:
        return None
    if more and not (kind in ("reference", "rest") and len(more) <= 400 and (marked or not match["inline"])):
        return None
    if match["stop"]:
        kind = "rest"
    whole_line = marked and kind == "rest"
    label = (match["label"] or "").strip("()")
    line = match.group().lower()
    turn = 2 if "second" in line else 1 if "first" in line else 0
    base = f"{match['mark'] or ''} {(match['base'] or '').lower()}"
    return _Head(kind, label, match.start(), match.end() if whole_line else match.start("inline"), base, turn)


def _plain_sections(body: str, holes: list[str]) -> Asked | None:
    """The wording of IFTEval's prompt. The LAST "Response 2:" starts the gold answer, which no model wrote."""
    start = _PLAIN_START.search(body)
    if start is None:
        return None
    rest = re.sub(r"\n\s*Output:\s*$", "\n", body[start.end() :])
    first = re.search(r"^Response(?: 1)?:", rest, re.MULTILINE)
    if first is None:
        return None
    head, tail = rest[: first.start()], rest[first.end() :]
    reference = None
    shown = re.search(r"^Reference(?: answer)?:", head, re.MULTILINE)
    if shown:
        reference = _put_back(head[shown.end() :], holes)
        head = head[: shown.start()]
    second = list(re.finditer(r"^Response 2:", tail, re.MULTILINE))
    responses = [("1" if second else "", _put_back(tail[: second[-1].start()] if second else tail, holes))]
    if second:
        responses.append(("2", _put_back(tail[second[-1].end() :], holes)))
    return Asked("unknown", _put_back(head, holes), tuple(responses), reference)


def _form(wording: str, asked: Asked, protocol: str, step: str) -> Form:
    count = len(asked.responses)
    if count < 2 and re.search(r"\bsubjective\b.{0,80}\bobjective\b", wording, re.DOTALL):
        return "subjective"
    if "categor" in wording and sum(1 for name in CATEGORIES if name.lower() in wording) >= 5:
        return "category"
    if protocol.startswith(("tag", "categor")):
        return "category"
    if not count and re.search(r"\b(?:at most|up to|propose|write) \w+ .{0,30}\bquestions\b", wording):
        return "questions"
    if step.startswith("aux") and not count:
        return "unknown"
    if "<score1" in wording or ("csv" in wording and count == 2):
        return "csv"
    if "[[a]]" in wording:
        return "bracket_label"
    if "output (a)" in wording and "output (b)" in wording:
        return "output_label"
    if count >= 2 and ("json" in wording or protocol.startswith("joint")) and "two assistants" not in wording:
        return "joint"
    if re.search(r"\[\[(?:rating|\d+|x)\]\]", wording):
        return "bracket_number"
    if count == 2 and re.search(r"enter 1 letter from a to c|choose .{0,60} option from a, b", wording):
        return "letter_pair"
    if count == 2 and "assistant" in wording and ("scale" in wording or "score" in wording):
        return "two_numbers"
    if "letter from a to e" in wording:
        return "letter_scale"
    if count >= 1 and re.search(r"\b(?:scores?|rate|ratings?|stars?|grade)\b", wording):
        return "number"
    return "unknown"


def _reference(asked: Asked, protocol: str) -> str | None:
    if asked.reference is not None or asked.form != "csv" or len(asked.responses) != 2:
        return asked.reference
    return asked.responses[0][1] if "swap" in protocol else asked.responses[1][1]


def _scale(wording: str, form: Form) -> tuple[float, float]:
    if form == "csv":
        return 0.0, 10.0
    if form == "letter_scale":
        return 1.0, 5.0
    if form not in ("number", "bracket_number", "two_numbers", "joint"):
        return 0.0, 1.0
    for match in _SCALE.finditer(wording):
        low, high = [group for group in match.groups() if group][:2]
        bottom = float(_NUMERALS.get(low, low) if not low.isdigit() else low)
        top = float(_NUMERALS.get(high, high) if not high.isdigit() else high)
        if top > bottom:
            return bottom, top
    if form == "joint":
        return 0.0, 100.0
    return (
        (1.0, 10.0) if form in ("bracket_number", "two_numbers") else (1.0, 5.0) if "star" in wording else (0.0, 10.0)
    )


def _dimension(wording: str) -> str:
    form = re.search(r"evaluation form.*?-\s*(\w+)", wording, re.DOTALL)
    if form and form.group(1) in _DIMENSIONS:
        return form.group(1)
    counts = [(wording.count(name), name) for name in _DIMENSIONS]
    best = max(counts, key=lambda pair: pair[0])
    return best[1] if best[0] >= 2 else ""


def _style(wording: str, form: Form) -> str:
    if form == "output_label":
        return "explained" if "therefore, output" in wording else "speech" if "do not vote" in wording else ""
    if form == "two_numbers":
        evidence = re.search(r"evaluation evidence|the score of assistant 1|evidence first", wording)
        return "evidence" if evidence else ""
    if form == "number":
        if 'starting with "rating:"' in wording:
            return "rating_first"
        if 'starting with "analysis:"' in wording:
            return "analysis_first"
        if "stars:" in wording:
            return "stars"
        if "reason" in wording and "final score" in wording:
            return "explained"
    return ""


def _options(text: str) -> tuple[str, ...]:
    return tuple(name for name in CATEGORIES if re.search(rf"\b{name}\b", text, re.IGNORECASE)) or CATEGORIES
