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
from assay.scoring.judges.parsing.text_numbers import MARKUP, clause_start, clean, text_lines
from assay.scoring.judges.parsing.verdicts import last_word
from assay.scoring.judges.parsing.withdrawn import is_unmeant, takes_back


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


def strict_choice(text: str, patterns: Patterns = LABEL) -> Winner | None:
    """The LAST word decides: see `verdicts.last_word`. No verdict is None, and so is one that contradicts itself.

    Patterns that a user gave replace all of this but ties; the last match decides. 0 is a tie that the judge declared
    though none was offered. `[[A]]`, `[[A>>B]]` and their like are read too.
    """
    plain = clean(text).strip()
    joined = "\n".join(text_lines(plain))
    if patterns not in (LABEL, COT):
        last = _last_match(plain, patterns)
        return last if last is not None else 0 if last_word(joined).winner == 0 else None
    if _BRACKETED.search(plain) is not None:
        return _bracket_verdict(plain)
    return last_word(joined).winner


def is_contested(text: str) -> bool:
    """Whether a reply without a verdict names outputs and leaves the choice open or contradicts itself."""
    plain = clean(text).strip()
    return _BRACKETED.search(plain) is not None or last_word("\n".join(text_lines(plain))).is_contested


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


_BRACKETED = re.compile(
    r"\[\[\s{0,3}(?P<bracket>[A-Za-z]|tie|[AB]\s{0,2}(?:>{1,3}|<{1,3}|={1,3}|≫|≪)\s{0,2}[AB])\s{0,3}\]\]"
    r"|\\boxed\s{0,2}\{\s{0,2}(?:\\text\s{0,2}\{)?(?:output[ ]?)?\(?(?P<boxed>[A-C])\)?\s{0,2}\}",
    re.IGNORECASE,
)


def _bracket_verdict(text: str) -> Winner | None:
    """The verdict of the last sentence with brackets; None where it names several, or none that is a verdict.

    Words behind it that take it back, or that speak for another output, leave none; a bracket that is denied gives
    way to what is said behind it.
    """
    found = list(_BRACKETED.finditer(text))
    if not found:
        return None
    start = clause_start(text, found[-1].start())
    named = {
        _bracket_winner(match)
        for match in found
        if match.start() >= start and not is_unmeant(text, match.start(), match.end())
    }
    if len(named) > 1:
        return None
    behind = "\n".join(text_lines(text[found[-1].end() :]))
    later = last_word(behind)
    if not named:
        return later.winner
    bracketed = named.pop()
    if takes_back(behind, 0) or later.is_contested or bracketed in later.against:
        return None
    return bracketed if later.winner in (None, bracketed) else None


def _bracket_winner(match: re.Match[str]) -> Winner | None:
    word = re.sub(r"\s", "", match["bracket"] or match["boxed"]).upper().replace("≫", ">").replace("≪", "<")
    if len(word) < 3 or word == "TIE":
        return 0 if word == "TIE" else _BRACKET_WINNERS.get(word)
    first, last = word[0], word[-1]
    if first == last:
        return None
    if "=" in word:
        return 0
    return _BRACKET_WINNERS[first if ">" in word else last]


def strict_bracket(text: str) -> Winner | None:
    """The last of `[[A]]`, `[[B]]`, `[[C]]` and of arenas' `[[A>>B]]`, `[[A=B]]`; else a lone letter.

    Where the last sentence with brackets names several ("answer [[A]], [[B]] or [[C]]"), there is no verdict.
    """
    plain = clean(text)
    if _BRACKETED.search(plain) is not None:
        return _bracket_verdict(plain)
    return _BRACKET_WINNERS.get(parse_option(text, "ABC") or "")


_BRACKET_WINNERS: dict[str, Winner] = {"A": 1, "B": 2, "C": 0}

_OPTION = re.compile(
    r"(?P<answer>(?:the )?(?:final )?(?:my |your )?(?:answer|choice|decision|verdict)(?: is)? ?:? {0,2})?"
    r"(?:option )?[(\[]{0,2}(?P<letter>[A-Z])[)\]]{0,2}(?:$|\s{0,2}[:.,)-](?:\s|$))",
    re.IGNORECASE,
)


def parse_option(text: str, letters: str) -> str | None:
    """The option letter of a multiple-choice reply: "B", "(B)", "Answer: B", "B: Summary #2 is better.".

    The last line that says it is the answer decides among lines, then lines that are an option and no more, then those
    that open with one and explain it. Of either kind all must name the same one: a list of options is no choice.
    Upper case is returned.
    """
    answered = None
    alone: set[str] = set()
    explained: set[str] = set()
    for line in text_lines(clean(text)):
        match = _OPTION.match(line)
        if match and match["letter"].upper() in letters and (match["letter"].isupper() or match.end() == len(line)):
            letter, is_alone = match["letter"].upper(), match.end() == len(line)
            explained.add(letter)
            if is_alone:
                alone.add(letter)
            if is_alone and match["answer"]:
                answered = letter
    named = alone or explained
    if named:
        return answered or (named.pop() if len(named) == 1 else None)
    lines = [set(_BRACKET.findall(line.upper())) & set(letters) for line in clean(text).split("\n")]
    marked: set[str] = next((letters_of_line for letters_of_line in reversed(lines) if letters_of_line), set())
    return marked.pop() if len(marked) == 1 else None


def parse_class(text: str, names: Sequence[str]) -> str | None:
    """The class that a labeller named: its whole reply, the value behind a label, or the only name in its reply.

    Names are matched as whole words, case ignored; of names that contain each other the longest counts. Where a
    reply that is not one name mentions several, the one in the last line decides if it is alone there. A name that
    is negated ("not Objective, but", "rather than", "neither ... nor") is not mentioned; a question names nothing.
    """
    lines = text_lines(clean(text))
    if not lines:
        return None
    by_lower = {name.lower(): name for name in names}
    for candidate in (" ".join(lines), lines[-1].rpartition(":")[2], lines[-1], lines[0].rpartition(":")[2]):
        name = by_lower.get(_bare(candidate))
        if name is not None:
            listed = {_bare(line) for line in lines} & by_lower.keys()  # a list of the classes is no choice
            return name if len(listed) < 2 or ":" in lines[-1] else None
    for candidate in (lines[-1], " ".join(lines)):
        found = _mentioned(candidate, names)
        if len(found) == 1:
            return found.pop()
    return None


def _bare(text: str) -> str:
    return text.strip(" .,:;!()[]'").lower()


def _mentioned(text: str, names: Sequence[str]) -> set[str]:
    by_lower = {name.lower(): name for name in names}
    pattern = "|".join(re.escape(name) for name in sorted(by_lower, key=len, reverse=True))
    plain = MARKUP.sub("", text).lower()
    return {
        by_lower[match[0]]
        for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", plain)
        if _NEGATED_NAME.search(plain, max(0, match.start() - 60), match.start()) is None
        and plain[match.end() : match.end() + 1] != "?"
    }


_NEGATED_NAME = re.compile(
    r"(?:\b(?:not|never|cannot|neither|nor|instead of|rather than|isn|less)\b"
    r"|n['’]t\b)(?:(?! but )[^.,;:!?\n]){0,30}$"
)
