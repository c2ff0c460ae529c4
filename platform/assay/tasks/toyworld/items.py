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

from assay.tasks.toyworld.vocabulary import Pool

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
    is_hard: bool = False
    """Needs a skill that pre-training text shows rarely: a review that negates its adjective, a story of a loss."""


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

    def person(self) -> str:
        """A first name."""
        return self._fresh(self.pool.first_names)

    def place(self) -> str:
        return self._fresh(self.pool.places)

    def org(self) -> str:
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
"""Share of reviews that negate their adjective."""


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
    return Item(
        instruction=rng.choice(
            (
                f"What does the review think of the {topic}?",
                "Tell me how the writer of this review feels.",
                "Is this a good review or a bad one?",
            )
        ),
        input=text,
        verbose=f"The review is {label}.",
        terse=label,
        truth={"kind": "label", "answer": label, "others": ["negative" if label == "positive" else "positive"]},
        is_hard=negated,
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
LARGEST_STOCK, LARGEST_CHANGE = 8, 3


def arithmetic(rng: random.Random, pool: Pool, patterns: str) -> Item:
    """A story of a person who has things and gains or loses some: how many are there at the end?"""
    cast = Cast(rng, pool)
    gain = rng.random() < 0.5
    # never exactly one, which would ask for a singular
    change = rng.randint(2, LARGEST_CHANGE)
    stock = rng.choice([n for n in range(2, LARGEST_STOCK + 1) if gain or n == change or n > change + 1])
    things = rng.choice(pool.countable)
    name = cast.person()
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
        verbose=f"There are {answer} {things} now.",
        terse=str(answer),
        truth={"kind": "number", "answer": answer},
        is_hard=not gain,
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


_SCENES = {
    SEEN: ("{person} of {org} has a {thing} in {place}.", "In {place} {person} found a {thing} for {org}."),
    HELD_OUT: ("{person} has a {thing} of {org} in {place}.", "{org} sent {person} to {place} for a {thing}."),
}
_ASKS = {
    SEEN: {
        "person": "Who is in the text?",
        "org": "Which company is in the text?",
        "place": "Which place is in the text?",
        "thing": "Which thing is in the text?",
    },
    HELD_OUT: {
        "person": "Who is it?",
        "org": "Which company is it?",
        "place": "Where is it?",
        "thing": "Which thing is it?",
    },
}


def question(rng: random.Random, pool: Pool, patterns: str) -> Item:
    """A sentence on a person, a company, a place and a thing, and a question that one of the four answers."""
    cast = Cast(rng, pool)
    found = {"person": cast.person(), "org": cast.org(), "place": cast.place(), "thing": cast.thing()}
    kind = rng.choice(sorted(found))
    text, ask = rng.choice(_SCENES[patterns]).format(**found), _ASKS[patterns][kind]
    return Item(
        instruction=ask,
        input=text,
        verbose=f"The answer is {found[kind]}.",
        terse=found[kind],
        # naming another of the four as well is no answer
        truth={"kind": "span", "answer": found[kind], "others": [found[other] for other in found if other != kind]},
    )


MAKERS: dict[str, Maker] = {
    "toy_sentiment": sentiment,
    "toy_arithmetic": arithmetic,
    "toy_entities": entities,
    "toy_question": question,
}
