"""What a reply takes back: numbers refused, negated, imagined, doubted or revised. English, by wording.

Pure; never raises on any text; all look-ups are bounded. Where a number may be taken back, the readers leave the row
unscored rather than choose: a judge's verdict is never a guess.
"""

from __future__ import annotations

import re

from assay.scoring.judges.parsing.text_numbers import Number, last_match

_WORD = r"(?:(?!(?:and|but|so|yet|i|we|therefore|thus|hence|because|which|still|however)\b)[\w'’-]{1,20}[ ]{1,2})"
_NOT = (
    r"(?:not|n['’]?t|cannot|never|nor|neither|hardly|unable[ ]to|unwilling[ ]to|refus(?:e|ed|ing)[ ]to"
    r"|declin(?:e|ed|ing)[ ]to|hesita(?:te|nt|ting)[ ]to|reluctant[ ]to|far[ ]from|avoid|too[ ]\w{1,15}[ ]to)"
)
_NEGATED = re.compile(
    rf"(?:\b|(?<=n)(?=['’]t)|(?<=[a-z])(?=n['’]t)){_NOT}[ ]{{1,2}}{_WORD}{{0,4}}$"
    rf"|(?:\bnot|n['’]t|\bcannot)[ ]{{1,2}}(?:think|believe|feel|say|see|find|consider|agree|justify|claim)\b"
    r"[^.!?;\n,]{0,60}$",
    re.IGNORECASE,
)
_IMAGINED = re.compile(
    r"\b(?:going[ ]to|gonna|about[ ]to|want(?:ed)?[ ]to|tempted[ ]to|plan(?:ned|ning)?[ ]to|inclined[ ]to|meant[ ]to"
    r"|intended[ ]to|hop(?:ed|ing)[ ]to|lik(?:e|ed)[ ]to[ ]have|(?:would|could|might|should"
    r"|must)(?:[ ]have|['’]ve)|might"
    r"|may|could|almost|nearly|initially|originally|at[ ]first|if|unless|used[ ]to|otherwise|instead[ ]of"
    r"|rather[ ]than|thought[ ]of|thought[ ]about|considered|considering|thinking[ ]of|someone|some|others?|one)"
    r"[ ]{1,2}(?:[\w'’-]{1,20}[ ]{1,2}){0,5}$",
    re.IGNORECASE,
)
_HAD_IT = re.compile(
    r"\b(?:if|unless|had[ ](?:it|this|the|they|he|she|there)|were[ ](?:it|this|there))\b[^.!?;\n]{0,90},"
    r"[^.!?;\n,]{0,30}(?:\b(?:would|could|might)\b|['’]d\b)[^.!?;\n,]{0,30}$",
    re.IGNORECASE,
)
_WOULD = re.compile(r"\b(?:would|could|might)\b[^.!?;\n,]{0,40}$|['’]d\b[^.!?;\n,]{0,40}$", re.IGNORECASE)
_UNLESS = re.compile(r"[^.!?;\n]{0,40}?[ ,](?:but|if|except|unless|had|were|only)\b", re.IGNORECASE)
_DOUBT = re.compile(
    r"[)\]\"']{0,2}[ ]{0,2}\?"
    r"|[, (]{1,3}(?:or|maybe|perhaps|possibly|if[ ]not)[ ]{1,2}(?:(?:maybe|perhaps|even|an?|rather)[ ]{1,2}){0,2}"
    r"(?:\d|one\b|two\b|three\b|four\b|five\b|six\b|seven\b|eight\b|nine\b|ten\b)",
    re.IGNORECASE,
)
_LAST_CLAUSE = re.compile(r"(?:[.!?;](?=\s)|\n|,?[ ](?:but|so|yet|however|therefore|thus|hence|instead)\b)")
_LOOK_BACK = 160
_REVISED_TO = re.compile(
    r"\b(?:revis|adjust|chang|lower|rais|correct|amend|updat|downgrad|upgrad|reduc|increas|reconsider|bump|drop|settl"
    r"|edit)(?:e|es|ed|ing|s|d|led|le|ling|ped|ping)?(?:[ ]{1,2}[\w'’]{1,15}){0,5}?[ :]{1,2}(?:down[ ]|up[ ])?"
    r"(?:to|at|on|as)[ :]{1,2}(?:an?[ ]|be[ ])?$"
    r"|(?:->|=>|→|➔|⇒)[ ]{0,2}(?:(?:an?|to|now|final(?:ly)?|new)[ ]){0,2}$"
    r"|\b(?:no(?=[,:;.!-]|…)|actually|wait|rather|sorry|correction|scratch[ ]that|on[ ]reflection"
    r"|on[ ]second[ ]thoughts?|make[ ]that"
    r"|make[ ]it|i[ ]mean)(?:[,:;.! -]|…){1,4}(?:(?:no|wait|it|this|that|let[ ]me|let['’]s|make|it['’]s|is|i"
    r"|would|say|now"
    r"|give|an?|go[ ]with|i['’]d|i['’]ll|actually|rather|rating|score)[ :,]{1,2}){0,6}$",
    re.IGNORECASE,
)
_TAKES_BACK = re.compile(
    r"\bon[ ](?:reflection|second[ ]thoughts?)\b|\b(?:scratch|strike)[ ]that\b"
    r"|\b(?:i|let[ ]me|i['’]ll|i['’]d|i[ ]must|i[ ]should|i[ ]will|i[ ]would)[ ]{1,2}(?:now[ ])?(?:revise"
    r"|change|reconsider"
    r"|withdraw|retract|correct|take[ ]back)\b|\bmy[ ](?:score|rating|verdict|answer)[ ](?:changes|is[ ]withdrawn)",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    r"[ ]{0,2}(?:$|[\n.,;:!)\]]|(?:because|as|since|for|due|given|points?|stars?|instead|now)\b)", re.I
)


def is_taken_back(text: str, said: int, number: Number) -> bool:
    """Whether the clause around a number denies, imagines or doubts it.

    Args:
        text: plain text that holds the number.
        said: where what scores stands (its verb or label); the words before it are looked at.
        number: of the text.
    """
    if _DOUBT.match(text, number.end) is not None:
        return True
    before = text[max(0, said - _LOOK_BACK) : said]
    last = last_match(_LAST_CLAUSE, before)
    clause = before[last.end() :] if last is not None else before
    between = text[said : number.start]
    if _NEGATED.search(clause) or _IMAGINED.search(clause) or _HAD_IT.search(clause + between):
        return True
    if re.search(r"\b(?:not|never)\b(?![ ]only)[^,;.]{0,20}$", between, re.IGNORECASE):
        return True
    return _WOULD.search(clause + between) is not None and _UNLESS.match(text, number.end) is not None


_BEFORE_MARK = re.compile(
    r"(?:\b(?:not|never|than|instead[ ]of|e\.g\.|example|such[ ]as)|n['’]t)[:, ]{1,3}(?:(?:a|be|say|choose"
    r"|pick|give)[ ])?$"
    r"|(?:\b(?:not|never|cannot|hardly|without|refuse[ ]to|decline[ ]to|going[ ]to|about[ ]to"
    r"|want(?:ed)?[ ]to|tempt(?:ed|ing)"
    r"(?:[ ]to)?|inclined[ ]to|meant[ ]to|(?:would|could|might|should)[ ]have|might|could|almost|nearly|initially"
    r"|originally|at[ ]first|first|used[ ]to|rather[ ]than|instead[ ]of|consider(?:ed|ing)?|thinking[ ]of|thought[ ]of"
    r"|leaning[ ]towards?|ruled[ ]out)|n['’]t)"
    r"[ ]{1,2}(?:[\w'’-]{1,20}[ ]{1,2}){0,5}$",
    re.IGNORECASE,
)
_BEHIND_MARK = re.compile(
    r"[\"'”’)*]{0,3}[ ]{0,2}(?:\?|,?[ ](?:at[ ]first|initially|originally)\b)"
    r"|[\"'”’)*]{0,3},?[ ]{1,2}(?:(?:if|unless|means?|stands[ ]for)\b|(?:would|could|might|may|cannot|can['’]?t)\b"
    r"|(?:is|was|seems|looks|feels|sounds)[ ]{1,2}(?:[\w'’-]{1,15}[ ]{1,2}){0,3}?(?:not|never|wrong|incorrect|mistaken"
    r"|false|unfair|hasty|tempting|too|worse|inferior|my[ ](?:first|initial)|what[ ]i[ ](?:first|initially))\b"
    r"|(?:is|was|does|did)n['’]t\b|does[ ]not\b)",
    re.IGNORECASE,
)


def is_unmeant(text: str, start: int, end: int) -> bool:
    """Whether the words around a marked verdict ("[[A]]", a box) deny, imagine, doubt or explain it.

    Args:
        text: cleaned.
        start: where the mark begins.
        end: where it ends.
    """
    before = text[max(0, start - _LOOK_BACK) : start]
    last = last_match(_LAST_CLAUSE, before)
    clause = before[last.end() :] if last is not None else before
    return _BEFORE_MARK.search(clause) is not None or _BEHIND_MARK.match(text, end) is not None


def revision(text: str, found: list[Number], after: int) -> Number | None:
    """The number that the last revision behind `after` names ("8 -> 6", "revised to 6", "no wait, 6")."""
    last = None
    for item in found:
        if item.start <= after or _CLOSES.match(text, item.end) is None or _DOUBT.match(text, item.end) is not None:
            continue
        if _REVISED_TO.search(text[max(after, item.start - 80) : item.start]) is not None:
            last = item
    return last


def takes_back(text: str, after: int) -> bool:
    """Whether the text behind `after` withdraws what it said before."""
    return _TAKES_BACK.search(text, after) is not None
