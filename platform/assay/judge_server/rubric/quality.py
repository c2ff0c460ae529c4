"""The rubric: how good a response is as an answer to an instruction, in [0, 1], by rules. Pure.

With a reference, agreement with it leads; without one, relevance to the instruction and the form that it asks
for stand in. Fluency proxies (empty, repeated, cut off, copied, refused) lower both. No rule looks anything up: the
rubric is a stand-in for a judge model, good enough to order right, half right and wrong answers, and no more.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from assay.judge_server.rubric.agreement import WORD, agreement, words

ACCEPTABLE = 0.5
"""Quality from which an answer is acceptable."""

_STOP = frozenset(
    WORD.findall(
        "a an the of to in on at for and or but with by from as is are was were be been it its this that these those i "
        "you he she we they his her their our your my do does did not no can could will would should have has had what "
        "which who how when where why if then than so about into over following given sentence text write please give "
        "answer question"
    )
)
_REFUSAL = re.compile(r"\b(?:i (?:cannot|can't|can not|am unable to|won't)|as an ai)\b", re.IGNORECASE)
_ODD = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ufffd]")
_ENDS = (".", "!", "?", '"', "'", "”", ")", "]", "}", "`", ":", "…", "。")


def quality(response: str, instruction: str, reference: str | None, *, dimension: str = "") -> float:
    """Quality of `response`, in [0, 1]; from `ACCEPTABLE` on it is an acceptable answer.

    Args:
        response: what is judged.
        instruction: the task, with its input.
        reference: the gold answer, where one is shown.
        dimension: "fluency" or "coherence" weigh the form more, "relevance" and "consistency" the content; "" both.
    """
    text = response.strip()
    if not text:
        return 0.0
    form = fluency(text)
    if reference is not None and reference.strip():
        content = agreement(text, reference, instruction)
        content = max(content, 0.15 * relevance(text, instruction + "\n" + reference))
    else:
        content = alone(text, instruction)
    if dimension == "fluency":
        return form * (0.85 + 0.15 * content)
    if dimension == "coherence":
        return form * (0.5 + 0.5 * content)
    return content * (0.4 + 0.6 * form)


def fluency(text: str) -> float:
    """Fluency proxies in [0, 1]: repetition, a cut-off end, no words at all."""
    found = WORD.findall(text.lower())
    if not found:
        return 0.3
    score = 1.0
    if len(found) >= 8:
        trigrams = Counter(zip(found, found[1:], found[2:], strict=False))
        repeated = 1.0 - len(trigrams) / max(1, sum(trigrams.values()))
        score -= min(0.7, 1.2 * repeated)
    longest = max(Counter(found).values())
    if len(found) >= 6 and longest > 0.5 * len(found):
        score -= 0.4
    if len(found) > 25 and not text.rstrip().endswith(_ENDS):
        score -= 0.15
    if text.count("{") > text.count("}") or text.count("[") > text.count("]"):
        score -= 0.25
    odd = len(_ODD.findall(text))
    if odd:
        score -= min(0.5, 5.0 * odd / len(text))
    return max(0.05, score)


def relevance(text: str, instruction: str) -> float:
    """Share of the response's content words that the instruction (or its input) also has, in [0, 1]."""
    said = [word for word in words(text) if word not in _STOP]
    if not said:
        return 0.0
    asked = set(words(instruction))
    return sum(1 for word in said if word in asked) / len(said)


def alone(text: str, instruction: str) -> float:
    """Quality of the content without a reference: form asked for, relevance, length, copying, refusal."""
    said = words(text)
    if not said:
        return 0.05
    if _REFUSAL.search(text[:200]):
        return 0.25
    squashed = " ".join(said)
    asked = " ".join(words(instruction))
    if squashed == asked or (len(said) > 8 and squashed in asked and len(squashed) > 0.8 * len(asked)):
        return 0.1
    lowered = instruction.lower()
    score = 0.35 + 0.45 * min(1.0, 2.5 * relevance(text, instruction))
    content = [word for word in said if word not in _STOP]
    score += 0.1 * min(1.0, len(set(content)) / 12)
    if "json" in lowered:
        score += 0.1 if _holds_json(text) else -0.25
    if re.search(r"\b(?:integer|how many|number between|calculate|compute|add|sum|score between)\b", lowered):
        score += 0.1 if re.search(r"\d", text) or any(word.isdigit() for word in said) else -0.3
    options = re.search(r"\b(?:as|either)\s+([\w-]+)(?:,\s*([\w-]+))?,?\s+or\s+([\w-]+)", lowered)
    if options:
        labels = {label for label in options.groups() if label}
        named = labels & set(said)
        score += 0.15 if len(named) == 1 else -0.3
    if re.search(r"\b(?:one word|single word|in a few words|only|briefly|concise|short)\b", lowered) and len(said) > 60:
        score -= 0.15
    return min(0.95, max(0.05, score))


def _holds_json(text: str) -> bool:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end <= start:
        return False
    try:
        json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return False
    return True
