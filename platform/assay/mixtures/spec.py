"""What a mixture is: components drawn from datasets, and the identity that makes equal mixtures one.

A component that takes no rows does not exist, and the order in which components are listed says nothing unless
the mixture is a curriculum. So the N=0 arm of every task and draw is one mixture, found by identity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from assay.config import Config, Later
from assay.errors import ConfigError
from assay.fingerprint import artifact_key
from assay.records import Mode
from assay.tasks.catalog import OTHER

KIND = "mixture"
SCHEMA_VERSION = 1
"""Raised whenever the code draws other rows for the same spec."""
DRAW_VERSION = 2
"""The same of draws in `strict`: 2 ranks rows by the dataset's key too. `compat` stays as published."""
POOL_VERSION = 2
"""The same of pools in `strict`: 2 compares texts in their normal form, earlier turns and answers too, and takes copies
once. `compat` stays as published."""


class ComponentSpec(Config):
    """Rows of one split of one dataset.

    Give `count` for exactly so many, `cap` for at most so many, or neither for all. `weight` instead leaves the count
    to `shares.resolve_shares`.
    """

    name: str = Field(min_length=1)
    """What the component is called in provenance and messages."""
    dataset: str = Field(min_length=1)
    """Name of a dataset of the study."""
    split: Literal["train", "validation", "test"] = "train"
    """Split that the rows are drawn from."""
    count: int | None = Field(None, ge=0)
    """Exactly so many rows; more than there are is an error."""
    cap: int | None = Field(None, ge=1)
    """At most so many rows, fewer where there are fewer (the study caps a category at 1300)."""
    weight: float | None = Field(None, gt=0)
    """Share of the mixture, relative to the other weighted components."""
    max_repeats: Annotated[int, Later(1)] = Field(1, ge=1)
    """Times that each row may be taken where `count` or `weight` asks for more rows than there are; as evenly as it
    goes."""
    excluded: Annotated[str, Later("")] = ""
    """Names the rows of the split that are too long for a base of the study; empty: none is."""
    draw: int | None = Field(None, ge=0)
    """Seed of the sample, 0 where none is given; None where all rows are taken, since no sample is drawn then."""
    stage: Annotated[int | None, Later(None)] = Field(None, ge=0)
    """In a curriculum: components of one stage are shuffled together. None: a stage of its own, at its place."""
    categories: tuple[str, ...] = ()
    """Only rows of these instruction categories; empty: of any."""
    without_categories: tuple[str, ...] = (OTHER,)
    """No rows of these instruction categories. "Other" is kept out of mixtures."""

    @model_validator(mode="before")
    @classmethod
    def _canonical(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        is_sample = any(data.get(field) is not None for field in ("count", "cap", "weight")) and data.get("count") != 0
        return {
            **data,
            "draw": (data.get("draw") or 0) if is_sample else None,
            "categories": _sorted(data.get("categories", ())),
            "without_categories": _sorted(data.get("without_categories", (OTHER,))),
        }

    @model_validator(mode="after")
    def _one_way_to_say_how_many(self) -> ComponentSpec:
        given = [field for field in ("count", "cap", "weight") if getattr(self, field) is not None]
        if len(given) > 1:
            raise ValueError(f"component {self.name!r}: saw {' and '.join(given)}; expected at most one of them")
        return self


class LeakSpec(Config):
    """When a drawn row counts as seen in a held-out row, and what happens then. See leaks.py."""

    policy: Literal["drop", "refuse", "ignore"] = "drop"
    """"drop" takes leaking rows out of what can be drawn, "refuse" stops and shows them, "ignore" does not look."""
    ngram_words: int = Field(8, ge=2, le=50)
    """Words in a shingle; texts with fewer words are compared as wholes."""
    min_overlap: float = Field(0.7, gt=0, le=1)
    """Share of the shorter text's informative shingles that the other must hold to count as a near duplicate."""
    common_rows: int = Field(20, ge=1)
    """A shingle in more held-out rows than this is wording of the task (its instruction, a template), not evidence."""
    copies: Literal["once", "keep"] = "once"
    """Rows of a training pool that say the same: drawn from once, or as often as they are there (always in `compat`).
    What is left out is counted in either case."""


class MixtureSpec(Config):
    """The training and validation rows of one model. Every field is part of the mixture's key."""

    train: tuple[ComponentSpec, ...] = ()
    """Components of the training rows; may be empty (a model that is not trained)."""
    validation: tuple[ComponentSpec, ...] = ()
    """Components of the validation rows, usually with split="validation"."""
    mode: Mode = "strict"
    """"compat" looks for no leaks, as the published study did not."""
    order: Literal["shuffled", "curriculum"] = "shuffled"
    """"curriculum" keeps components in their order (synthetic before human), rows shuffled inside each, or inside a
    stage that several share."""
    held_out: tuple[str, ...] = ()
    """Datasets whose validation and test rows no training row may repeat, beside those of the components."""
    leaks: LeakSpec = LeakSpec()
    max_tokens: int | None = Field(None, ge=1)
    """Rows whose JSON line has more tokens are dropped before drawing (the study: 512)."""
    count_by: str = "words"
    """What a token is: "words" (split at white space), or the name of counts that the caller brings. By those a share
    of tokens is exact to a row; by words it is rows times their mean."""
    total: int | None = Field(None, ge=1)
    """Rows (or tokens) that weighted components share; None where no component has a weight."""
    is_natural: Annotated[bool, Later(False)] = False
    """Weights are times the rows (or tokens) that each component has, so that equal ones keep the data's own shares."""
    temperature: float = Field(1.0, gt=0)
    """Shares go by weight ** (1 / temperature); see shares.py."""
    share_of: Literal["rows", "tokens"] = "rows"
    """What `total` counts."""

    @model_validator(mode="before")
    @classmethod
    def _leaks_by_mode(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("leaks") is None:
            policy = "ignore" if data.get("mode") == "compat" else "drop"
            return {**data, "leaks": LeakSpec(policy=policy)}
        return data

    @model_validator(mode="after")
    def _canonical(self) -> MixtureSpec:
        train = tuple(part for part in self.train if part.count != 0)
        stages = {place if part.stage is None else part.stage for place, part in enumerate(train)}
        if self.order == "shuffled" or len(stages) < 2:
            train = _by_content(tuple(part if part.stage is None else part.replace(stage=None) for part in train))
            object.__setattr__(self, "order", "shuffled")
        for field, value in {
            "train": train,
            "validation": _by_content(tuple(part for part in self.validation if part.count != 0)),
            "held_out": () if self.leaks.policy == "ignore" else tuple(sorted(set(self.held_out))),
            "count_by": self.count_by if self.max_tokens is not None or self.share_of == "tokens" else "words",
        }.items():
            object.__setattr__(self, field, value)  # frozen for callers; this is still construction
        given = [part.stage for part in self.train if part.stage is not None]
        if given != sorted(given) or (given and len(given) != len(self.train)):
            raise ValueError("train: expected a stage for every component, in rising order, or for none")
        for side in (self.train, self.validation):
            names = [part.name for part in side]
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"saw two components named {repeated[0]!r}; expected names to differ")
        if self.total is None and any(part.weight is not None for part in self.train):
            raise ValueError("train: saw weights without `total`; expected the number of rows that they share")
        return self

    def with_draw(self, draw: int, known: dict[tuple[int, int], ComponentSpec]) -> MixtureSpec:
        """The same of another sample of its training rows. Quick: nothing else can change, so nothing is checked anew.

        Args:
            draw: seed of the sample.
            known: components of other mixtures by (their identity in memory, draw), which are shared; is added to.
        """
        train = []
        for part in self.train:
            key = id(part), draw
            if key not in known:
                known[key] = part if part.draw is None else part.model_copy(update={"draw": draw})
            train.append(known[key])
        # components stay sorted, as their names stand first and differ
        return self.model_copy(update={"train": tuple(train)})

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of all datasets that the mixture depends on, sorted."""
        parts = (*self.train, *self.validation)
        return tuple(sorted({part.dataset for part in parts} | set(self.held_out)))


def mixture_key(spec: MixtureSpec, dataset_keys: Mapping[str, str]) -> str:
    """32 hex digits that name the mixture; a dataset counts by its key, its name in the study does not.

    Raises:
        ConfigError: a component names a dataset that is not among `dataset_keys`.
    """
    for name in spec.datasets:
        require_dataset(name, dataset_keys)
    identity = spec.identity()
    for part in (*identity["train"], *identity["validation"]):
        part["dataset"] = dataset_keys[part["dataset"]]
    if spec.order == "shuffled":
        identity["train"].sort(key=_as_text)
    identity["validation"].sort(key=_as_text)
    if spec.mode == "strict":
        identity["draws"] = DRAW_VERSION
        identity["pool"] = POOL_VERSION
    else:
        identity["leaks"].pop("copies")
    used = {part.dataset for part in (*spec.train, *spec.validation)}
    identity["held_out"] = sorted({dataset_keys[name] for name in spec.held_out} - {dataset_keys[n] for n in used})
    keys = sorted({dataset_keys[name] for name in spec.datasets})
    return artifact_key(KIND, SCHEMA_VERSION, identity, {"datasets": keys})


def require_dataset(name: str, known: Mapping[str, object]) -> None:
    """Raise ConfigError, listing the known ones, where a mixture names a dataset that the study does not have."""
    if name not in known:
        raise ConfigError(f"mixture: saw the dataset {name!r}; expected one of {', '.join(sorted(known)) or 'none'}")


def _by_content(parts: tuple[ComponentSpec, ...]) -> tuple[ComponentSpec, ...]:
    return tuple(sorted(parts, key=ComponentSpec.model_dump_json))


def _as_text(part: dict[str, Any]) -> str:
    return json.dumps(part, sort_keys=True)


def _sorted(names: Any) -> Any:
    return tuple(sorted(set(names))) if isinstance(names, (list, tuple, set)) else names
