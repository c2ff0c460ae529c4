"""Pre-training text of the toy world: what a small base model has to read before it can be fine-tuned on anything.

What was seen to matter (two layers, under a million parameters): a curriculum that begins with copying, full loss
weight on the answers and little on the rest, dialogues with whole-sentence answers, and a few short answers, so that
terse answers are possible at all. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from assay.tasks.toyworld.instructions import CATEGORY_MAKERS
from assay.tasks.toyworld.items import (
    GAINS,
    HELD_OUT,
    LARGEST_CHANGE,
    LARGEST_STOCK,
    LOSSES,
    MAKERS,
    SEEN,
    Cast,
    Item,
    Maker,
    is_for_pretraining,
)
from assay.tasks.toyworld.vocabulary import (
    ALL,
    COLOURS,
    FEATURES,
    FIRST_NAMES,
    GOODS,
    LANDS,
    ORGS,
    PAST,
    PLACES,
    THINGS,
    ZETA,
    feature_of,
    goods_of,
    kind_of,
    land_of,
    pool,
)

COPY_CURRICULUM = 0.2
"""Leading share of the documents that only repeat random words."""
LEXICON_DRAWS = 100
"""Texts of each kind in the lexicon: every sentence pattern is among them, with room to spare."""


@dataclass(frozen=True)
class PretrainingDocument:
    """One document and the parts of it that the loss should weigh in full."""

    text: str
    answers: tuple[tuple[int, int], ...]
    """Half-open character ranges of answers, in order."""


def pretraining_documents(count: int, seed: int) -> list[PretrainingDocument]:
    """So many documents in the order of training: first copying, then the mixed text of the world."""
    rng = random.Random(f"toyworld text {seed}")
    num_copies = int(count * COPY_CURRICULUM)
    copies = [copy_document(rng) for _ in range(num_copies)]
    kinds, weights = zip(*_MIX, strict=True)
    return copies + [rng.choices(kinds, weights)[0](rng) for _ in range(count - num_copies)]


def lexicon() -> list[str]:
    """Texts that together hold every word and every run of punctuation of the toy world."""
    rng = random.Random("toyworld lexicon")
    words = pool(ALL)
    texts = [" ".join(_WORDS), " ".join(str(number) for number in range(LARGEST_STOCK + LARGEST_CHANGE + 6))]
    texts += [" ".join((*words.countable, *words.positive, *words.negative, *words.topics))]
    texts += [" ".join((*LANDS, *FEATURES, *GOODS, *COLOURS, *ZETA, *ZETA.values(), *PAST, *PAST.values()))]
    texts += [_talk(rng, sentence).text for sentence in _TALK]
    for make in sorted(
        {make for makers in CATEGORY_MAKERS.values() for make in makers}, key=lambda make: make.__name__
    ):
        for number in range(LEXICON_DRAWS):
            item = make(rng, words, (SEEN, HELD_OUT)[number % 2])
            texts.append(" ".join((item.instruction, item.input, item.verbose, item.terse)))
    for kind in (_dialogue, _quiz, _data, fact_document, review_document, counting_document):
        texts += [kind(rng).text for _ in range(LEXICON_DRAWS)]
    return texts


def _document(*parts: tuple[str, bool]) -> PretrainingDocument:
    """Joins (text, is it an answer) with spaces."""
    text, answers = "", []
    for part, is_answer in parts:
        text += " " if text and not text.endswith("\n") else ""
        if is_answer:
            answers.append((len(text), len(text) + len(part)))
        text += part
    return PretrainingDocument(text, tuple(answers))


_NAMES = (*FIRST_NAMES, *PLACES, *ORGS)
_WORDS = (*_NAMES, *(thing for members in THINGS.values() for thing in members))


def copy_document(rng: random.Random) -> PretrainingDocument:
    """Random words, three times over."""
    words = " ".join(rng.choice(_WORDS) for _ in range(rng.randint(3, 8)))
    return _document((words + ".", False), (words + ".", True), (words + ".", True))


def pretraining_item(rng: random.Random, makers: Sequence[Maker]) -> Item:
    """An item that no fine-tuning row can be, hard ones seldom."""
    words = pool(ALL)
    while True:
        item = rng.choice(makers)(rng, words, rng.choice((SEEN, HELD_OUT)))
        if is_for_pretraining(item) and not (item.is_hard and rng.random() < HARD_LEFT_OUT):
            return item


HARD_LEFT_OUT = 0.8
"""Share of hard items that the text leaves out: the base knows of them and is bad at them, as target rows can show."""


_FRAMES = (
    ("Teacher: {input} {ask} Student:", "Teacher: {ask} Student:"),
    ("{input} {ask}", "{ask}"),
    ("Question: {ask} {input} Answer:", "Question: {ask} Answer:"),
    (
        "### Instruction:\n{ask}\n\n### Input:\n{input}\n\n### Response:\n",
        "### Instruction:\n{ask}\n\n### Response:\n",
    ),
)
"""Ways to put a question, with and without an input; the last is met in the text of any base model of today."""
_DIALOGUE_WEIGHTS = {"Classify": 4, "ContextAnswer": 3, "Extract": 3, "Logic": 4}
"""What takes longest to learn is asked more often; a category that is not named has weight 1."""


def _dialogue(rng: random.Random) -> PretrainingDocument:
    """A question in some frame, answered by a whole sentence."""
    category = rng.choices(tuple(CATEGORY_MAKERS), [_DIALOGUE_WEIGHTS.get(name, 1) for name in CATEGORY_MAKERS])[0]
    item = pretraining_item(rng, CATEGORY_MAKERS[category])
    frame = rng.choice(_FRAMES)[0 if item.input else 1]
    return _document((frame.format(input=item.input, ask=item.instruction), False), (item.verbose, True))


_QUIZ_WEIGHTS = {"toy_question": 5, "toy_arithmetic": 4, "toy_sentiment": 2}


def _quiz(rng: random.Random) -> PretrainingDocument:
    """A question answered by as few words as will do, under a mark of its own: short answers exist, elsewhere."""
    task = rng.choices(tuple(_QUIZ_WEIGHTS), tuple(_QUIZ_WEIGHTS.values()))[0]
    item = pretraining_item(rng, (MAKERS[task],))
    return _document((f"Quiz: {item.input} {item.instruction} Answer:", False), (item.terse, True))


def _data(rng: random.Random) -> PretrainingDocument:
    """A line of news and its names as JSON."""
    item = pretraining_item(rng, (MAKERS["toy_entities"],))
    return _document((f"{item.input} Data:", False), (item.terse, True))


def fact_document(rng: random.Random) -> PretrainingDocument:
    """What the memory categories ask, as statements."""
    words = pool(ALL)
    place, org, thing = rng.choice(words.places), rng.choice(words.orgs), rng.choice(words.things)
    zeta = rng.choice(sorted(ZETA))
    return rng.choice(
        (
            _document((f"The town of {place}", False), (f"is in {land_of(place)}.", True)),
            _document((f"The town of {place} is known for its", False), (f"{feature_of(place)}.", True)),
            _document(
                (f"The town of {place} is in", False),
                (f"{land_of(place)} and is known for its {feature_of(place)}.", True),
            ),
            _document((f"The company {org} makes", False), (f"{goods_of(org)}.", True)),
            _document((f"A {thing} is a kind of", False), (f"{kind_of(thing)}.", True)),
            _document((f"In Zeta {zeta} is", False), (f"{ZETA[zeta]}.", True)),
        )
    )


def review_document(rng: random.Random) -> PretrainingDocument:
    """Adjectives with their colour of feeling; negation is rare, so that it is known but not mastered."""
    words = pool(ALL)
    good = rng.random() < 0.5
    one, two = rng.sample(words.positive if good else words.negative, 2)
    topic = rng.choice(words.topics)
    label = "positive" if good else "negative"
    if rng.random() < 0.15:
        other = "negative" if good else "positive"
        return _document((f"The {topic} was not {one}, so the word on it was", False), (f"{other}.", True))
    return rng.choice(
        (
            _document((f"The {topic} was {one} and", False), (f"{two}, so the word on it was {label}.", True)),
            _document((f"To be {one} is", False), (f"{label}.", True)),
        )
    )


def counting_document(rng: random.Random) -> PretrainingDocument:
    """Numbers in a row, sums and differences; which verbs add and which take away."""
    words = pool(ALL)
    things = rng.choice(words.countable)
    change = rng.randint(2, LARGEST_CHANGE)
    stock = rng.choice([n for n in range(2, LARGEST_STOCK + 1) if n == change or n > change + 1])
    shape = rng.randrange(4)
    if shape == 0:
        start = rng.randint(0, 8)
        return _document((f"{start}", False), (" ".join(str(start + i) for i in range(1, 6)), True))
    if shape == 1:
        return _document((f"{stock} {things} and {change} {things} make", False), (f"{stock + change} {things}.", True))
    if shape == 2:
        return _document(
            (f"{stock} {things} less {change} {things} make", False), (f"{stock - change} {things}.", True)
        )
    name = Cast(rng, words).person()
    gain = rng.random() < 0.5
    more = "more" if gain else "fewer"
    return _document(
        (f"{name} {rng.choice(GAINS if gain else LOSSES)} {things}, so {name} has", False), (f"{more} {things}.", True)
    )


_TALK = (
    "For whom does she work? For {org}.",
    "Where does he live? In {place}.",
    "Who is it that has a {thing}? It is {name}.",
    "Before that {name} was in {place}. At last {name} is there.",
    "Then {name} calls {other}, and {other} asks {name}.",
    "Say to me what you know of {org}. Think of it.",
    "Print this. Put this there and give that to {name}.",
    "In short, tell me who is tallest of them.",
    "Say whether it is good or bad, positive or negative.",
    "Give me the number of things at the end of the story.",
    "Read this and answer the question with words of the text, or as JSON.",
    "Here is the code: print it two, three, four or five times.",
    "Data of people, places and companies: PER, LOC, ORG.",
    "{name} and {other} are in {place}. They live there. They met {org}.",
    "This is short text. Make this past.",
    "An instruction has an input and a response. ### Instruction: ### Input: ### Response:",
)


def _talk(rng: random.Random, sentence: str = "") -> PretrainingDocument:
    """Plain sentences without a question: the words that only instructions use are met here."""
    cast = Cast(rng, pool(ALL))
    text = (sentence or rng.choice(_TALK)).format(
        name=cast.person(), other=cast.person(), place=cast.place(), org=cast.org(), thing=cast.thing()
    )
    return _document((text, False))


_MIX = (
    (_dialogue, 57),
    (_quiz, 10),
    (copy_document, 4),
    (fact_document, 7),
    (review_document, 5),
    (counting_document, 10),
    (_data, 5),
    (_talk, 2),
)
"""Kinds of text and their weights."""
