"""Rows asked for, rows trained and prompts cut, by dataset and base: what a reader must know beside every N. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay.mixtures.spec import ComponentSpec
from assay.model_folders import position_limit
from assay.records import TRAIN, MixtureRow, from_table
from assay.store import Store
from assay.studies.artifacts import EvaluationSet
from assay.studies.designs.cell import Cell
from assay.studies.exclusions import training_limit
from assay.studies.lengths import Lengths
from assay.studies.prepared import PreparedStudy
from assay.studies.spec import Study

ROWS = "side/rows.json"
"""Where a study keeps its figures, with the fingerprint of its identity."""


@dataclass(frozen=True)
class RowFigures:
    """One dataset as one base sees it. None: not counted yet."""

    dataset: str
    base_model: str
    asked: int | None
    """Training rows of the mixture that asks for the most; None where it asks for all and nobody counted,
    or for a share of tokens."""
    trained: int | None
    """Of these, rows that are trained; in `compat`, before they are drawn, about so many."""
    left_out: int | None
    """Training rows of the dataset that are too long for a base, or have no prompt. `strict` draws from the others."""
    limit: int | None
    """Tokens of a training row at most; None where longer rows are cut."""
    prompts: int | None
    """Test rows that are asked."""
    prompts_cut: int | None
    """Of these, prompts that are over the limit and lose the middle of their longest field (`compat`: its end)."""
    spell_marks: int | None
    """Rows of the dataset that spell a special token; they are read as text (`compat`: as that token)."""
    over_positions: int = 0
    """Training rows that stay and are longer than the base's own positions: rotary models go on without a word beyond
    what they were trained for, others refuse them."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def row_figures(prepared: PreparedStudy, drawn: Mapping[str, Sequence[str]] | None = None) -> list[RowFigures]:
    """Of every dataset that is trained or asked, for every base.

    Args:
        prepared: the study, with what is known of its rows' lengths.
        drawn: dataset key -> row ids of the largest mixture with that dataset, where it has been drawn.
    """
    study, counts, sets = prepared.study, prepared.counts, prepared.sets
    parts: dict[str, dict[str, ComponentSpec]] = {}
    for spec in {id(spec): spec for cell in prepared.cells for spec in _mixtures(cell)}.values():
        for part in spec.train:
            parts.setdefault(part.dataset, {})[part.model_dump_json()] = part
    found = []
    for base in dict.fromkeys(base for base, _ in (*counts.lengths, *counts.missing)):
        for dataset, key in prepared.datasets.items():
            asked = [part for part in sets.values() if part.dataset_key == key]
            if dataset in parts or asked:
                lengths = counts.lengths.get((base, dataset))
                ids = None if drawn is None else drawn.get(key, ())
                seen = _Seen(dataset, prepared.bases[base].name, _positions(prepared, base))
                found.append(_figures(study, seen, parts.get(dataset, {}).values(), asked, lengths, ids))
    return found


@dataclass(frozen=True)
class _Seen:
    """A dataset as a base sees it."""

    dataset: str
    base: str
    positions: int | None
    """Tokens that the base was made for; None where it names no limit."""


def _positions(prepared: PreparedStudy, name: str) -> int | None:
    base, own = prepared.bases[name], prepared.study.tiny_base
    if base.path:
        return position_limit(Path(base.path))
    return None if own is None else own.max_positions


def drawn_rows(store: Store, mixtures: Iterable[str]) -> dict[str, list[str]]:
    """Of each dataset key, the row ids of the stored mixture that holds the most of it."""
    found: dict[str, list[str]] = {}
    for key in mixtures:
        here: dict[str, list[str]] = {}
        for row in from_table(store.read_table("mixture", key, "train.parquet"), MixtureRow):
            here.setdefault(row.dataset, []).append(row.example_id)
        for dataset, ids in here.items():
            if len(ids) > len(found.get(dataset, ())):
                found[dataset] = ids
    return found


def in_words(figures: Sequence[RowFigures]) -> str:
    """What was left out and cut, in one line; empty where nothing was."""
    told = []
    for row in figures:
        parts = []
        if row.left_out:
            kept = (
                f"{row.trained:,} of {row.asked:,} trained" if row.trained is not None and row.asked else "none asked"
            )
            parts.append(f"{row.left_out:,} training rows over {row.limit} tokens or without a prompt, {kept}")
        if row.prompts_cut:
            parts.append(f"{row.prompts_cut:,} of {row.prompts:,} prompts cut")
        if row.over_positions:
            parts.append(f"{row.over_positions:,} training rows longer than the base's own positions")
        if row.spell_marks:
            parts.append(f"{row.spell_marks:,} rows spell special tokens")
        if parts:
            told.append(f"{row.dataset} ({row.base_model}): {', '.join(parts)}")
    return "; ".join(told)


def _figures(
    study: Study,
    seen: _Seen,
    parts: Iterable[ComponentSpec],
    sets: Sequence[EvaluationSet],
    lengths: Lengths | None,
    drawn: Sequence[str] | None,
) -> RowFigures:
    limit = training_limit(study)
    parts = list(parts)
    wanted = _most(parts, lengths)
    if lengths is None:
        return RowFigures(seen.dataset, seen.base, wanted, None, None, limit, None, None, None)
    out = {
        example
        for example, tokens, error in zip(lengths.example_ids, lengths.tokens, lengths.errors, strict=True)
        if error or (limit is not None and tokens > limit)
    }
    rows = zip(lengths.example_ids, lengths.splits, lengths.tokens, strict=True)
    pool = {example: tokens for example, split, tokens in rows if split == TRAIN}
    left_out = sum(example in out for example in pool)
    longest = seen.positions or max(pool.values(), default=0)
    # the last token of a row is predicted and never read
    over = sum(tokens - 1 > longest for example, tokens in pool.items() if example not in out)
    if drawn is not None:
        wanted, trained = len(drawn), sum(example not in out for example in drawn)
    elif wanted is None:
        trained = None
    elif study.mode == "strict":
        times = max((part.max_repeats for part in parts), default=1)
        trained = min(wanted, times * (len(pool) - left_out))
    else:
        trained = round(wanted * (1 - left_out / max(1, len(pool))))
    prompts, cut = _prompts(study, sets, lengths, seen.positions)
    marks = sum(lengths.spells_marks)
    return RowFigures(seen.dataset, seen.base, wanted, trained, left_out, limit, prompts, cut, marks, over)


def _most(parts: Sequence[ComponentSpec], lengths: Lengths | None) -> int | None:
    """Rows that the largest component of a dataset asks for."""
    held = None if lengths is None else Counter(zip(lengths.splits, lengths.categories, strict=True))
    counts = []
    counted = [part for part in parts if part.weight is None]  # shares of what is there, or of tokens, tell no rows
    if not counted and parts:
        return None
    for part in counted:
        there = None
        if held is not None:
            there = sum(
                rows
                for (split, category), rows in held.items()
                if split == part.split
                and category not in part.without_categories
                and (not part.categories or category in part.categories)
            )
        asked = part.count if part.count is not None else part.cap
        counts.append(there if asked is None else asked if part.count is not None else min(asked, there or asked))
    known = [count for count in counts if count is not None]
    return max(known) if known and len(known) == len(counts) else (None if counts else 0)


def _prompts(study: Study, sets: Sequence[EvaluationSet], lengths: Lengths, positions: int | None) -> tuple[int, int]:
    """Test rows asked, and prompts among them that are cut."""
    spec = study.generation
    longest = min(spec.max_model_len, positions or spec.max_model_len)
    asked = cut = 0
    for part in sets:
        room = min(spec.max_prompt_tokens, longest - part.max_new_tokens)
        rows = [
            tokens
            for split, category, tokens in zip(lengths.splits, lengths.categories, lengths.prompt_tokens, strict=True)
            if split == part.split and part.category in ("", category)
        ]
        rows = rows if part.per_category or part.rows is None else rows[: part.rows]
        asked += len(rows)
        cut += sum(tokens > room for tokens in rows)
    return asked, cut


def _mixtures(cell: Cell) -> list[Any]:
    found = [cell.mixture] if cell.is_trained else []
    return found if cell.start is None else [*found, cell.start.mixture]
