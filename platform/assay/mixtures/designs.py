"""The mixtures of the IFTEval study as specs: one function for each of its designs. Pure.

Source: Faysse et al. 2023 (arXiv 2310.14103), sections B.1 and C, and the behaviour of its public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from assay.errors import InputError
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.records import TEST, Example, Mode
from assay.tasks.catalog import INSTRUCTION_CATEGORIES

CATEGORY_CAP = 1300
"""Most training rows of a set of one category alone."""
COMPAT_VALIDATION_ROWS = 125
"""Target rows in the published study's validation file for N=1000, which it used for every N: 1000 x .1 / .8."""
INSTRUCTION_DRAW = 1_000_003
"""Draw that samples the instruction rows: the same rows in every mixture, unrelated to the draws of target rows."""


@dataclass(frozen=True)
class Instructions:
    """The instruction rows that every mixture of a study has."""

    dataset: str
    rows: int | None = None
    """Training rows, one sample for all mixtures; None takes them all."""
    validation_rows: int | None = None
    """Validation rows; None takes them all."""
    seed: int = 0
    """Shifts the sample."""
    categories: tuple[str, ...] = ()
    """Instruction categories to take; empty: all but Other."""

    def part(self, split: Literal["train", "validation"], name: str = "", stage: int | None = None) -> ComponentSpec:
        """The component of these rows."""
        return ComponentSpec(
            name=name or self.dataset,
            dataset=self.dataset,
            split=split,
            count=self.rows if split == "train" else self.validation_rows,
            draw=INSTRUCTION_DRAW + self.seed,
            categories=self.categories,
            stage=stage,
        )


def instructions_alone(
    instructions: Instructions, *, mode: Mode = "strict", held_out: Sequence[str] = ()
) -> MixtureSpec:
    """The instruction set by itself: what makes a base model an instruction-tuned one."""
    return MixtureSpec(
        train=(instructions.part("train"),),
        validation=(instructions.part("validation"),),
        mode=mode,
        held_out=tuple(held_out),
    )


def with_target(
    instructions: Instructions | str,
    target: str,
    count: int,
    draw: int,
    *,
    mode: Mode = "strict",
    held_out: Sequence[str] = (),
    validation_count: int | None = None,
    max_tokens: int | None = None,
) -> MixtureSpec:
    """S1: an instruction set and `count` rows of a target task.

    `strict`: N=0 has no target row anywhere, so that it is one mixture for all tasks and draws (give all arms the same
    `held_out`). `compat`: every arm, N=0 too, validates on the target rows of the N=1000 arm of its draw.

    Args:
        instructions: the instruction rows, or a dataset to take whole.
        target: dataset of the target task.
        count: N, training rows of the target task.
        draw: seed of the sample.
        mode: see above.
        held_out: datasets whose validation and test rows no training row may repeat, beside these two.
        validation_count: target rows to validate on; default in `strict` an eighth of N (the split is 80/10/10), at
            most as many as there are.
        max_tokens: rows of more tokens are dropped.
    """
    if isinstance(instructions, str):
        instructions = Instructions(instructions)
    if validation_count is None:
        most = COMPAT_VALIDATION_ROWS if mode == "compat" else -(-count // 8)
        asked = {"cap": most} if most else {"count": 0}
    else:
        asked = {"count": validation_count if count or mode == "compat" else 0}
    return MixtureSpec(
        train=(instructions.part("train"), ComponentSpec(name=target, dataset=target, count=count, draw=draw)),
        validation=(
            instructions.part("validation"),
            ComponentSpec(name=target, dataset=target, split="validation", draw=draw, **asked),
        ),
        mode=mode,
        held_out=tuple(held_out),
        max_tokens=max_tokens,
    )


def without_category(
    instructions: Instructions | str,
    category: str,
    count: int,
    draw: int,
    *,
    mode: Mode = "strict",
    max_tokens: int | None = None,
) -> MixtureSpec:
    """The synthetic study: all categories but one, and `count` rows of that one."""
    if isinstance(instructions, str):
        instructions = Instructions(instructions)
    others = replace(instructions, categories=tuple(name for name in INSTRUCTION_CATEGORIES if name != category))
    dataset = instructions.dataset
    return MixtureSpec(
        train=(
            others.part("train", "others"),
            ComponentSpec(name=category, dataset=dataset, categories=(category,), count=count, draw=draw),
        ),
        validation=(others.part("validation", "others"),),
        mode=mode,
        max_tokens=max_tokens,
    )


def category_alone(instructions: str, category: str, draw: int, *, mode: Mode = "strict") -> MixtureSpec:
    """The "<category>_only" set: at most 1300 rows of one category."""
    return MixtureSpec(
        train=(
            ComponentSpec(name=category, dataset=instructions, categories=(category,), cap=CATEGORY_CAP, draw=draw),
        ),
        validation=(
            ComponentSpec(name=category, dataset=instructions, categories=(category,), split="validation"),
        ),
        mode=mode,
    )  # fmt: skip


def target_alone(
    target: str,
    count: int,
    draw: int,
    *,
    mode: Mode = "strict",
    validation_count: int = 100,
    held_out: Sequence[str] = (),
) -> MixtureSpec:
    """S2: `count` target rows and nothing else; further rows of the same training split are the validation rows."""
    return MixtureSpec(
        train=(ComponentSpec(name=target, dataset=target, count=count, draw=draw),),
        validation=(ComponentSpec(name=target, dataset=target, count=validation_count, draw=draw),) if count else (),
        mode=mode,
        held_out=tuple(held_out),
    )


def synthetic_then_human(
    instructions: Instructions,
    synthetic: str,
    human: str,
    count: int,
    draw: int,
    *,
    num_synthetic: int = 100,
    mode: Mode = "strict",
    held_out: Sequence[str] = (),
) -> MixtureSpec:
    """S+H: instruction rows with synthetic rows of the task among them, then `count` human-annotated rows."""
    return MixtureSpec(
        train=(
            instructions.part("train", stage=0),
            ComponentSpec(name="synthetic", dataset=synthetic, count=num_synthetic, draw=draw, stage=0),
            ComponentSpec(name="human", dataset=human, count=count, draw=draw, stage=1),
        ),
        validation=(instructions.part("validation"),),
        order="curriculum",
        mode=mode,
        held_out=tuple(held_out),
    )


def cross_category_rows(examples: Sequence[Example], per_category: int = 20) -> list[Example]:
    """The cross-category evaluation set: the first test rows of each of the 12 categories, in source order.

    Raises:
        InputError: a category has fewer test rows than that.
    """
    chosen: list[Example] = []
    for category in INSTRUCTION_CATEGORIES:
        rows = [example for example in examples if example.split == TEST and example.category == category]
        if len(rows) < per_category:
            raise InputError(
                f"evaluation.cross_category_rows: saw {len(rows)} test rows of {category!r}; expected {per_category}; "
                "tag more rows or ask for fewer of each"
            )
        chosen += rows[:per_category]
    return chosen
