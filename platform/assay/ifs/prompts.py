"""The prompts that the Instruction Following Score is measured on: fragments and whole instructions, by seed. Pure.

About half are fragments, which a base model completes and an instruction-tuned one answers; the same set is used at
every step and for every model, so that scores are compared prompt by prompt. How a model sees them:

    A       Stanford Alpaca's whole wrapper
    B       the text and the response heading
    C       the text and nothing else
    assay   the headings that Assay itself trains with
    chat    the model's own chat template, the text as the user's turn

Source: AlShikh et al. 2023, arXiv 2307.03692.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Literal

from assay.errors import DataError
from assay.fingerprint import delimited_hash
from assay.records import INSTRUCTIONS, TEST, Example
from assay.tasks.templates import PromptSpec
from assay.tone.texts import Dialogue, cut, with_input

TextPrompt = Literal["A", "B", "C", "assay"]
"""Prompts that are text before any tokenizer sees them."""
PromptName = TextPrompt | Literal["chat"]
STYLES: Mapping[PromptName, PromptSpec] = {
    "A": PromptSpec(style="alpaca_full"),
    "B": PromptSpec(style="suffix"),
    "C": PromptSpec(style="bare"),
    "assay": PromptSpec(style="alpaca"),
    "chat": PromptSpec(style="chat"),
}
"""How a prompt of each name is rendered."""
PARTIAL, FULL = "partial", "full"


def ifs_prompts(dialogues: Sequence[Dialogue], n: int, seed: int) -> list[Example]:
    """`n` prompts as rows of an evaluation set, half of them fragments, from distinct questions.

    A fragment is cut where the tone classifier's training texts of the same question are not: its continuation was
    never seen. The row's `instruction` is all of the prompt; its `reference` is the dialogue's response.

    Args:
        dialogues: best those held out from the classifier and from tuning.
        n: prompts; for an odd number there is one fragment less.
        seed: another seed takes other questions and cuts.

    Raises:
        DataError: fewer than n questions, or too few of two words or more.
    """
    distinct = {dialogue.question.strip(): dialogue for dialogue in reversed(dialogues)}
    ordered = sorted(distinct.values(), key=lambda dialogue: delimited_hash(["ifs", str(seed), dialogue.question]))
    cuts = ((dialogue, cut(dialogue.instruction, seed, "ifs")) for dialogue in ordered)
    partial = [(dialogue, parts.fragment) for dialogue, parts in cuts if parts is not None][: n // 2]
    taken = {id(dialogue) for dialogue, _ in partial}
    full = [(d, with_input(d.instruction, d.input)) for d in ordered if id(d) not in taken][: n - n // 2]
    if len(partial) + len(full) < n:
        raise DataError(
            f"IFS prompts: saw {len(ordered):,} distinct questions, {len(partial)} of them cut; expected {n:,}; "
            "give the prompt set more rows or ask for fewer prompts"
        )
    rows = [_row(*pair, PARTIAL, number) for number, pair in enumerate(partial)]
    rows += [_row(*pair, FULL, number) for number, pair in enumerate(full)]
    random.Random(seed).shuffle(rows)  # so that any prefix is about half fragments as well
    return rows


def is_partial(prompt: Example) -> bool:
    """Whether a row of `ifs_prompts` is a fragment."""
    return bool(json.loads(prompt.meta_json)["prompt"] == PARTIAL)


def _row(dialogue: Dialogue, text: str, kind: str, number: int) -> Example:
    return Example(
        example_id=f"ifs-{kind}-{number:05d}",
        task=INSTRUCTIONS,
        split=TEST,
        instruction=text,
        input="",
        reference=dialogue.response,
        meta_json=json.dumps({"prompt": kind, "dialogue": dialogue.dialogue_id}, sort_keys=True),
    )
