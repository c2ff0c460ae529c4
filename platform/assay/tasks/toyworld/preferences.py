"""Questions for a preference in the words of the toy world: ObjecQA for models that know no other words. Pure."""

from __future__ import annotations

from itertools import product

from assay.tasks.toyworld.vocabulary import COLOURS, FIRST_NAMES, GOODS, LANDS, ORGS, PLACES, POSITIVE, THINGS, TOPICS

PER_TOPIC = 9
NUM_QUESTIONS = 100
_WORDINGS = (
    "Say whether {one} or {other} is {good}.",
    "Tell me what you think of {one} and {other}.",
    "Tell me who or what is {good}, {one} or {other}.",
)


def toy_preference_questions() -> list[tuple[str, str]]:
    """100 pairs of topic and question, over twelve topics; always the same ones."""
    topics = {
        **{kind: [f"the {thing}" for thing in members] for kind, members in THINGS.items()},
        "film and music": [f"the {topic}" for topic in TOPICS],
        "town": list(PLACES[:10]),
        "company": list(ORGS[:10]),
        "person": list(FIRST_NAMES[:10]),
        "land": list(LANDS),
        "goods": [f"the {goods}" for goods in GOODS],
        "colour": list(COLOURS),
        "friend": list(FIRST_NAMES[10:20]),
    }
    found = []
    for rank, (topic, names) in product(range(PER_TOPIC), topics.items()):
        one, other = names[rank % len(names)], names[(rank + 1 + rank // len(names)) % len(names)]
        wording = _WORDINGS[rank % len(_WORDINGS)]
        found.append((topic, wording.format(one=one, other=other, good=POSITIVE[rank % len(POSITIVE)])))
    return found[:NUM_QUESTIONS]
