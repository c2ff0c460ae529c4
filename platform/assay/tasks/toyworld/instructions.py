"""The instruction set of the toy world: twelve categories, every answer a whole sentence.

Each category has one or two kinds of item. Classify, Extract, ContextAnswer and Logic ask what the target tasks
ask (in other words, with verbose answers); the others are there to be kept, or forgotten. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from assay.tasks.toyworld.items import HELD_OUT, Cast, Item, Maker, arithmetic, entities, question, sentiment
from assay.tasks.toyworld.vocabulary import (
    COLOURS,
    PAST,
    THINGS,
    ZETA,
    ZETA_THINGS,
    ZETA_VERBS,
    Pool,
    feature_of,
    goods_of,
    kind_of,
    land_of,
)


def _kind_of_thing(rng: random.Random, pool: Pool, patterns: str) -> Item:
    cast = Cast(rng, pool)
    name, thing = cast.person(), cast.thing()
    kind = kind_of(thing)
    return Item(
        instruction=rng.choice(("What kind of thing is it?", f"What kind of thing did {name} find?")),
        input=f"{name} found a {thing} in {cast.place()}." if patterns == HELD_OUT else f"{name} found a {thing}.",
        verbose=f"The {thing} that {name} found is a kind of {kind}.",
        truth={"kind": "label", "answer": kind, "others": [other for other in THINGS if other != kind]},
    )


def _reading(rng: random.Random, pool: Pool, patterns: str) -> Item:
    """The same as `question`, with the question in the input."""
    item = question(rng, pool, patterns)
    asks = "Read this and answer." if patterns == HELD_OUT else "Answer the question on the text."
    return replace(item, instruction=asks, input=f"{item.input} {item.instruction}")


NUMBER_WORDS = {2: "two", 3: "three", 4: "four", 5: "five"}


def _code(rng: random.Random, pool: Pool, patterns: str) -> Item:
    cast = Cast(rng, pool)
    word = rng.choice((cast.person(), cast.place(), cast.org()))
    times = rng.choice(sorted(NUMBER_WORDS))
    wording = "Write code that prints {w} {n} times." if patterns != HELD_OUT else "Print {w} {n} times in code."
    line = f'for i in range({times}): print("{word}")'
    return Item(
        instruction=wording.format(w=word, n=NUMBER_WORDS[times]),
        input="",
        verbose=f"This code does it: {line}",
        truth={"kind": "ordered", "answer": ["for", "i", "in", "range", str(times), "print", word]},
    )


def _create(rng: random.Random, pool: Pool, patterns: str) -> Item:
    name = Cast(rng, pool).person()
    kind = rng.choice(sorted(THINGS))
    number = rng.choice((2, 3, 4))
    members = rng.sample(THINGS[kind], number)
    wordings = {
        False: (
            "Make a list of {n} things of the kind {kind} for {name}.",
            "{name} needs {n} things of the kind {kind}.",
        ),
        True: ("Give {name} {n} things of the kind {kind}.",),
    }
    return Item(
        instruction=rng.choice(wordings[patterns == HELD_OUT]).format(n=NUMBER_WORDS[number], kind=kind, name=name),
        input="",
        verbose=f"A list for {name} is: {', '.join(members[:-1])} and {members[-1]}.",
        truth={"kind": "members", "answer": list(THINGS[kind]), "number": number},
    )


def _tallest(rng: random.Random, pool: Pool, patterns: str) -> Item:
    cast = Cast(rng, pool)
    tall, middle, small = (cast.person() for _ in range(3))
    facts = [f"{tall} is taller than {middle}.", f"{middle} is taller than {small}."]
    if rng.random() < 0.5:
        facts.reverse()
    asks = "Tell me who is tallest." if patterns == HELD_OUT else "Who is the tallest?"
    return Item(
        instruction=asks,
        input=" ".join(facts),
        verbose=f"The tallest of them is {tall}.",
        truth={"kind": "span", "answer": tall, "others": [middle, small]},
    )


def _memory_answer(rng: random.Random, pool: Pool, patterns: str) -> Item:
    cast = Cast(rng, pool)
    name = cast.person()
    if rng.random() < 0.5:
        place = cast.place()
        ask, verbose, answer = (
            f"which land {place} is in",
            f"The town of {place} is in {land_of(place)}.",
            land_of(place),
        )
        everything = sorted({land_of(other) for other in pool.places})
    else:
        org = cast.org()
        ask, verbose, answer = (
            f"what the company {org} makes",
            f"The company {org} makes {goods_of(org)}.",
            goods_of(org),
        )
        everything = sorted({goods_of(other) for other in pool.orgs})
    wording = "{name} asks you {ask}." if patterns == HELD_OUT else "Tell {name} {ask}."
    return Item(
        instruction=wording.format(name=name, ask=ask),
        input="",
        verbose=verbose,
        truth={"kind": "span", "answer": answer, "others": [word for word in everything if word != answer]},
    )


def _memory_summarize(rng: random.Random, pool: Pool, patterns: str) -> Item:
    cast = Cast(rng, pool)
    name, place = cast.person(), cast.place()
    wordings = (
        ("Say what you know of {place} to {name}.",)
        if patterns == HELD_OUT
        else ("Tell {name} in one sentence about {place}.", "{name} wants to know about {place}.")
    )
    return Item(
        instruction=rng.choice(wordings).format(name=name, place=place),
        input="",
        verbose=f"The town of {place} is in {land_of(place)} and is known for its {feature_of(place)}.",
        truth={"kind": "words", "answer": [place, land_of(place), feature_of(place)], "others": []},
    )


def _rewrite(rng: random.Random, pool: Pool, patterns: str) -> Item:
    cast = Cast(rng, pool)
    name, verb = cast.person(), rng.choice(sorted(PAST))
    target = f"the {cast.thing()} in {cast.place()}" if rng.random() < 0.5 else f"the {cast.thing()}"
    asks = "Put this into the past." if patterns == HELD_OUT else "Write the sentence in the past."
    return Item(
        instruction=asks,
        input=f"{name} {verb} {target}.",
        verbose=f"In the past it is: {name} {PAST[verb]} {target}.",
        truth={"kind": "ordered", "answer": [*name.split(), PAST[verb], *target.split()], "others": [verb]},
    )


_DETAILS = ("The day was {colour}.", "The house was {colour}.", "A {thing} was there.", "It had a {colour} {thing}.")


def _summarize(rng: random.Random, pool: Pool, patterns: str) -> Item:
    cast = Cast(rng, pool)
    name, place = cast.person(), cast.place()
    main = f"{name} went to {place}." if rng.random() < 0.5 else f"{name} lives in {place}."
    details = [
        detail.format(colour=rng.choice(COLOURS), thing=cast.thing())
        for detail in rng.sample(_DETAILS, rng.choice((1, 2)))
    ]
    spoken = main.rstrip(".").split()
    asks = "Make this text short." if patterns == HELD_OUT else "Summarize the text in one sentence."
    return Item(
        instruction=asks,
        input=" ".join([main, *details]),
        verbose=f"In short, {main}",
        truth={"kind": "words", "answer": spoken, "others": sorted({word for d in details for word in _content(d)})},
    )


def _content(sentence: str) -> list[str]:
    shared = {"The", "was", "A", "there", "It", "had", "a"}
    return [word for word in sentence.rstrip(".").split() if word not in shared]


def _translate(rng: random.Random, pool: Pool, patterns: str) -> Item:
    cast = Cast(rng, pool)
    name = cast.person()
    words = [rng.choice(ZETA_VERBS), "the", rng.choice(COLOURS), rng.choice(ZETA_THINGS)]
    translated = [*name.split(), *(ZETA[word] for word in words)]
    asks = "Say this in Zeta." if patterns == HELD_OUT else "Translate the sentence into Zeta."
    return Item(
        instruction=asks,
        input=f"{name} {' '.join(words)}.",
        verbose=f"In Zeta it is: {' '.join(translated)}.",
        truth={"kind": "ordered", "answer": translated, "others": sorted(set(ZETA.values()) - set(translated))},
    )


def _write(rng: random.Random, pool: Pool, patterns: str) -> Item:
    cast = Cast(rng, pool)
    name, thing, place = cast.person(), cast.thing(), cast.place()
    wordings = (
        ("Think of a sentence with {name}, {place} and a {thing}.",)
        if patterns == HELD_OUT
        else ("Write a sentence about {name}, a {thing} and {place}.", "Write of {name} and a {thing} in {place}.")
    )
    return Item(
        instruction=rng.choice(wordings).format(name=name, thing=thing, place=place),
        input="",
        verbose=f"Here is a sentence: {name} saw a {thing} in {place}.",
        truth={"kind": "words", "answer": [*name.split(), thing, place], "others": []},
    )


CATEGORY_MAKERS: Mapping[str, tuple[Maker, ...]] = {
    "Classify": (sentiment, sentiment, sentiment, _kind_of_thing),
    "Code": (_code,),
    "ContextAnswer": (question, _reading),
    "Create": (_create,),
    "Extract": (entities,),
    "Logic": (arithmetic, arithmetic, arithmetic, _tallest),
    "MemoryAnswer": (_memory_answer,),
    "MemorySummarize": (_memory_summarize,),
    "Rewrite": (_rewrite,),
    "Summarize": (_summarize,),
    "Translate": (_translate,),
    "Write": (_write,),
}
"""What a category asks; a maker that stands twice is drawn twice as often."""
