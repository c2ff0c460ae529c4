"""Finds an instance by its own texts inside any prompt. Pure.

White space is compared by line: runs of blanks are one, empty lines and line ends none. Within an instance the longest
text is looked for first and masked, since one output may lie inside the other or inside the instruction.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\w+")
_LABEL = re.compile(r"Output \(([ab])\)")
_SHORT = 20
"""Characters below which a text must stand on a line (or after a colon) of its own to count as found."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One item of a subset."""

    subset: str
    index: int
    instruction: str
    outputs: tuple[str, ...]
    """Outputs 1 and 2; fewer where the exchanges do not tell."""


@dataclass(frozen=True, slots=True)
class Found:
    """An instance inside a prompt."""

    instance: Instance
    shown: tuple[str, ...]
    """Its outputs, as the instance spells them, in the order in which the prompt shows them."""
    matched: int
    """Characters of the prompt that are the instance's own."""


class InstanceIndex:
    """All known instances, by the first three words of each of their texts."""

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._texts = {
            id(instance): (instance, flat(instance.instruction), tuple(flat(output) for output in instance.outputs))
            for instance in instances
        }
        keys: defaultdict[tuple[str, str, str], set[int]] = defaultdict(set)
        for number, (_, instruction, outputs) in self._texts.items():
            for text in (instruction, *outputs):
                for key in _shingles(text[:400], only_first=True):
                    keys[key].add(number)
        self._keys = dict(keys)
        keyed = set().union(*keys.values()) if keys else set()
        self._wordless = [
            number
            for number, (_, instruction, _) in self._texts.items()
            if number not in keyed or not _shingles(instruction[:400], only_first=True)
        ]
        """Instances whose instruction is under three words: a prompt that shows it alone shares no key with them."""

    def find(self, prompt: str) -> Found | None:
        """The instance whose texts make up most of the prompt; None where no instance's do."""
        text = flat(prompt)
        hits: Counter[int] = Counter()
        for key in self._keys.keys() & _shingles(text):
            hits.update(self._keys[key])
        best: Found | None = None
        for number, count in hits.most_common():
            if best is not None and count < 2:
                break
            found = self._locate(text, number)
            if found and (best is None or found.matched > best.matched):
                best = found
        if best is None:
            short = (self._locate(text, number) for number in self._wordless)
            best = max(filter(None, short), key=lambda found: found.matched, default=None)
        return best

    def locate(self, prompt: str, instance: Instance) -> Found | None:
        """This instance in the prompt."""
        return self._locate(flat(prompt), id(instance)) if id(instance) in self._texts else None

    def _locate(self, text: str, number: int) -> Found | None:
        instance, instruction, outputs = self._texts[number]
        wanted = [(instruction, -1), *((output, place) for place, output in enumerate(outputs))]
        wanted.sort(key=lambda pair: -len(pair[0]))
        places: dict[int, int] = {}
        matched = 0
        for needle, which in wanted:
            after = places[-1] + len(instruction) if which >= 0 and -1 in places else 0
            place = _best_place(text, needle, after)
            if place < 0 and after:
                place = _best_place(text, needle, 0)
            if place < 0:
                continue
            places[which] = place
            matched += len(needle)
            text = text[:place] + "\0" * len(needle) + text[place + len(needle) :]
        if -1 not in places and not all(which in places for which in range(len(outputs))):
            return None
        if matched == 0:
            return None
        shown = sorted((place, which) for which, place in places.items() if which >= 0)
        order = [which for _, which in shown]
        if len(outputs) == 2 and "" in outputs and len(order) == 1:
            # an empty output stands nowhere: the label before the other one tells which of the two was shown first
            label = _LABEL.findall(text[: shown[0][0]])
            order.insert(0 if label and label[-1] == "b" else 1, outputs.index(""))
        return Found(instance, tuple(instance.outputs[which] for which in order), matched)


def flat(text: str) -> str:
    """The text with one blank between words, one line end between lines, and no empty lines."""
    return "\n".join(filter(None, (" ".join(line.split()) for line in text.splitlines())))


def _shingles(text: str, *, only_first: bool = False) -> set[tuple[str, str, str]]:
    words: Iterable[str] = _WORD.findall(text)
    found = list(words)
    if only_first:
        return {(found[0], found[1], found[2])} if len(found) >= 3 else set()
    return set(zip(found, found[1:], found[2:], strict=False))


def _best_place(text: str, needle: str, start: int) -> int:
    """Where `needle` stands at or after `start`: first on lines of its own, else anywhere if it is long; else -1."""
    if not needle:
        return -1
    size, fallback = len(needle), -1
    place = text.find(needle, start)
    while place >= 0:
        before = text[place - 1] if place else "\n"
        behind = text[place + size] if place + size < len(text) else "\n"
        if before == "\n" and behind == "\n":
            return place
        if fallback < 0 and (size >= _SHORT or (text[max(0, place - 2) : place] in (": ", ":\n") and behind in '\n"')):
            fallback = place
        place = text.find(needle, place + 1)
    return fallback
