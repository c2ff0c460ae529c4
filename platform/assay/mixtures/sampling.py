"""Draws the rows of mixtures. Pure, and seeded by content: the same rows on every machine, in every order of work.

A draw ranks the rows of a split by a hash of (draw, dataset, row id), so the n-row draw is a prefix of the m-row draw.
The dataset counts by its key (in `compat` not at all), since tasks whose rows have equal ids would draw the same ones
otherwise; other data are other draws. A mixture of the same data without its target rows is the same sequence with
those rows left out.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from assay.errors import InputError
from assay.mixtures.leaks import find_copies, find_leaks, refuse_leaks
from assay.mixtures.shares import refuse_empty, resolve_shares
from assay.mixtures.spec import KIND, ComponentSpec, MixtureSpec, mixture_key, require_dataset
from assay.records import TEST, TRAIN, VALIDATION, Example, MixtureRow, to_table
from assay.store import Store
from assay.tasks.datasets.splits import split_line

TRAIN_FILE, VALIDATION_FILE, SUMMARY_FILE = "train.parquet", "validation.parquet", "summary.json"
CountTokens = Callable[[str], int]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    """The rows that a model is trained and validated on, by id."""

    key: str
    train: list[MixtureRow]
    validation: list[MixtureRow]
    summary: dict[str, object] = field(default_factory=dict)
    """Rows taken, available and dropped (by reason) of each component."""


@dataclass(frozen=True)
class _Pool:
    places: Places
    """Rows of the dataset that may be drawn, in source order."""
    dropped: dict[str, int]
    """How many rows of the split may not, by reason."""
    facts: dict[str, int]
    """What else was counted: copies, and questions whose answers differ."""


class MixtureBuilder:
    """Builds many mixtures over the same datasets, doing filters, leak checks and rankings once."""

    def __init__(
        self,
        datasets: Mapping[str, Sequence[Example]],
        dataset_keys: Mapping[str, str],
        count_tokens: CountTokens | None = None,
        excluded: Mapping[str, Mapping[str, str]] | None = None,
        row_tokens: Mapping[tuple[str, str], Mapping[str, int]] | None = None,
    ) -> None:
        """A builder over the study's datasets.

        Args:
            datasets: examples by the dataset's name in the study; may load lazily.
            dataset_keys: key of each dataset's artifact.
            count_tokens: tokens of a text, for specs whose `count_by` names a tokenizer.
            excluded: rows that cannot be trained on, by what `ComponentSpec.excluded` calls them: id -> why.
            row_tokens: tokens of rows by (`count_by` of a spec, the dataset's name): id -> tokens.
        """
        self.excluded = excluded or {}
        """As in `__init__`; may be set anew between builds."""
        self.row_tokens = row_tokens or {}
        """The same."""
        self._datasets, self._keys, self._count_tokens = datasets, dict(dataset_keys), count_tokens
        self._pools: dict[tuple[object, ...], _Pool] = {}
        self._leaking: dict[tuple[object, ...], Places] = {}
        self._ranks: dict[tuple[str, str], NDArray[np.uint64]] = {}
        self._too_long: dict[tuple[object, ...], NDArray[np.bool_]] = {}

    def build(self, spec: MixtureSpec, label: str = "") -> Mixture:
        """The rows of a mixture.

        Args:
            spec: what to draw; weights become counts here (see shares.py), of the rows that are there.
            label: what messages call the mixture.

        Raises:
            InputError: a component asks for more rows than its split holds, or two draw the same row.
            DataError: the policy is to refuse leaks and there are some.
            ConfigError: a dataset is not one of the study's.
        """
        key = mixture_key(spec, self._keys)
        label = label or key
        spec = self._with_counts(spec, label)
        summary: dict[str, dict[str, object]] = {"train": {}, "validation": {}}
        validation = []
        for part in spec.validation:
            # from the end of the draw, so that training rows of the same draw and split never meet them
            places, summary["validation"][part.name] = self._draw(part, spec, label, _NONE, from_end=True)
            validation.append((part, places))
        train: list[tuple[ComponentSpec, Places]] = []
        for part in spec.train:
            reserved = _joined([p for other, p in validation if _same_rows(other, part)])
            places, summary["train"][part.name] = self._draw(part, spec, label, reserved, from_end=False)
            for other, others in train:
                if _same_rows(other, part) and (both := np.intersect1d(others, places)).size:
                    row = self._datasets[part.dataset][int(both[0])].example_id
                    raise InputError(
                        f"mixture {label!r}: components {other.name!r} and {part.name!r} both draw row {row!r}; "
                        "expected each row once; give them different categories or splits"
                    )
            train.append((part, places))
        return Mixture(
            key=key,
            train=self._rows(train, by_component=spec.order == "curriculum"),
            validation=self._rows(validation, by_component=False),
            summary=dict(summary),
        )

    def _with_counts(self, spec: MixtureSpec, label: str) -> MixtureSpec:
        """The spec with a count in place of each weight."""
        weighted = [part for part in spec.train if part.weight is not None]
        if not weighted:
            return spec
        pools = {part.name: (part.dataset, self._pool(part, spec, label).places) for part in weighted}
        if spec.share_of == "tokens" and spec.count_by != "words":
            return self._with_counts_by_tokens(spec, weighted, label)
        count = self._count_tokens if spec.count_by != "words" and self._count_tokens is not None else _count_words
        mean_tokens: dict[str, float] = {}
        if spec.share_of == "tokens":
            for name, (dataset, places) in pools.items():
                rows = (self._examples(dataset)[place] for place in places.tolist())
                tokens = [count(split_line(row.instruction, row.input, row.reference)) for row in rows]
                mean_tokens[name] = sum(tokens) / len(tokens) if tokens else 0.0
        return resolve_shares(spec, {name: places.size for name, (_, places) in pools.items()}, mean_tokens, label)

    def _with_counts_by_tokens(self, spec: MixtureSpec, weighted: list[ComponentSpec], label: str) -> MixtureSpec:
        """Counts of rows whose tokens come nearest to each component's share, in the order in which they are drawn."""
        assert spec.total is not None
        ordered = [self._tokens_in_order(part, spec, label) for part in weighted]
        there = [float(tokens.sum()) if spec.is_natural else 1.0 for tokens in ordered]
        refuse_empty(weighted, there, label)
        sizes = [(part.weight or 1.0) * size for part, size in zip(weighted, there, strict=True)]
        # of the largest: a low temperature would make numbers without end of millions of tokens
        powers = [(size / max(sizes)) ** (1 / spec.temperature) for size in sizes]
        counts = {}
        for part, power, tokens in zip(weighted, powers, ordered, strict=True):
            wanted, has = spec.total * power / sum(powers), int(tokens.sum())
            passes, rest = divmod(wanted, has) if has else (math.inf, 0.0)
            if wanted > has * part.max_repeats + tokens.max(initial=0) / 2:
                raise InputError(
                    f"mixture {label!r}: the share of {part.name!r} asks for {wanted:,.0f} tokens but its rows have "
                    f"{has:,}{_times(part)}; lower total or the share, or raise max_repeats"
                )
            ends = np.concatenate([[0], np.cumsum(tokens)])
            counts[part.name] = int(passes) * tokens.size + int(np.argmin(np.abs(ends - rest)))
        train = tuple(
            part.replace(weight=None, count=min(counts[part.name], self._most(part, spec, label)))
            if part.name in counts
            else part
            for part in spec.train
        )
        return spec.replace(train=train, total=None, temperature=1.0, share_of="rows", is_natural=False)

    def _most(self, part: ComponentSpec, spec: MixtureSpec, label: str) -> int:
        return self._pool(part, spec, label).places.size * part.max_repeats

    def _tokens_in_order(self, part: ComponentSpec, spec: MixtureSpec, label: str) -> Places:
        """Tokens of the rows of a component's pool as they are drawn."""
        known = self.row_tokens.get((spec.count_by, part.dataset))
        if known is None:
            raise InputError(
                f"mixture {label!r}: nobody counted the tokens of {part.dataset!r} by {spec.count_by}; build it "
                "through its study, once its rows are counted"
            )
        places = self._pool(part, spec, label).places
        places = places[np.argsort(self._rank(part.dataset, self._purpose(part, spec))[places], kind="stable")]
        rows = self._examples(part.dataset)
        return np.array([known[rows[place].example_id] for place in places.tolist()], dtype=np.int64)

    def _draw(
        self, part: ComponentSpec, spec: MixtureSpec, label: str, reserved: Places, *, from_end: bool
    ) -> tuple[Places, dict[str, object]]:
        pool = self._pool(part, spec, label)
        places, dropped = pool.places, dict(pool.dropped)
        if reserved.size:
            is_reserved = np.isin(places, reserved)
            dropped["validation row"] = int(is_reserved.sum())
            places = places[~is_reserved]
        wanted = part.count if part.count is not None else min(part.cap or places.size, places.size)
        if wanted > places.size * part.max_repeats:
            why = (
                f" ({', '.join(f'{count} {reason}' for reason, count in dropped.items())} left out)" if dropped else ""
            )
            raise InputError(
                f"mixture {label!r}: asks for {wanted} {part.dataset!r} examples but the {part.split} split holds "
                f"{places.size}{why}{_times(part)}; ask for fewer or bring more data"
            )
        taken: dict[str, object] = {"rows": int(wanted), "available": int(places.size), "dropped": dropped}
        if pool.facts:
            taken["counted"] = pool.facts
        if part.draw is None or wanted == places.size:
            return places, taken
        order = np.argsort(self._rank(part.dataset, self._purpose(part, spec))[places], kind="stable")
        if wanted > places.size:
            taken["repeated"] = int(wanted - places.size)
            return np.resize(places[order], wanted), taken  # whole passes, then the first rows once more
        is_shared = from_end and part.split == TRAIN
        return places[order[places.size - wanted :] if is_shared else order[:wanted]], taken

    def _purpose(self, part: ComponentSpec, spec: MixtureSpec) -> str:
        """What ranks the rows; without the dataset's key, tasks whose rows have equal ids would draw the same ones."""
        name = f"draw {part.draw}"
        return name if spec.mode == "compat" else f"{name} of {self._keys[part.dataset]}"

    def _pool(self, part: ComponentSpec, spec: MixtureSpec, label: str) -> _Pool:
        held_out = () if spec.leaks.policy == "ignore" else spec.datasets
        name = (part.dataset, part.split, part.categories, part.without_categories, part.excluded)
        cached = (*name, held_out, spec.leaks.model_dump_json(), spec.max_tokens, spec.count_by, spec.mode)
        if cached not in self._pools:
            examples = self._examples(part.dataset)
            dropped: dict[str, int] = {}
            places = [
                place
                for place, example in enumerate(examples)
                if example.split == part.split
                and example.category not in part.without_categories
                and (not part.categories or example.category in part.categories)
            ]
            kept = np.array(places, dtype=np.int64)
            if spec.max_tokens is not None and kept.size:
                is_long = self._is_too_long(part.dataset, spec.max_tokens, spec.count_by)[kept]
                if is_long.any():
                    dropped["too long"] = int(is_long.sum())
                kept = kept[~is_long]
            if part.excluded:
                reasons = self._reasons(part)
                is_out = np.array([examples[place].example_id in reasons for place in kept.tolist()], dtype=bool)
                dropped |= Counter(reasons[examples[place].example_id] for place in kept[is_out].tolist())
                kept = kept[~is_out]
            if held_out and part.split != TEST:
                leaks = np.isin(kept, self._leaks(part, spec, held_out, label))
                if leaks.any():
                    dropped["leak"] = int(leaks.sum())
                kept = kept[~leaks]
            facts: dict[str, int] = {}
            if spec.mode == "strict" and part.split != TEST:
                copies, contradicted = find_copies([examples[place] for place in kept.tolist()])
                facts = {"copies": len(copies), "contradicted questions": contradicted}
                if spec.leaks.copies == "once" and copies:
                    dropped["copy"] = len(copies)
                    kept = np.delete(kept, copies)
            self._pools[cached] = _Pool(kept, dropped, {name: count for name, count in facts.items() if count})
        return self._pools[cached]

    def _leaks(self, part: ComponentSpec, spec: MixtureSpec, names: tuple[str, ...], label: str) -> Places:
        """Places of rows of this split that validation (of training rows) or test rows of any dataset repeat."""
        sides = (VALIDATION, TEST) if part.split == TRAIN else (TEST,)
        cached = (part.dataset, part.split, names, spec.leaks.model_dump_json())
        if cached not in self._leaking:
            examples = self._examples(part.dataset)
            places = [place for place, example in enumerate(examples) if example.split == part.split]
            rows = [examples[place] for place in places]
            held_out = [example for name in names for example in self._examples(name) if example.split in sides]
            leaks = find_leaks(rows, held_out, spec.leaks)
            if spec.leaks.policy == "refuse":
                refuse_leaks(leaks, rows, held_out, f"mixture {label!r}, dataset {part.dataset!r}")
            self._leaking[cached] = np.array([places[leak.position] for leak in leaks], dtype=np.int64)
        return self._leaking[cached]

    def _is_too_long(self, dataset: str, max_tokens: int, count_by: str) -> NDArray[np.bool_]:
        cached = (dataset, max_tokens, count_by)
        if cached not in self._too_long:
            count = _count_words if count_by == "words" else self._count_tokens
            if count is None:
                raise InputError(
                    f"mixture: saw count_by {count_by!r} without a tokenizer; expected 'words', or one passed in"
                )
            self._too_long[cached] = np.array(
                [
                    count(split_line(example.instruction, example.input, example.reference)) > max_tokens
                    for example in self._examples(dataset)
                ],
                dtype=bool,
            )
        return self._too_long[cached]

    def _reasons(self, part: ComponentSpec) -> Mapping[str, str]:
        """Why rows of the component's split are left out, by id."""
        if part.excluded not in self.excluded:
            raise InputError(
                f"mixture: component {part.name!r} leaves out the rows {part.excluded}, which nobody counted here; "
                "build it through its study"
            )
        return self.excluded[part.excluded]

    def _rank(self, dataset: str, purpose: str) -> NDArray[np.uint64]:
        """A number for each row of a dataset that depends on its id and the purpose alone."""
        cached = (dataset, purpose)
        if cached not in self._ranks:
            start = hashlib.blake2b(purpose.encode() + b"\0", digest_size=8)
            data = bytearray()
            for example in self._examples(dataset):
                row = start.copy()
                row.update(example.example_id.encode())
                data += row.digest()
            self._ranks[cached] = np.frombuffer(bytes(data), dtype=">u8").astype(np.uint64)
        return self._ranks[cached]

    def _rows(self, parts: list[tuple[ComponentSpec, Places]], *, by_component: bool) -> list[MixtureRow]:
        """Rows in training order: shuffled by content over all components, or inside each, one after the other."""
        if not parts:
            return []
        ranks = np.concatenate([self._order(part, places) for part, places in parts])
        owners = np.repeat(np.arange(len(parts)), [places.size for _, places in parts])
        stages = np.array([place if part.stage is None else part.stage for place, (part, _) in enumerate(parts)])
        all_places = np.concatenate([places for _, places in parts])
        order = np.lexsort((ranks, stages[owners])) if by_component else np.argsort(ranks, kind="stable")
        rows = []
        for position, (owner, place) in enumerate(zip(owners[order].tolist(), all_places[order].tolist(), strict=True)):
            part = parts[owner][0]
            row_id = self._datasets[part.dataset][place].example_id
            rows.append(MixtureRow(position, self._keys[part.dataset], row_id, part.name))
        return rows

    def _order(self, part: ComponentSpec, places: Places) -> NDArray[np.uint64]:
        """Where rows stand in the mixture; further copies of a row stand elsewhere, the first as it would alone."""
        # the order of rows may not depend on the study's name for a dataset: its key is part of the purpose
        purpose = f"order {self._keys[part.dataset]}"
        ranks = self._rank(part.dataset, purpose)[places]
        size = np.unique(places).size
        for start in range(size, places.size, size) if size else ():
            again = places[start : start + size]
            ranks[start : start + size] = self._rank(part.dataset, f"{purpose} pass {start // size}")[again]
        return ranks

    def _examples(self, name: str) -> Sequence[Example]:
        require_dataset(name, self._datasets)
        return self._datasets[name]


def store_mixture(store: Store, mixture: Mixture, spec: MixtureSpec) -> None:
    """Write the mixture's artifact unless it is there: row ids, never text."""
    if store.exists(KIND, mixture.key):
        return
    with store.writing(KIND, mixture.key, spec.model_dump(mode="json")) as artifact:
        artifact.table(TRAIN_FILE, to_table(mixture.train, MixtureRow))
        artifact.table(VALIDATION_FILE, to_table(mixture.validation, MixtureRow))
        artifact.json(SUMMARY_FILE, mixture.summary)


_NONE: Places = np.empty(0, dtype=np.int64)


def _joined(places: list[Places]) -> Places:
    return np.concatenate(places) if places else _NONE


def _same_rows(first: ComponentSpec, second: ComponentSpec) -> bool:
    """Whether two components draw from the same split, so that they could draw the same row."""
    return (first.dataset, first.split) == (second.dataset, second.split)


def _times(part: ComponentSpec) -> str:
    return f" (each up to {part.max_repeats} times)" if part.max_repeats > 1 else ""


def _count_words(text: str) -> int:
    return len(text.split())
