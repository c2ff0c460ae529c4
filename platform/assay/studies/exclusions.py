"""Which rows leave the pools of a study because a base cannot be trained on them: too long for it, or without a prompt.

A row that is too long for any base of the study leaves for all, so that all see the same rows. In `compat` none leaves:
rows are dropped when they are encoded, as in the published study, and `row_figures` says how many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assay.fingerprint import fingerprint
from assay.hooks import Progress
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.model_folders import SHIPPED, has_chat_template
from assay.records import TEST, Example
from assay.store import Store
from assay.studies.artifacts import Base
from assay.studies.designs.cell import Cell
from assay.studies.designs.mixture import tokens_of
from assay.studies.lengths import (
    Lengths,
    count_lengths,
    lengths_key,
    read_lengths,
    store_lengths,
    tokenizer_key,
)
from assay.studies.spec import TINY, Study
from assay.studies.tiny_bases import BASE_KIND

STAGE = "lengths"


@dataclass(frozen=True)
class Counts:
    """What was counted of a study's rows, and what is not known yet."""

    lengths: Mapping[tuple[str, str], Lengths] = field(default_factory=dict)
    """(base, dataset), by the study's names -> lengths."""
    missing: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(base, dataset) -> key of what is to be counted; empty where the base is not made yet."""

    tokenizers: Mapping[str, str] = field(default_factory=dict)
    """Base, by the study's name -> what names how its tokens of a row are counted, where its tokenizer is known."""
    keys: tuple[str, ...] = ()
    """Of all lengths artifacts that are known by now, counted or not."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


@dataclass(frozen=True)
class Exclusions:
    """Rows that leave pools."""

    names: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(dataset, split) -> what `ComponentSpec.excluded` calls the rows that leave it."""
    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """That name -> row id -> why it leaves."""
    token_names: Mapping[str, str] = field(default_factory=dict)
    """What a design calls the tokens of a base that shares count -> what names how its tokenizer counts them."""

    def apply(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells with these rows out of their mixtures; equal mixtures stay one object."""
        if not self.names and not self.token_names:
            return list(cells)
        made: dict[int, MixtureSpec] = {}

        def without(spec: MixtureSpec) -> MixtureSpec:
            if id(spec) not in made:
                sides = {side: tuple(map(self._part, getattr(spec, side))) for side in ("train", "validation")}
                made[id(spec)] = spec.replace(**sides, count_by=self.token_names.get(spec.count_by, spec.count_by))
            return made[id(spec)]

        return [
            replace(
                cell,
                mixture=without(cell.mixture),
                start=None if cell.start is None else replace(cell.start, mixture=without(cell.start.mixture)),
            )
            for cell in cells
        ]

    def _part(self, part: ComponentSpec) -> ComponentSpec:
        name = self.names.get((part.dataset, part.split))
        return part if name is None else part.replace(excluded=name)


def remembered_counts(study: Study, store: Store, dataset_keys: Mapping[str, str], bases: Mapping[str, Base]) -> Counts:
    """What the store remembers of the study's rows. Reads files of tokenizers, and counts nothing."""
    known: dict[tuple[str, str], Lengths] = {}
    tokenizers: dict[str, str] = {}
    missing: dict[tuple[str, str], str] = {}
    by_key: dict[str, Lengths | None] = {}
    for name, base in bases.items():
        folder = base_folder(store, base)
        tokenizer = None if folder is None else tokenizer_key(folder)
        if tokenizer is not None:
            tokenizers[name] = fingerprint({"tokenizer": tokenizer, "prompt": study.train.prompt})
        for dataset, key in dataset_keys.items():
            if folder is not None and tokenizer is None:
                continue  # no base that is trained lacks a tokenizer: `find_model` refuses it
            found = (
                "" if tokenizer is None else lengths_key(key, tokenizer, study.train.prompt, study.generation.prompt)
            )
            if found not in by_key:
                by_key[found] = read_lengths(store, found) if found else None
            lengths = by_key[found]
            if lengths is None:
                missing[name, dataset] = found
            else:
                known[name, dataset] = lengths
    return Counts(known, missing, tokenizers, tuple(sorted(key for key in by_key if key)))


def count_missing(
    study: Study,
    store: Store,
    counts: Counts,
    bases: Mapping[str, Base],
    rows: Callable[[str], Sequence[Example]],
    progress: Progress,
) -> int:
    """Count what is missing and keep it; returns rows counted.

    Args:
        study: whose rows.
        store: where counts go.
        counts: of `remembered_counts`.
        bases: by the study's name, all of them made.
        rows: reads a dataset by the study's name for it.
        progress: told of every dataset.
    """
    if counts.is_whole:
        return 0
    from assay.generation.tokenizer_engine import load_tokenizer

    prompts = (study.train.prompt, study.generation.prompt)
    tokenizers: dict[str, Any] = {}
    counted = 0
    progress.start(STAGE, len(set(counts.missing.values())), unit="datasets")
    for (base, dataset), key in counts.missing.items():
        if not key or read_lengths(store, key) is not None:  # another base has the same tokenizer
            continue
        folder = base_folder(store, bases[base])
        if base not in tokenizers:
            tokenizers[base] = load_tokenizer(str(folder))
        examples = rows(dataset)
        spec = {"training": prompts[0].model_dump(mode="json"), "generation": prompts[1].model_dump(mode="json")}
        store_lengths(store, key, count_lengths(examples, tokenizers[base], *prompts), spec)
        counted += len(examples)
        progress.advance(STAGE, 1, dataset=dataset, rows=len(examples))
    progress.finish(STAGE, f"{counted:,} rows")
    return counted


def without_template(study: Study) -> list[str]:
    """A line for each base at hand that has no chat template where the study asks for one."""
    if "chat" not in (study.train.prompt.style, study.generation.prompt.style):
        return []
    folders = [SHIPPED.get(name, Path(name).expanduser()) for name in study.all_models if name != TINY]
    models = [folder for folder in folders if (folder / "config.json").is_file()]
    plain = [folder.name for folder in models if not has_chat_template(folder)]
    if TINY in study.all_models:
        plain.append(TINY)
    return [f"{name} has no chat template: its prompts have the headings of alpaca" for name in plain]


def base_folder(store: Store, base: Base) -> Path | None:
    """Where a base lies; None where it is not made yet."""
    if base.path:
        return Path(base.path)
    return store.local_dir(BASE_KIND, base.key) if store.exists(BASE_KIND, base.key) else None


def exclusions_of(study: Study, counts: Counts) -> Exclusions:
    """The rows that leave pools, by what was counted."""
    token_names = {tokens_of(base): name for base, name in counts.tokenizers.items()}
    shared = token_names if study.grid.shares_tokens else {}
    if study.mode == "compat":
        return Exclusions(token_names=shared)
    limit = training_limit(study)
    found: dict[tuple[str, str], dict[str, str]] = {}
    for (_, dataset), lengths in counts.lengths.items():
        for example, split, tokens, error in zip(
            lengths.example_ids, lengths.splits, lengths.tokens, lengths.errors, strict=True
        ):
            if split != TEST and (error or (limit is not None and tokens > limit)):
                reason = "without a prompt" if error else f"over {limit} tokens"
                found.setdefault((dataset, split), {})[example] = reason
    names = {place: fingerprint(sorted(reasons)) for place, reasons in found.items()}
    return Exclusions(names, {names[place]: reasons for place, reasons in found.items()}, shared)


def training_limit(study: Study) -> int | None:
    """Tokens of a row at most, over all of the study's recipes that drop longer ones; None where none does."""
    limits = [recipe.max_length for recipe in study.grid.recipes(study.train) if recipe.too_long == "drop"]
    return min(limits) if limits else None


def row_tokens(counts: Counts) -> dict[tuple[str, str], dict[str, int]]:
    """Tokens of rows as `MixtureBuilder` takes them."""
    return {
        (counts.tokenizers[base], dataset): dict(zip(lengths.example_ids, lengths.tokens, strict=True))
        for (base, dataset), lengths in counts.lengths.items()
        if base in counts.tokenizers
    }
