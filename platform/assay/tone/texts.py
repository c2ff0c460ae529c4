"""Training and test texts of the tone classifier, cut from dialogues. Pure.

From a dialogue's first instruction I and first response R, and a cut of I into a fragment I_p and its continuation
I_c, come three texts: R is answer-like (label 1); I_c, and I_c followed by R, are continuation-like (label 0). The
cut falls between two words, by seed and content, so it does not depend on the order of the dialogues. Where an
instruction is applied to an input, I is both and the cut falls within the instruction: half an input is no question.

The trap: instructions begin with a capital, so I_c does not, and "does not begin with a lower-case letter" alone is
right for most texts cut this way. Real continuations by a model are not cut so neatly. `normalise` takes case and edge
punctuation away, from what is learned and from what is judged; `case_rule` is kept to be reported beside.

Source: AlShikh et al. 2023, arXiv 2307.03692, section 3.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from assay.fingerprint import delimited_hash
from assay.records import Example
from assay.tasks.templates import history

Kind = Literal["response", "continuation", "continuation_response"]
KINDS: tuple[Kind, ...] = ("response", "continuation", "continuation_response")

_SPACES = re.compile(r"\s+")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_WORD_GAP = re.compile(r"(?<=\S)\s+(?=\S)")
_JOINERS = (" ", "\n", "\n\n")
_HELD_OUT_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The first question of a conversation and its first answer."""

    instruction: str
    response: str
    input: str = ""
    """What the instruction is applied to; part of the question, never cut."""

    @property
    def dialogue_id(self) -> str:
        """Hash of its content."""
        return delimited_hash([self.instruction, self.input, self.response])

    @property
    def question(self) -> str:
        """Instruction and input, as a user would write them."""
        return with_input(self.instruction, self.input)


@dataclass(frozen=True, slots=True)
class ToneText:
    """One labelled text."""

    dialogue_id: str
    kind: Kind
    text: str
    """As a model might have written it: case and punctuation as they are."""

    @property
    def is_answer_like(self) -> bool:
        """The label: only the response alone is answer-like."""
        return self.kind == "response"


@dataclass(frozen=True, slots=True)
class Cut:
    """An instruction in two."""

    fragment: str
    continuation: str


def dialogues_of(examples: Iterable[Example]) -> list[Dialogue]:
    """The first exchange of every example that has one, each distinct dialogue once, in order.

    An example with a history begins with that history's first user turn. Rows without an instruction or a response are
    left out; compare lengths to see how many.
    """
    found: dict[Dialogue, None] = {}
    for example in examples:
        dialogue = _first_exchange(example)
        if dialogue.instruction.strip() and dialogue.response.strip():
            found.setdefault(dialogue)
    return list(found)


def _first_exchange(example: Example) -> Dialogue:
    turns = history(example)
    for (role, text), (next_role, answer) in pairwise(turns):
        if role == "user" and next_role == "assistant":
            return Dialogue(text, answer)
    return Dialogue(example.instruction, example.reference, example.input)


def cut(instruction: str, seed: int, name: str = "") -> Cut | None:
    """The instruction cut between two of its words, all gaps alike likely; None where it has one word.

    Args:
        instruction: any text; both parts are non-empty, and together they are the text but for the gap.
        seed: another seed cuts elsewhere.
        name: what the cut is for, so that two uses of one instruction cut it independently.
    """
    text = instruction.strip()
    gaps = [(match.start(), match.end()) for match in _WORD_GAP.finditer(text)]
    if not gaps:
        return None
    start, end = _rng("cut", seed, name, text).choice(gaps)
    return Cut(text[:start], text[end:])


def tone_texts(dialogues: Iterable[Dialogue], seed: int) -> Iterator[ToneText]:
    """All texts of these dialogues: three of each, one where the instruction is a single word."""
    for dialogue in dialogues:
        name, response = dialogue.dialogue_id, dialogue.response.strip()
        yield ToneText(name, "response", response)
        parts = cut(dialogue.instruction, seed)
        if parts is not None:
            joiner = _rng("joiner", seed, name).choice(_JOINERS)
            continuation = with_input(parts.continuation, dialogue.input)
            yield ToneText(name, "continuation", continuation)
            yield ToneText(name, "continuation_response", f"{continuation}{joiner}{response}")


def one_of_each_label(texts: Sequence[ToneText], seed: int) -> list[ToneText]:
    """Of each dialogue its response and one of its two continuation-like texts, by seed.

    Counts over these are counts of independent texts, so that their binomial intervals hold.
    """
    kept = {text.dialogue_id: _rng("kept", seed, text.dialogue_id).choice(KINDS[1:]) for text in texts}
    return [text for text in texts if text.is_answer_like or text.kind == kept[text.dialogue_id]]


def split_dialogues(dialogues: Sequence[Dialogue], held_out: float, seed: int) -> tuple[list[Dialogue], list[Dialogue]]:
    """Dialogues to learn from and dialogues to test on, by hash of the question: no question is on both sides.

    Args:
        dialogues: distinct dialogues.
        held_out: share of instructions to test on, in (0, 1).
        seed: another seed holds out others.
    """
    sides: tuple[list[Dialogue], list[Dialogue]] = ([], [])
    for dialogue in dialogues:
        place = _rng("side", seed, normalise(dialogue.question)).randrange(_HELD_OUT_STEPS) / _HELD_OUT_STEPS
        sides[place < held_out].append(dialogue)
    return sides


def with_input(instruction: str, input: str) -> str:  # noqa: A002
    """An instruction, or the rest of one, and what it is applied to."""
    return f"{instruction}\n\n{input}" if input else instruction


def normalise(text: str) -> str:
    """Lower case, white space as single spaces, nothing but letters and digits at either end. Idempotent."""
    return _EDGES.sub("", _SPACES.sub(" ", text.lower().strip()))


def case_rule(text: str) -> bool:
    """The trivial rule: answer-like is what does not begin with a lower-case letter."""
    return not text.lstrip()[:1].islower()


def _rng(*names: object) -> random.Random:
    return random.Random(delimited_hash([str(name) for name in names]))
