"""The words of the toy world, its facts, and which words each split may use.

Names of people, places and organisations are divided among the splits: a test row never names anybody whom a
training row names. Other content words (adjectives, things, topics) overlap between train and test in part.
Pre-training text may use every word, as the text of a real base model would. Pure; no randomness.
"""

# ruff: noqa: SIM905 - hundreds of words read better as text than as quoted lists

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from assay.records import SPLITS, TEST, TRAIN, VALIDATION

ALL = "all"
"""The pool of pre-training text: every word."""

FIRST_NAMES = tuple(
    "Anna Bruno Clara David Elena Felix Greta Henry Irene Jonas Karin Louis Maria Nadia Oscar Paula Quentin Rosa "
    "Simon Tessa Ulrich Vera Walter Xenia Yusuf Zelda Agnes Boris Celia Dario Edith Franz Gloria Hugo Ines Jakob "
    "Kira Leo Marta Nils Olga Peter Ruth Stefan Tilda Ugo Viola Wanda".split()
)
PLACES = tuple(
    head + tail
    for tail in ("ona", "dale", "burg", "mere", "ford", "stad")
    for head in ("Lir", "Mon", "Var", "Kel", "Tor", "Ash")
)
ORGS = tuple(
    head + tail
    for tail in ("co", "tech", "works", "bank", "soft", "air")
    for head in ("Vel", "Nor", "Qua", "Zen", "Pel", "Dyn")
)

THINGS = {
    "animal": ("cat", "dog", "horse", "wolf", "goat", "bear", "mouse", "duck", "sheep", "lion"),
    "food": ("grape", "pear", "plum", "cake", "bread", "cheese", "tomato", "potato", "cookie", "melon"),
    "tool": ("hammer", "saw", "drill", "shovel", "knife", "brush", "ladder", "rope", "needle", "spade"),
    "garment": ("coat", "hat", "shirt", "scarf", "glove", "sock", "boot", "dress", "belt", "skirt"),
}
"""Kinds of things and their members."""

COUNTABLE = tuple(
    "apples pears plums cakes tomatoes potatoes cookies melons coins stamps shells cards balls books pens stones "
    "keys buttons".split()
)
POSITIVE = tuple(
    "lovely great superb charming brilliant delightful excellent wonderful splendid gripping clever fresh".split()
)
NEGATIVE = tuple("awful boring terrible dull horrible weak poor dreadful tedious bland clumsy lame".split())
TOPICS = tuple("film book song play concert novel game show album dinner hotel".split())
COLOURS = ("red", "blue", "green", "black", "white", "yellow")
LANDS = ("Norland", "Sudria", "Estmark", "Westria", "Midia", "Ostania")
FEATURES = ("bridges", "gardens", "towers", "markets", "beaches", "castles", "mills", "fountains")
GOODS = ("shoes", "clocks", "bikes", "lamps", "chairs", "boats", "phones", "pianos")

ZETA = {
    "the": "lo", "sees": "vido", "wants": "volu", "has": "tene",
    "red": "rano", "blue": "belu", "green": "gano", "black": "noro", "white": "biko", "yellow": "yelo",
    "cat": "mika", "dog": "hundo", "horse": "kaval", "wolf": "lupo", "grape": "pomi", "pear": "piru",
    "cake": "tarto", "hammer": "marto", "coat": "jaku", "hat": "kapo", "boot": "boti", "bread": "pano",
}  # fmt: skip
"""A made-up language, word for word; names stay as they are."""
ZETA_THINGS = tuple("cat dog horse wolf grape pear cake hammer coat hat boot bread".split())
ZETA_VERBS = ("sees", "wants", "has")

PAST = {
    "moves": "moved", "likes": "liked", "paints": "painted", "cleans": "cleaned", "opens": "opened",
    "watches": "watched", "repairs": "repaired", "carries": "carried",
}  # fmt: skip
"""Present and past of regular verbs."""


def land_of(place: str) -> str:
    """The land that a town lies in: a fact of the world, to be remembered."""
    return LANDS[(PLACES.index(place) * 5 + 2) % len(LANDS)]


def feature_of(place: str) -> str:
    """What a town is known for."""
    return FEATURES[(PLACES.index(place) * 3 + PLACES.index(place) // 6) % len(FEATURES)]


def goods_of(org: str) -> str:
    """What a company makes."""
    return GOODS[(ORGS.index(org) * 5 + ORGS.index(org) // 6) % len(GOODS)]


def kind_of(thing: str) -> str:
    """The kind of a thing, one of the keys of `THINGS`."""
    return next(kind for kind, members in THINGS.items() if thing in members)


@dataclass(frozen=True)
class Pool:
    """The words that the rows of one split are made of."""

    first_names: tuple[str, ...]
    places: tuple[str, ...]
    orgs: tuple[str, ...]
    things: tuple[str, ...]
    countable: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    topics: tuple[str, ...]


@cache
def pool(split: str) -> Pool:
    """The pool of a split, or of pre-training text (`ALL`)."""
    if split not in (*SPLITS, ALL):
        raise ValueError(f"no pool {split!r}; pools: {', '.join((*SPLITS, ALL))}")
    things = tuple(thing for rank in range(10) for members in THINGS.values() for thing in (members[rank],))
    return Pool(
        first_names=_names(FIRST_NAMES, split),
        places=_names(PLACES, split),
        orgs=_names(ORGS, split),
        things=_content(things, split),
        countable=_content(COUNTABLE, split),
        positive=_content(POSITIVE, split),
        negative=_content(NEGATIVE, split),
        topics=_content(TOPICS, split),
    )


def _names(words: tuple[str, ...], split: str) -> tuple[str, ...]:
    """Disjoint shares: in every twelve words seven for train, two for validation, three for test."""
    if split == ALL:
        return words
    shares = {TRAIN: range(7), VALIDATION: range(7, 9), TEST: range(9, 12)}
    return tuple(word for rank, word in enumerate(words) if rank * 5 % 12 in shares[split])


def _content(words: tuple[str, ...], split: str) -> tuple[str, ...]:
    """Train uses the first two thirds, test the last half: a third of the test words are also train words."""
    if split == ALL:
        return words
    return words[len(words) // 2 :] if split == TEST else words[: len(words) * 2 // 3]
