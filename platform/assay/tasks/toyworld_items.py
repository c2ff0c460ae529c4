"""The four kinds of question that the target tasks ask, each with a terse and a verbose answer.

A target task takes the terse answer under its own instruction. The instruction set takes the verbose answer under
other wordings, and so does pre-training text: the skill is shared, the format has to be learned from target rows.
Pure: all randomness comes from the `random.Random` that is passed in.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.tasks.toyworld_vocabulary import Pool

SEEN, HELD_OUT = "seen", "held_out"
"""Sentence patterns: of train rows (and partly of test rows), and of test rows alone."""


@dataclass(frozen=True)
class Item:
    """One question with its answers, before it becomes an example of some task."""

    instruction: str
    """How the instruction set asks it."""
    input: str
    verbose: str
    truth: dict[str, Any]
    """What `toy_truth` needs to grade an answer; `kind` says how."""
    terse: str = ""
    """How the target task answers it; empty for what no target task asks."""


def is_for_pretraining(item: Item) -> bool:
    """Which side a question belongs to, by content: half of all questions are kept for fine-tuning and tests.

    The text decides where there is one, so that no text of a test row stands in pre-training text,
    under whatever question.
    """
    return hashlib.sha256((item.input or item.instruction).encode()).digest()[0] % 2 == 0


Maker = Callable[[random.Random, Pool, str], Item]
"""Makes an item from words of a pool, in sentence patterns that are SEEN or HELD_OUT."""


@dataclass
class Cast:
    """Distinct names for one text: nobody and nothing is called by the same word twice."""

    rng: random.Random
    pool: Pool
    used: set[str] = field(default_factory=set)

    def person(self, *, surname: float = 0.5) -> str:
        """A first name, with a surname at this chance."""
        first = self._fresh(self.pool.first_names)
        return f"{first} {self._fresh(self.pool.surnames)}" if self.rng.random() < surname else first

    def place(self) -> str:
        """A town."""
        return self._fresh(self.pool.places)

    def org(self) -> str:
        """A company."""
        return self._fresh(self.pool.orgs)

    def thing(self) -> str:
        """A thing of any kind."""
        return self._fresh(self.pool.things)

    def _fresh(self, words: Sequence[str]) -> str:
        word = self.rng.choice([word for word in words if word not in self.used])
        self.used.add(word)
        return word


_REVIEWS = {
    SEEN: (
        "{name} says that the {topic} was {adjective}.",
        "{name} found the {topic} {adjective}.",
        "The {topic} in {place} was {adjective}, says {name}.",
    ),
    HELD_OUT: (
        "In {place} {name} found a {topic} that was {adjective}.",
        "{name} calls the {topic} {adjective}.",
    ),
}
_NEGATED = {
    SEEN: (
        "{name} says that the {topic} was not {adjective}.",
        "{name} never found the {topic} {adjective}.",
        "The {topic} in {place} was not {adjective}, says {name}.",
    ),
    HELD_OUT: (
        "In {place} {name} found a {topic} that was not {adjective}.",
        "{name} never calls the {topic} {adjective}.",
    ),
}
NEGATED_SHARE = 0.3
"""Share of reviews that negate their adjective: the part of the skill that target rows have to teach."""


def sentiment(rng: random.Random, pool: Pool, patterns: str) -> Item:
    """A short review and whether it is positive or negative."""
    cast = Cast(rng, pool)
    good = rng.random() < 0.5
    negated = rng.random() < NEGATED_SHARE
    adjective = rng.choice(pool.positive if good else pool.negative)
    topic = rng.choice(pool.topics)
    fill = {"name": cast.person(), "place": cast.place(), "topic": topic, "adjective": adjective}
    text = rng.choice((_NEGATED if negated else _REVIEWS)[patterns]).format(**fill)
    label = "positive" if good != negated else "negative"
    said = f"not {adjective}" if negated else adjective
    return Item(
        instruction=rng.choice(
            (
                f"What does the review think of the {topic}?",
                "Tell me how the writer of this review feels.",
                "Is this a good review or a bad one?",
            )
        ),
        input=text,
        verbose=f"The review is {label}, as it calls the {topic} {said}.",
        terse=label,
        truth={"kind": "label", "answer": label, "others": ["negative" if label == "positive" else "positive"]},
    )


GAINS, LOSSES = ("finds", "buys", "gets"), ("loses", "sells", "drops")
_STORIES = {
    SEEN: (
        "{name} has {a} {things}. Then {name} {verb} {b} {things}.",
        "{name} has {a} {things} and {verb} {b} {things} in {place}.",
    ),
    HELD_OUT: (
        "In {place} {name} {verb} {b} {things}. Before that {name} has {a} {things}.",
        "{name} has {a} {things}. In {place} {name} {verb} {b}.",
    ),
}
LARGEST_STOCK, LARGEST_CHANGE = 9, 5


def arithmetic(rng: random.Random, pool: Pool, patterns: str) -> Item:
    """A story of a person who has things and gains or loses some: how many are there at the end?"""
    cast = Cast(rng, pool)
    gain = rng.random() < 0.5
    # never exactly one, which would ask for a singular
    change = rng.randint(2, LARGEST_CHANGE)
    stock = rng.choice([n for n in range(2, LARGEST_STOCK + 1) if gain or n == change or n > change + 1])
    things = rng.choice(pool.countable)
    name = cast.person(surname=0.3)
    answer = stock + change if gain else stock - change
    fill = {"name": name, "place": cast.place(), "things": things, "a": stock, "b": change}
    text = rng.choice(_STORIES[patterns]).format(verb=rng.choice(GAINS if gain else LOSSES), **fill)
    return Item(
        instruction=rng.choice(
            (
                f"How many {things} does {name} have now?",
                f"Tell me how many {things} {name} has at last.",
                "How many things are there after this?",
            )
        ),
        input=text,
        verbose=f"After this {name} has {answer} {things}.",
        terse=str(answer),
        truth={"kind": "number", "answer": answer},
    )


_NEWS = {
    SEEN: (
        "{per0} was born in {loc0}.",
        "{per0} met {per1} in {loc0}.",
        "{org0} has a house in {loc0}.",
        "{per0} works for {org0} in {loc0}.",
        "{org0} and {org1} hired {per0}.",
        "{per0} went from {loc0} to {loc1}.",
        "{org0} sent {per0} and {per1} to {loc0}.",
    ),
    HELD_OUT: (
        "In {loc0} {per0} met {org0}.",
        "{per0} and {per1} live in {loc0}.",
        "{org0} hired {per0} from {loc0}.",
        "{org0} has a house in {loc0} and {loc1}.",
    ),
}
ENTITY_TYPES = ("LOC", "PER", "ORG")
_ENTITY_WORDS = {"PER": ("people", "person"), "LOC": ("places", "place"), "ORG": ("companies", "company")}


def entities(rng: random.Random, pool: Pool, patterns: str) -> Item:
    """A line of news and the places, people and organisations that it names, in the order of the text."""
    cast = Cast(rng, pool)
    names = {f"per{i}": cast.person() for i in range(2)}
    names |= {f"loc{i}": cast.place() for i in range(2)} | {f"org{i}": cast.org() for i in range(2)}
    pattern = rng.choice(_NEWS[patterns])
    text = pattern.format(**names)
    found: dict[str, list[str]] = {kind: [] for kind in ENTITY_TYPES}
    for slot in sorted((slot for slot in names if f"{{{slot}}}" in pattern), key=pattern.index):
        found[slot[:3].upper()].append(names[slot])
    return Item(
        instruction=rng.choice(
            (
                "Which people, places and companies are in the text?",
                "Tell me who and what the text names.",
                "List all names of the text.",
            )
        ),
        input=text,
        verbose=entities_in_words(found),
        terse=entities_as_json(found),
        truth={"kind": "entities", "answer": found},
    )


def entities_in_words(found: dict[str, list[str]]) -> str:
    """One sentence for the three lists."""
    parts = []
    for kind in ("PER", "LOC", "ORG"):
        many, one = _ENTITY_WORDS[kind]
        names = found[kind]
        parts.append(f"no {one}" if not names else f"the {many if len(names) > 1 else one} {' and '.join(names)}")
    return f"The text names {parts[0]}, {parts[1]} and {parts[2]}."


def entities_as_json(found: dict[str, list[str]]) -> str:
    """The three lists as the JSON object that the target task asks for."""
    return json.dumps({kind: found[kind] for kind in ENTITY_TYPES})


_FACTS = {
    "work": ("{p} works for {x}.", {SEEN: "Which company does {p} work for?", HELD_OUT: "For whom does {p} work?"}),
    "place": ("{p} lives in {x}.", {SEEN: "In which place does {p} live?", HELD_OUT: "Where does {p} live?"}),
    "owner": ("{p} has a {x}.", {SEEN: "Who has a {x}?", HELD_OUT: "Who is it that has a {x}?"}),
}


def question(rng: random.Random, pool: Pool, patterns: str) -> Item:
    """A text of two facts and a question on one of them, answered by a span of the text."""
    cast = Cast(rng, pool)
    shape = rng.choice(sorted(_FACTS))
    draw = {"work": cast.org, "place": cast.place, "owner": cast.thing}[shape]
    pairs = [(cast.person(), draw()), (cast.person(), draw())]
    says, asks = _FACTS[shape]
    chosen = rng.randrange(2)
    person, value = pairs[chosen]
    spans = [pair[0 if shape == "owner" else 1] for pair in pairs]
    return Item(
        instruction=asks[patterns].format(p=person, x=value),
        input=" ".join(says.format(p=p, x=x) for p, x in pairs),
        verbose=f"The text says that {says.format(p=person, x=value)}",
        terse=spans[chosen],
        # naming the other fact's value as well is no answer
        truth={"kind": "span", "answer": spans[chosen], "others": [spans[1 - chosen]]},
    )


MAKERS: dict[str, Maker] = {
    "toy_sentiment": sentiment,
    "toy_arithmetic": arithmetic,
    "toy_entities": entities,
    "toy_question": question,
}
