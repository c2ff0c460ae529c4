"""Which of two outputs a judge's prose prefers: its last word, if it is one. English, by wording.

Pure; never raises on any text. A statement counts where it says outright that one output is better or chosen, or is
nothing but a label. What is negated, imagined, asked or left open does not; a last sentence that contradicts itself,
or a later one that speaks against the output chosen, leaves no verdict.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from assay.scoring.judges.judgements import Winner

_THING = r"(?:(?:output|response|answer|option|assistant|candidate|summary|completion)[ ]?)"
_X = rf"(?:{_THING}\(?([ab])\)?(?![\w'’])|\(([ab])\))"
_ADVERB = (
    r"(?:(?:the|a|an|clearly|therefore|thus|slightly|much|far|significantly|definitely|still|overall"
    r"|obviously|marginally|considerably|hence|also|somewhat|arguably|generally|certainly|just|simply"
    r"|ultimately|indeed|by far|a bit|a little|one)[ ]{1,2})"
)
_BETTER = re.compile(
    rf"{_X}[ ]{{1,2}}(?:is|wins|(?:was|remains|comes[ ]out|emerges[ ]as))[ ]{{1,2}}{_ADVERB}{{0,4}}"
    r"(better|best|preferred|preferable|superior|winner|stronger|favou?red|more[ ](?:accurate|suitable"
    r"|faithful|appropriate))\b"
    rf"|{_X}[ ]{{1,2}}{_ADVERB}{{0,2}}(wins)\b",
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    rf"\b(?:better|best|preferred|superior|winning|winner|choice|answer|decision|verdict|result|judg(?:e)?ment)"
    rf"(?:[ ]{{1,2}}{_THING}?(?:one[ ])?)?[ ]{{0,2}}(?:is|would[ ]be|:|="
    rf"|->)[ ]{{0,3}}{_ADVERB}{{0,2}}(?:{_X}|([ab])(?![\w'’(-]|[ ]\w))"
    rf"|\b(?:prefer|choose|select|pick|favou?r|go[ ]with|opt[ ]for|vote[ ]for)[ ]{{1,2}}{_X}"
    rf"|\[RESULT\][ ]{{0,3}}(?:{_X}|([ab])\b)",
    re.IGNORECASE,
)
_AGAINST = re.compile(
    rf"{_X}[ ]{{1,2}}(?:is|was)[ ]{{1,2}}{_ADVERB}{{0,3}}(?:worse|worst|inferior|weaker"
    rf"|not[ ]{_ADVERB}{{0,3}}(?:better|best|preferred|superior))\b"
    rf"|{_X}[ ]{{1,2}}(?:isn['’]?t|is[ ]no|was[ ]not)[ ]{{1,2}}{_ADVERB}{{0,3}}(?:better|best|preferred|superior)\b",
    re.IGNORECASE,
)
_ALONE = re.compile(
    rf"[ ]{{0,2}}(?:[-#>•]{{1,4}}[ ]{{0,2}})?(?P<so>(?:so|therefore|thus|hence|finally)[ ,:]{{1,2}})?(?:(?:the"
    rf"|my|your)[ ])?"
    r"(?P<final>final[ ])?(?P<answer>(?:answer|choice|verdict|decision|result|winner|judg(?:e)?ment|preference"
    r"|option)[ ]{0,2}(?:is)?[ ]{0,2}[:=]?[ ]{0,2})?"
    rf"(?P<result>\[RESULT\][ ]{{0,2}})?{_THING}?[(\[{{]{{0,2}}(?P<side>[ab])[)\]}}]{{0,2}}[ ]{{0,2}}"
    r"(?P<tail>[.,:;!]{0,2})[ ]{0,2}",
    re.IGNORECASE,
)
_WHOLE = (
    r"(?:overall|general|total|every|all|any|instruction|follow\w*|execut\w*|adher\w*|comply\w*"
    r"|complian\w*|fulfil\w*"
    r"|my|its[ ]entirety|comparison|conclusion|the[ ](?:end|instruction)|(?:precis|faithful|honest"
    r"|accurate)\w*[ ](?:follow\w*"
    r"|execut\w*)|this[ ](?:case|comparison|context|instance|scenario|situation|task|example|pair))"
)
_SCOPED = re.compile(
    r"(?:[ ]{1,2}(?:one|choice|option|output|answer|response))?[ ]{1,2}"
    r"(?:written|structured|formatted|organi[sz]ed|worded|presented|phrased|styled|detailed|looking|sounding"
    r"|stylistically"
    r"|(?:in|at|on|for|with|regarding|concerning|when[ ]it[ ]comes[ ]to|as[ ]far[ ]as|from)[ ]{1,2}"
    rf"(?:(?:terms|respect|regard|matters)[ ](?:of|to)[ ])?+(?!{_WHOLE}\b)"
    r"|than[ ]{1,2}(?:expected|nothing|average|most|before|usual|none)\b)",
    re.IGNORECASE,
)
_UNREAL = re.compile(
    r"(?:\b(?:if|whether|which|unless|although|though|while|whereas|even if|not|never|nor|neither|cannot|doubt|either"
    r"|or|might|may|could|would have|argue[sd]?|arguing|claim(?:s|ed)?|say|says|said|think that some|suggests?|asked"
    r"|decide|determine|choose between|at first|initially|first glance|seem(?:s|ed)?|appear(?:s|ed)?|some"
    r"|normally|ordinarily|tempt(?:ing|ed)|(?:was|were)[ ](?:going|inclined|about|leaning|ready)|want(?:ed)?[ ]to"
    r"|consider(?:ed|ing)|thinking[ ]of|thought[ ](?:of|about)|hesitat\w{1,5}|reluctant|used[ ]to|almost|nearly"
    r"|(?:it[ ]is|it['’]s)[ ]easy[ ]to|otherwise|until)|n['’]t)\b(?:[^,.!?;\n]|,(?=[^,.!?;\n]{0,10}or\b)){0,80}$"
    r"|\b(?:many|others|people|users?|readers?|judges|critics|anyone|everyone)[ ]{1,2}(?:(?:would|might|may"
    r"|could|will|to)[ ]{1,2})?$",
    re.IGNORECASE,
)
_OPEN_AFTER = re.compile(r"[^.!?\n,;]{0,60}\?|,?[ ]{1,2}(?:if|unless|or[ ])", re.IGNORECASE)
_SENTENCE = re.compile(r"[^\n]+?(?:[.!?](?=[\s)\"']|$)|$|(?=\n))", re.MULTILINE)
_TIE = re.compile(r"\b(?:tie|tied|equally[ ](?:good|bad|well|strong|weak)|equal|neither|both outputs|both are)\b", re.I)
_BUT = re.compile(r"\b(?:but|yet|however|though|although|while|whereas|still|except)\b", re.IGNORECASE)
_NO_TIE = re.compile(r"(?:\b(?:not|never|no|would|could|if|almost|nearly)|n['’]t)\b[^.!?\n]{0,30}$", re.IGNORECASE)


class Word(NamedTuple):
    """What a text says last."""

    winner: Winner | None
    """1 for (a), 2 for (b), 0 for a tie that the last sentence declares, None for no verdict."""
    is_contested: bool
    """Whether statements stand there that leave no verdict, as they do not agree."""
    against: frozenset[Winner] = frozenset()
    """Outputs that the last statement calls worse."""


@dataclass(frozen=True, slots=True)
class Said:
    """One statement about the outputs."""

    winner: Winner | None
    """None: the statement names both, or speaks against itself."""
    against: frozenset[Winner] = frozenset()
    """Outputs that it calls worse."""
    is_label: bool = False
    """Whether it is a label and no more, without a word that calls it the answer."""


def last_word(text: str) -> Word:
    """The verdict of a plain text (markdown off). Two labels that differ, with nothing said between, are none."""
    sentences = _sentences(text)
    said = [
        item
        for place, sentence in enumerate(sentences, 1)
        if (item := _read(sentence, is_last=place == len(sentences)))
    ]
    if not said:
        return Word(0, False) if _declares_tie(sentences, text) else Word(None, False)
    decided = label = None
    is_contested = False
    for item in said:
        if item.is_label and label is not None and item.winner != label:
            decided, is_contested = None, True
        elif item.winner is not None:
            decided, is_contested = item.winner, False
        elif not item.against or decided in item.against:
            decided, is_contested = None, True
        label = item.winner if item.is_label else None
    return Word(decided, is_contested if decided is not None else True, said[-1].against)


def _sentences(text: str) -> list[str]:
    return [match[0].strip() for match in _SENTENCE.finditer(text) if match[0].strip()]


def _read(sentence: str, *, is_last: bool) -> Said | None:
    """What one sentence states; None where it states nothing. A label with a colon heads what follows it."""
    if len(sentence) <= 80:
        label = _ALONE.fullmatch(sentence)
        if label is not None:
            is_named = any(label[name] for name in ("so", "final", "answer", "result"))
            if ":" in label["tail"] and not is_last and not is_named:
                return None
            return Said(_winner(label["side"]), is_label=not is_named)
    if sentence.endswith("?"):
        return None
    claims: list[Winner] = []
    for pattern in (_BETTER, _CHOSEN):
        for match in pattern.finditer(sentence):
            side = next(group for group in match.groups() if group and group.lower() in ("a", "b"))
            is_open = _OPEN_AFTER.match(sentence, match.end()) or _SCOPED.match(sentence, match.end())
            if not is_open and not _is_unreal(sentence, match.start()):
                claims.append(_winner(side))
    against = frozenset(
        _winner(side)
        for match in _AGAINST.finditer(sentence)
        for side in [next(group for group in match.groups() if group)]
        if not _is_unreal(sentence, match.start())
    )
    found = set(claims)
    if len(found) == 1 and not found & against:
        return Said(found.pop(), against)
    if found:
        return Said(None)
    if against:
        return Said(None, against)
    return None


def _is_unreal(sentence: str, start: int) -> bool:
    return _UNREAL.search(sentence, max(0, start - 100), start) is not None


def _winner(side: str) -> Winner:
    return 1 if side.lower() == "a" else 2


def _declares_tie(sentences: list[str], text: str) -> bool:
    """Whether a finished last sentence says so: an explanation that was cut off has declared nothing."""
    if not sentences:
        return False
    last = sentences[-1]
    if last[-1] not in ".!" and len(text) > 80:
        return False
    match = _TIE.search(last)
    if match is None or last[-1] == "?" or _BUT.search(last, match.end()) is not None:
        return False
    return _NO_TIE.search(last, 0, match.start()) is None
