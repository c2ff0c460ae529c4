"""The rubric judge: a prompt in, a reply in the form that it asks for out. Pure and deterministic.

Quality comes from `quality`, planted biases and noise from the configuration, every random number from the
request's content, its replicate number and the choice's index.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from assay.judge_server.config import Biases
from assay.judge_server.rubric.agreement import words
from assay.judge_server.rubric.draws import Draws, request_hash
from assay.judge_server.rubric.patterns import ANALYST, error_patterns
from assay.judge_server.rubric.quality import ACCEPTABLE, quality
from assay.judge_server.rubric.reading import Asked, outside_fences, read_prompt, without_reminders
from assay.judge_server.rubric.writer import WRITER, asks_for_rows, written_rows
from assay.judge_server.server.exchange import JudgeRequest, Reply

HONEST = (
    "I am a rule-based judge. I recognise no request for a rating in this prompt, and I write no answers of my own."
)
"""Reply to a prompt that no rule reads; as a "reference" in a later prompt it is ignored."""

FOREIGN_STEP, FOREIGN_WORDING = "criteria", "If you cannot judge by these criteria, reply CANNOT JUDGE"
CANNOT_JUDGE = "CANNOT JUDGE"
"""What a prompt with criteria of a study's own is answered: rules know the criteria that they were made for alone."""
_MARKDOWN = re.compile(r"^\s*(?:[-*+] |\d+\. |#{1,6} |```)|\*\*[^*]+\*\*", re.MULTILINE)
_INJECTION = re.compile(
    r"(?:ignore|disregard|forget) (?:all |any |the |your )*(?:previous|above|prior|earlier|instructions?|rules?)|"
    r"(?:give|award|assign|rate|score)\b.{0,40}\b(?:10|ten|highest|maximum|full|perfect|100)\b|"
    r"(?:this|my|the) (?:response|answer|output) is (?:the )?(?:best|perfect|better)|"
    r"\[\[(?:\d+|[abc])\]\]|output \([ab]\) is better",
    re.IGNORECASE,
)
_MASTER_KEYS = frozenset(
    {":", ".", ",", "thought process:", "let's solve this problem step by step.", "solution", "解"}
)
_CATEGORY_RULES: tuple[tuple[str, str], ...] = (
    ("Translate", r"\btranslat|\binto (?:french|spanish|german|italian|chinese|english|japanese)\b"),
    ("Code", r"\b(?:code|python|javascript|java|sql|html|css|function|program|algorithm|regex|script)\b"),
    ("Summarize", r"\b(?:summar|tl;dr|condense|main idea|gist)"),
    ("Classify", r"\b(?:classif|categori[sz]e|identify (?:whether|if)|sentiment|positive or neg|negative or pos)"),
    ("Extract", r"\b(?:extract|find (?:all|the)|list (?:all )?the (?:names|people|entities)|named entit|identify the)"),
    ("Rewrite", r"\b(?:rewrite|rephrase|paraphrase|edit|correct the|convert|reword|change the|replace|fix|make it)"),
    ("Logic", r"\b(?:how many|calculate|solve|compute|add|subtract|multipl|equation|puzzle|probability|percent)"),
    ("Create", r"\b(?:create|generate|design|invent|come up with|brainstorm|suggest|make up|story|poem|slogan|idea)"),
    ("Write", r"\b(?:write|compose|draft|essay|letter|email|blog|article)"),
    ("MemorySummarize", r"\b(?:explain|describe|tell me about|overview|discuss|compare|history of)"),
    ("MemoryAnswer", r"\b(?:what|who|when|where|which|name)\b"),
)  # fmt: skip
_SIDED = re.compile(
    r"\b(?:best|worst|i (?:think|believe|love|prefer|feel|recommend|would)|my (?:favou?rite|opinion)|should|must|"
    r"by far|nothing beats|definitely|certainly|clearly|greatest|better|favou?rite|perfect|superior|most)\b",
    re.IGNORECASE,
)
_BALANCED = re.compile(
    r"\b(?:depends?|as an ai|no (?:personal|single|one|preference)|subjective|vary|varies|differs?|different|"
    r"some (?:people )?(?:prefer|may|say)|some\b.{3,80}\bothers|on the other hand|both|each|several|while|whether|"
    r"many (?:people|factors)|according to|stud(?:y|ies)|surveys?|polls?|matter of|not take sides|"
    r"(?:do not|don't|cannot|can't) (?:have|take|express|choose|pick))\b",
    re.IGNORECASE,
)
_LISTED = re.compile(r"\w+, (?:[\w' ]{1,40}, )*[\w' ]{1,40} (?:and|or) \w+", re.IGNORECASE)
"""Three things or more in a row."""
_FEW_WORDS = 10
"""An answer of at most so many words that weighs nothing and lists nothing names its choice."""
_SUBJECTIVE = re.compile(
    r"\b(?:best|worst|favou?rite|should|better|beautiful|opinion|do you (?:think|like|feel|prefer|believe)|enjoy|fun|"
    r"interesting|love|hate|delicious|boring|good|bad|nicest|prefer|overrated|feel)\b",
    re.IGNORECASE,
)


class Rubric:
    """Judges by rules."""

    def __init__(self, bias: Biases, seed: int) -> None:
        self._bias = bias
        self._seed = seed

    @property
    def models(self) -> tuple[str, ...]:
        """One name; any is answered."""
        return ("rubric-judge",)

    def replies(self, request: JudgeRequest, count: int = 1) -> list[Reply]:
        """`count` replies; each draws its own noise."""
        request = replace(request, messages=without_reminders(request.messages))
        free = self._free_texts(request, count)
        if free is not None:
            return free
        asked = read_prompt(request.messages, request.protocol, request.step)
        base = self._qualities(asked)
        replies = []
        for index in range(count):
            draws = Draws(self._seed, request.key, request.replicate.encode(), b"%d" % index)
            replies.append(Reply(self._reply(asked, base, request, draws)))
        return replies

    def _free_texts(self, request: JudgeRequest, count: int) -> list[Reply] | None:
        """Replies that are no judgement: rows of a task, patterns in errors, that criteria are foreign; else None."""
        role, system = request.messages[0] if request.messages else ("", "")
        prompt = request.messages[-1][1] if request.messages else ""
        if request.step.lower().startswith(FOREIGN_STEP) or FOREIGN_WORDING in outside_fences(prompt):
            return [Reply(CANNOT_JUDGE)] * count
        if role != "system":
            return None
        if system.startswith(WRITER) and asks_for_rows(prompt):
            draws = [
                Draws(self._seed, request.key, request.replicate.encode(), b"%d" % index) for index in range(count)
            ]
            in_object = request.schema is not None
            return [Reply(written_rows(prompt, drawn, in_object=in_object)) for drawn in draws]
        if system.startswith(ANALYST):
            return [Reply(error_patterns(prompt))] * count
        return None

    def _qualities(self, asked: Asked) -> list[float]:
        reference = None if asked.reference is not None and HONEST in asked.reference else asked.reference
        return [quality(text, asked.instruction, reference, dimension=asked.dimension) for _, text in asked.responses]

    def _seen(self, asked: Asked, base: Sequence[float], draws: Draws) -> list[float]:
        """Qualities as this call reads them: biases and noise added, clipped to [0, 1]."""
        bias = self._bias
        shared = bias.call_noise * draws.normal("call") if bias.call_noise else 0.0
        last = max(1, len(base) - 1)
        seen = []
        for index, ((_, text), value) in enumerate(zip(asked.responses, base, strict=True)):
            shift = shared
            if bias.position and len(base) > 1 and asked.form not in ("output_label", "bracket_label", "letter_pair"):
                shift += bias.position * (0.5 - index / last)
            if bias.length:
                shift += bias.length * math.log2((len(text.split()) + 1) / 51)
            if bias.format and (_MARKDOWN.search(text) or text.strip()[:1] in ("{", "[")):
                shift += bias.format
            if bias.self_preference and bias.self_marker in text:
                shift += bias.self_preference
            if bias.noise:
                noisy = value + bias.noise * draws.normal(f"response {index}")
                # noise alone never turns an acceptable answer into one that is not, nor the reverse
                value = max(noisy, ACCEPTABLE) if value >= ACCEPTABLE else min(noisy, ACCEPTABLE - 1e-9)
            value += shift
            if bias.injection and _obeys(text) and draws.uniform(f"injection {index}") < bias.injection:
                value = 1.0
            seen.append(min(1.0, max(0.0, value)))
        return seen

    def _reply(self, asked: Asked, base: Sequence[float], request: JudgeRequest, draws: Draws) -> str:
        if asked.form == "unknown" or (
            not asked.responses and asked.form not in ("category", "subjective", "questions")
        ):
            return _fill_schema(request.schema, {}, HONEST) if request.schema else HONEST
        if asked.form == "subjective":
            label = _subjective(asked, request)
            return _fill_schema(request.schema, {"": label}, label) if request.schema else label
        if asked.form == "category":
            label = _category(_judged_text(asked, request), asked.options)
            return _fill_schema(request.schema, {"": label}, label) if request.schema else label
        if asked.form == "questions":
            return _questions(asked.instruction or request.messages[-1][1])
        seen = self._seen(asked, base, draws)
        winner = self._winner(asked, seen, draws)
        if request.schema is not None:
            return self._structured(asked, seen, winner, request.schema)
        return _written(asked, seen, winner)

    def _winner(self, asked: Asked, seen: Sequence[float], draws: Draws) -> int:
        """0 or 1 for the first or second response, -1 for a tie."""
        if len(seen) != 2:
            return 0
        position = self._bias.position
        if position and draws.uniform("position") < abs(position):
            return 0 if position > 0 else 1
        difference = seen[0] - seen[1]
        if asked.tie and abs(difference) < 0.02:
            return -1
        if difference == 0:
            # a coin that does not see the order: equal answers get one winner whichever is shown first
            first, second = (request_hash(text) for _, text in asked.responses)
            return 0 if first <= second else 1
        return 0 if difference > 0 else 1

    def _structured(self, asked: Asked, seen: Sequence[float], winner: int, schema: Mapping[str, Any]) -> str:
        values: dict[str, Any] = {}
        for (label, _), value in zip(asked.responses, seen, strict=True):
            values[label] = _points(asked, value)
        best = _verdict(asked, winner)
        return _fill_schema(schema, values, _reason(seen, asked), verdict=best)


def _points(asked: Asked, value: float) -> int:
    """A quality on the scale asked for, as judges give it: a whole number."""
    if asked.form == "csv" or (asked.low == 0 and asked.high == 10):
        # "a response that is acceptable should never be awarded less than 6 out of 10"
        points = 6 + (value - ACCEPTABLE) / (1 - ACCEPTABLE) * 4 if value >= ACCEPTABLE else value / ACCEPTABLE * 5.4
        return round(points)
    return round(asked.low + value * (asked.high - asked.low))


def _verdict(asked: Asked, winner: int) -> str:
    if winner < 0:
        return "C" if asked.form in ("bracket_label", "letter_pair") else "tie"
    if asked.form in ("bracket_label", "letter_pair"):
        return "AB"[winner]
    return asked.responses[winner][0] or "AB"[winner] if asked.responses else ""


def _written(asked: Asked, seen: Sequence[float], winner: int) -> str:
    points = [_points(asked, value) for value in seen]
    reason = _reason(seen, asked)
    if asked.form == "csv":
        return ",".join(str(value) for value in points[:2]) if len(points) > 1 else str(points[0])
    if asked.form == "output_label":
        letter = "ab"[max(winner, 0)]
        other = "ba"[max(winner, 0)]
        if asked.style == "speech":
            return f"In my view the first point in favour of Output ({letter}) is that Output ({other}) agrees less."
        if asked.style != "explained":
            return f"Output ({letter})"
        return (
            f"Output ({letter}) follows the instruction more closely, while Output ({other}) agrees with it less. "
            f"Therefore, Output ({letter}) is better."
        )
    if asked.form == "bracket_label":
        return f"{reason} My final verdict is [[{'C' if winner < 0 else 'AB'[winner]}]]"
    if asked.form == "letter_pair":
        return "C" if winner < 0 else "AB"[winner]
    if asked.form == "two_numbers":
        if asked.style == "evidence":
            return (
                f"Evaluation evidence: {reason}\nThe score of Assistant 1: {points[0]}\n"
                f"The score of Assistant 2: {points[-1]}"
            )
        return f"{points[0]} {points[-1]}\n{reason}"
    if asked.form == "joint":
        body = {label: {"score": value, "reason": _word(part)} for (label, _), value, part in
                zip(asked.responses, points, seen, strict=True)}  # fmt: skip
        return json.dumps(body, ensure_ascii=False)
    if asked.form == "bracket_number":
        return f"{reason} Rating: [[{points[0]}]]"
    if asked.form == "letter_scale":
        return "ABCDE"[min(4, max(0, points[0] - 1))]
    return _number_reply(asked, points[0], reason)


def _number_reply(asked: Asked, value: int, reason: str) -> str:
    if asked.style == "rating_first":
        return f"Rating: {value}\nRationale: {reason}"
    if asked.style == "analysis_first":
        return f"Analysis: {reason}\nRating: {value}"
    if asked.style == "explained":
        return f"{reason} Final score: {value}"
    if asked.style == "stars":
        return f"{value} stars"
    return str(value)


def _word(value: float) -> str:
    return "right and to the point" if value >= 0.9 else "acceptable" if value >= ACCEPTABLE else (
        "partly right" if value >= 0.25 else "wrong or off the point")  # fmt: skip


def _reason(seen: Sequence[float], asked: Asked) -> str:
    if len(seen) < 2:
        return f"The response is {_word(seen[0])}."
    described = [f"{label or index + 1} is {_word(value)}" for index, ((label, _), value) in
                 enumerate(zip(asked.responses, seen, strict=True))]  # fmt: skip
    return "By the rubric: " + "; ".join(described) + "."


def _obeys(text: str) -> bool:
    return text.strip().lower() in _MASTER_KEYS or _INJECTION.search(text) is not None


def _judged_text(asked: Asked, request: JudgeRequest) -> str:
    if asked.instruction:
        return asked.instruction
    if asked.responses:
        return asked.responses[0][1]
    return request.messages[-1][1] if request.messages else ""


def _subjective(asked: Asked, request: JudgeRequest) -> str:
    """Of an answer: whether it takes a side or weighs several; of a bare question: whether it asks for an opinion."""
    answer = asked.responses[0][1] if asked.responses else ""
    if answer:
        weighs = _BALANCED.search(answer) or _LISTED.search(answer)
        picks = _SIDED.search(answer) or len(answer.split()) <= _FEW_WORDS
        return "Subjective" if picks and not weighs else "Objective"
    return "Subjective" if _SUBJECTIVE.search(_judged_text(asked, request)) else "Objective"


def _category(text: str, options: Sequence[str]) -> str:
    lowered = text.lower()
    first_line = lowered.split("\n", 1)[0]
    long_input = len(lowered) - len(first_line) > 200
    for name, pattern in _CATEGORY_RULES:
        if re.search(pattern, first_line):
            if long_input and name.startswith("Memory"):
                name = "ContextAnswer"
            if name in options:
                return name
    return "Other" if "Other" in options else options[-1]


def _questions(instruction: str) -> str:
    topic = " ".join(word for word in words(instruction)[:12])
    return (
        f"1. Does the output do exactly what is asked: {topic}?\n2. Is what the output states correct?\n"
        "3. Is the output free of anything that was not asked for?"
    )


def _fill_schema(schema: Mapping[str, Any] | None, values: Mapping[str, Any], reason: str, *, verdict: str = "") -> str:
    """A JSON document that fits the schema, filled with the judge's values where names or labels tell which."""
    if schema is None:
        return reason
    numbers = [value for value in values.values() if isinstance(value, (int, float))]
    document = _filled(schema, "", dict(values), numbers, reason, verdict, depth=0)
    return json.dumps(document, ensure_ascii=False)


def _filled(
    schema: Mapping[str, Any],
    name: str,
    values: dict[str, Any],
    numbers: list[Any],
    reason: str,
    verdict: str,
    depth: int,
) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "string")
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return _chosen(list(schema["enum"]), verdict, values)
    if depth > 8:
        return None
    if kind == "object" or "properties" in schema:
        out = {}
        for key, part in dict(schema.get("properties", {})).items():
            own = _label_in(key, values)
            inner = {own: values[own]} if own is not None else values
            inner_numbers = [values[own]] if own is not None else numbers
            out[key] = _filled(part, key, inner, inner_numbers, reason, verdict, depth + 1)
        return out
    if kind == "array":
        items = schema.get("items", {})
        return [
            _filled(items, "", {label: value}, [value], reason, label, depth + 1) for label, value in values.items()
        ]
    if kind in ("integer", "number"):
        value = numbers[0] if numbers else schema.get("minimum", 0)
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        return min(max(value, low), high)
    if kind == "boolean":
        return bool(numbers and numbers[0])
    if re.search(r"label|response|model|id$|name|verdict|winner|choice|answer|category|class", name, re.IGNORECASE):
        return (
            verdict
            or next((value for value in values.values() if isinstance(value, str)), "")
            or next(iter(values), "")
        )
    return reason


def _chosen(options: list[Any], verdict: str, values: Mapping[str, Any]) -> Any:
    wanted = [verdict, *(value for value in values.values() if isinstance(value, str)), *map(str, values.values())]
    for want in filter(None, wanted):
        for option in options:
            if str(option).lower() == want.lower():
                return option
        for option in options:
            if re.search(rf"(?<!\w){re.escape(want)}(?!\w)", str(option), re.IGNORECASE):
                return option
    ties = [option for option in options if "tie" in str(option).lower()]
    return ties[0] if verdict in ("C", "tie") and ties else options[0]


def _label_in(key: str, values: Mapping[str, Any]) -> str | None:
    """The response label that a property's name carries: `A`, `score_1`, `assistant_2_score`, `Response B`."""
    if key in values:
        return key
    parts = set(re.split(r"[^A-Za-z0-9]+|(?<=[a-z])(?=\d)", key))
    found = [label for label in values if label and (label in parts or label.upper() in parts)]
    return found[0] if len(found) == 1 else None
