"""The choice in a judge's reply: Output (a) or (b), [[A]] or [[B]], an option letter, a class name.

Pure; never raises on any text. Published (`compat`) readers take the first pattern that matches anywhere; the
strict ones let the last match decide, since a judge that explains first names both outputs on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from assay.errors import ConfigError
from assay.scoring.judges.judgements import Winner
from assay.scoring.judges.parsing.text_numbers import MARKUP, clean, text_lines


@dataclass(frozen=True, slots=True)
class Patterns:
    """Regular expressions that read a verdict: `first` for Output (a), `second` for Output (b)."""

    first: str
    second: str

    @classmethod
    def from_config(cls, config: Mapping[str, str], source: str) -> Patterns:
        """From `{"1": ..., "2": ...}`, the form of LLMBar's evaluator configurations.

        Raises:
            ConfigError: a pattern is missing or no regular expression.
        """
        if not isinstance(config, Mapping) or set(config) != {"1", "2"}:
            raise ConfigError(
                f'{source}: saw {str(config)[:80]}; expected {{"1": PATTERN, "2": PATTERN}}; fix the file'
            )
        for pattern in config.values():
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                raise ConfigError(
                    f"{source}: saw pattern {pattern!r} ({error}); expected a regular expression"
                ) from None
        return cls(config["1"], config["2"])


LABEL = Patterns(r"(?:^|\n) ?Output \(a\)", r"(?:^|\n) ?Output \(b\)")
COT = Patterns(r"Output \(a\) is better.", r"Output \(b\) is better.")
"""LLMBar's two pairs, as published."""

_compiled = lru_cache(maxsize=64)(re.compile)


def compat_choice(text: str, patterns: Patterns = LABEL) -> Winner | None:
    """LLMBar as published: the stripped reply, pattern (a) first, then (b), anywhere; neither is None."""
    stripped = text.strip()
    if _compiled(patterns.first).search(stripped):
        return 1
    return 2 if _compiled(patterns.second).search(stripped) else None


_BETTER = re.compile(
    r"\b(?:output )?\(?([ab])\)? is (?:the |clearly |therefore )?(?:better|best|preferred|superior)\b", re.I
)
_CHOSEN = re.compile(
    r"\b(?:better|best|preferred|winner|choice|answer|decision|verdict|prefer|choose|select|pick)"
    r"(?: (?:output|one|is|the|would be|:|=)|[:=]){0,4} ?\(?(?:output )?\(?([ab])\b\)?",
    re.IGNORECASE,
)
_LINE_LABEL = re.compile(
    r"(?:^|\n)[ ]?(?:output|response|answer|option)?[ ]?[(\[]{0,2}([ab])[)\]]{0,2}[ ]?[.,:;!]?[ ]?(?=\n|$)",
    re.IGNORECASE,
)
_FULL_STOP = re.compile(r"[.!?](?=\s|$)")
_TIE = re.compile(r"\b(?:tie|tied|equally (?:good|bad|well)|neither|both outputs|both are)\b", re.IGNORECASE)


def strict_choice(text: str, patterns: Patterns = LABEL) -> Winner | None:
    """The LAST match decides: of a sentence that names the better output, else of the patterns, else of a lone label.

    Patterns that a user gave replace all of this but ties. 0 is a tie that the judge declared though none was offered.
    """
    plain = clean(text).strip()
    joined = "\n".join(text_lines(plain))
    if patterns in (LABEL, COT):
        for pattern in (_BETTER, _CHOSEN):
            found = pattern.findall(joined)
            if found:
                return 1 if found[-1].lower() == "a" else 2
    last = _last_match(plain, patterns)
    if last is not None:
        return last
    if patterns in (LABEL, COT):
        labels = _LINE_LABEL.findall(joined)
        if labels:
            return 1 if labels[-1].lower() == "a" else 2
    return 0 if _declares_tie(joined) else None


def _declares_tie(text: str) -> bool:
    """Whether a finished last sentence says so: an explanation that was cut off has declared nothing."""
    ends = [match.start() for match in _FULL_STOP.finditer(text)]
    if not ends:
        return len(text) <= 80 and _TIE.search(text) is not None
    if any(char.isalnum() for char in text[ends[-1] :]):
        return False
    return _TIE.search(text, ends[-2] if len(ends) > 1 else 0) is not None


def _last_match(text: str, patterns: Patterns) -> Winner | None:
    def last(pattern: str) -> int:
        position = -1
        for match in _compiled(pattern).finditer(text):
            position = match.end()
        return position

    first, second = last(patterns.first), last(patterns.second)
    if first == second:
        return None
    return 1 if first > second else 2


_BRACKET = re.compile(r"\[\[\s{0,3}([A-Za-z])\s{0,3}\]\]")


def compat_bracket(text: str) -> Winner | None:
    """MT-Bench as published: `[[A]]` anywhere, else `[[B]]`, else `[[C]]` for a tie."""
    for letter, winner in _BRACKET_WINNERS.items():
        if f"[[{letter}]]" in text:
            return winner
    return None


def strict_bracket(text: str) -> Winner | None:
    """The last of `[[A]]`, `[[B]]`, `[[C]]`; without any, a reply that is a lone letter."""
    found = [letter.upper() for letter in _BRACKET.findall(clean(text)) if letter.upper() in _BRACKET_WINNERS]
    letter = found[-1] if found else parse_option(text, "ABC")
    return _BRACKET_WINNERS.get(letter or "")


_BRACKET_WINNERS: dict[str, Winner] = {"A": 1, "B": 2, "C": 0}

_OPTION = re.compile(
    r"(?:(?:the )?(?:final )?(?:my |your )?(?:answer|option|choice|decision|verdict)(?: is)? ?:? {0,2})?"
    r"(?:option )?[(\[]{0,2}([A-Z])[)\]]{0,2}(?:$|\s{0,2}[:.,)-](?:\s|$))",
    re.IGNORECASE,
)


def parse_option(text: str, letters: str) -> str | None:
    """The option letter of a multiple-choice reply: "B", "(B)", "Answer: B", "B: Summary #2 is better.".

    The last line that is an option decides among lines; upper case is returned.
    """
    decided = None
    for line in text_lines(clean(text)):
        match = _OPTION.match(line)
        if match and match[1].upper() in letters and (match[1].isupper() or match.end() == len(line)):
            decided = match[1].upper()
    if decided is None:
        doubles = [letter.upper() for letter in _BRACKET.findall(clean(text)) if letter.upper() in letters]
        decided = doubles[-1] if doubles else None
    return decided


def parse_class(text: str, names: Sequence[str]) -> str | None:
    """The class that a labeller named: its whole reply, the value behind a label, or the only name in its reply.

    Names are matched as whole words, case ignored; of names that contain each other the longest counts. Where a
    reply that is not one name mentions several, the one in the last line decides if it is alone there.
    """
    lines = text_lines(clean(text))
    if not lines:
        return None
    for candidate in (" ".join(lines), lines[-1].rpartition(":")[2], lines[-1], lines[0].rpartition(":")[2]):
        bare = candidate.strip(" .,:;!()[]'").lower()
        for name in names:
            if bare == name.lower():
                return name
    for candidate in (lines[-1], " ".join(lines)):
        found = _mentioned(candidate, names)
        if len(found) == 1:
            return found.pop()
    return None


def _mentioned(text: str, names: Sequence[str]) -> set[str]:
    by_lower = {name.lower(): name for name in names}
    pattern = "|".join(re.escape(name) for name in sorted(by_lower, key=len, reverse=True))
    return {
        by_lower[match.lower()] for match in re.findall(rf"(?<!\w)(?:{pattern})(?!\w)", MARKUP.sub("", text).lower())
    }
