"""Design `mixture`: shares of any datasets, each mixture of the same total, over a space of points.

What models are trained on and what they are asked are told apart: `grid.components` and `evaluation.sets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from assay.config import Config
from assay.metaeval.study_tables.frame import MANY
from assay.mixtures.designs import INSTRUCTION_DRAW
from assay.mixtures.shares import largest_remainder
from assay.mixtures.space import MILLION, Region, SpaceSpec, space_points
from assay.mixtures.spec import ComponentSpec, MixtureSpec
from assay.studies.designs.asked import AskedSet, own_sets
from assay.studies.designs.cell import Cell, Condition
from assay.studies.designs.design import DesignBase, no_repeats, with_seeds
from assay.studies.designs.searched import SearchedSpace

if TYPE_CHECKING:
    from assay.studies.spec import Study

NATURAL, UNIFORM = "natural", "uniform"
BUILT_IN = (NATURAL, UNIFORM)
"""Points that every study has: in proportion to the rows (or tokens) there are, and all alike."""
POINT_FIELDS = ("name", "shares")


class Part(Config):
    """One component of the mixtures."""

    dataset: str = ""
    """Dataset of `data` that its rows come from; empty: the one that bears the component's name."""
    categories: tuple[str, ...] = ()
    """Only rows of these categories; empty: of any."""
    max_repeats: int = Field(1, ge=1)
    """Times that each row may be trained where a share asks for more rows than there are."""


class TokenTotal(Config):
    """A total that counts tokens instead of rows."""

    tokens: int = Field(ge=1)
    """Of prompt, answer and end mark, by each base's own tokenizer."""


Total = Annotated[
    Annotated[Annotated[int, Field(ge=1)], Tag("@rows")] | Annotated[TokenTotal, Tag("@tokens")],
    Discriminator(lambda value: "@tokens" if isinstance(value, Mapping | TokenTotal) else "@rows"),
]


class Point(Config):
    """One mixture by its shares: `{name: house, chat: 0.6, code: 0.4}`."""

    name: str = ""
    """What reports call it; empty: its shares."""
    shares: Mapping[str, float]
    """Component -> weight; they need not add up to 1, and one that is not named has none."""

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "shares" in data:
            return data
        shares = {name: value for name, value in data.items() if name not in POINT_FIELDS}
        return {"name": data.get("name", ""), "shares": shares}

    @model_validator(mode="after")
    def _some_weight(self) -> Point:
        if min(self.shares.values(), default=0.0) < 0 or sum(self.shares.values()) <= 0:
            raise ValueError(f"saw {dict(self.shares)}; expected weights of at least 0, one of them above")
        return self


@dataclass(frozen=True)
class Arm:
    """A point under the name that reports use."""

    name: str
    shares: Mapping[str, float]
    """Adding up to 1, in the order of the components; of `natural` all alike, times the rows there are."""
    is_natural: bool = False


class MixtureGrid(DesignBase):
    """Mixtures of any datasets by their shares: what is trained on is told apart from what is asked."""

    paper_places: ClassVar[Mapping[str, str]] = {}
    counts_targets: ClassVar[bool] = False
    asks_own_sets: ClassVar[bool] = True
    validated_by: ClassVar[str] = "make it a component, with grid.validation_rows for each"

    design: Literal["mixture"] = "mixture"
    components: Mapping[str, Part] = Field(min_length=1)
    """Name -> what it takes of which dataset."""
    total: Total
    """Training rows of every mixture, or `{tokens: N}`."""
    points: tuple[Point, ...] = ()
    """Mixtures by name. `natural` and `uniform` are always there."""
    space: SpaceSpec | None = None
    """Further mixtures; None: none."""
    baseline: str = NATURAL
    """Point that the others are compared with."""
    validation_rows: int = Field(100, ge=0)
    """Validation rows of all components together for the validation loss, as many of each; the same for every point."""

    @model_validator(mode="after")
    def _points_fit(self) -> MixtureGrid:
        if reserved := sorted(set(self.components) & set(POINT_FIELDS)):
            raise ValueError(f"components: saw {reserved[0]!r}, which a point uses for something else; rename it")
        for point in self.points:
            if unknown := sorted(set(point.shares) - set(self.components)):
                raise ValueError(f"points: saw {unknown[0]!r}; expected some of {', '.join(self.components)}")
        names = [point.name for point in self.points if point.name]
        if taken := sorted(set(names) & set(BUILT_IN)):
            raise ValueError(f"points: {taken[0]!r} is always there; leave it out, or give it another name")
        no_repeats("points", tuple(names))
        if self.max_tokens is not None and isinstance(self.total, TokenTotal):
            raise ValueError("max_tokens counts words: with a total of tokens, set train.max_length instead")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Components in a fixed order, since points follow from it and the order of a file says nothing."""
        return tuple(sorted(self.components))

    @property
    def size(self) -> int:
        """Of every mixture, in `unit`."""
        return self.total.tokens if isinstance(self.total, TokenTotal) else self.total

    @property
    def unit(self) -> Literal["rows", "tokens"]:
        """What `size` counts."""
        return "tokens" if isinstance(self.total, TokenTotal) else "rows"

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Every distinct mixture: named points, the built-in ones, and the space's.

        Raises:
            ValueError: a space that cannot be.
        """
        found: dict[tuple[int, ...], Arm] = {}

        def add(name: str, shares: Mapping[str, float]) -> None:
            whole = sum(shares.values())
            exact = [shares.get(part, 0.0) / whole for part in self.names]
            arm = Arm(name, dict(zip(self.names, exact, strict=True)))
            found.setdefault(self._counts(shares), arm)

        for point in self.points:
            add(point.name or _in_words(point.shares), point.shares)
        add(UNIFORM, dict.fromkeys(self.names, 1.0))
        for name, shares in () if self.space is None else space_points(self.space, self.names):
            add(name, shares)
        arms = list(found.values())
        arms.insert(len(self.points), Arm(NATURAL, dict.fromkeys(self.names, 1.0), is_natural=True))
        seen: set[str] = set()
        for arm in arms:
            if arm.name in seen:
                raise ValueError(f"points: saw two named {arm.name!r}; the space names its own, choose another")
            seen.add(arm.name)
        return tuple(arms)

    @property
    def shares_tokens(self) -> bool:
        """Where `total` counts tokens."""
        return self.unit == "tokens"

    @property
    def default_baseline(self) -> str:
        """The point that the design names."""
        return self.baseline

    @property
    def searched(self) -> SearchedSpace:
        """Where a stick of length 1 is broken, each piece within the bounds of the study's space."""
        region = Region.of(self.names, {} if self.space is None else self.space.bounds)

        def weights(numbers: Mapping[str, float]) -> dict[str, float]:
            shares = largest_remainder(region.at([numbers[name] for name in self.names[:-1]]), MILLION)
            return {name: share / MILLION for name, share in zip(self.names, shares, strict=True)}

        return SearchedSpace(self.names, self.names[:-1], 0.0, 1.0, False, weights, not region.is_whole)

    @property
    def arm_of_component(self) -> Mapping[str, str]:
        """Arm that is trained on one component alone, by component."""
        return {
            name: arm.name for name in self.names for arm in self.arms if arm.shares[name] == 1 and not arm.is_natural
        }

    def with_points(self, points: Sequence[Mapping[str, float]]) -> Self:
        """The named points and these, and no space of others."""
        taken = {arm.name for arm in self.replace(space=None).arms}
        named = {self.arm_of(point): point for point in points}
        further = [Point(name=name, shares=point) for name, point in named.items() if name not in taken]
        return self.replace(points=(*self.points, *further), space=None)

    def arm_of(self, point: Mapping[str, float]) -> str:
        """The name of a named or built-in point that is the same mixture, or its rows (or tokens) by component."""
        counts = self._counts(point)
        for arm in self.replace(space=None).arms:
            if not arm.is_natural and self._counts(arm.shares) == counts:
                return arm.name
        return ", ".join(f"{name} {count}" for name, count in zip(self.names, counts, strict=True))

    def _counts(self, shares: Mapping[str, float]) -> tuple[int, ...]:
        whole = sum(shares.values())
        return tuple(largest_remainder([shares.get(part, 0.0) / whole for part in self.names], self.size))

    @property
    def trains_zero(self) -> bool:
        """Every mixture has its total."""
        return False

    def validated(self, study: Study) -> tuple[str, ...]:
        """Those of the components: every mixture sees as many of each."""
        return tuple(part.dataset for part in self._validation())

    def dataset(self, component: str) -> str:
        """The study's name of a component's dataset."""
        return self.components[component].dataset or component

    def check(self, study: Study) -> None:
        """Sets to ask, a baseline among the arms, and a goal that can be said."""
        super().check(study)
        sets = study.evaluation.sets
        if not any(part.purpose == "target" for part in sets.values()):
            raise ValueError("evaluation.sets: saw none of purpose target; expected some, which the objective is over")
        names = [arm.name for arm in self.arms]
        if self.baseline not in names:
            shown = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
            raise ValueError(f"grid.baseline: saw {self.baseline!r}; expected one of the points {shown}")
        goal = study.goal
        if goal is None:
            return
        if goal.scorer is not None and goal.scorer not in study.scorers:
            raise ValueError(f"goal.scorer={goal.scorer!r} must be one of scorers")
        if goal.constraint is not None and all(part.purpose == "target" for part in sets.values()):
            raise ValueError("goal.constraint: no set of evaluation.sets has purpose forgetting; give one that")

    def datasets(self, study: Study) -> tuple[str, ...]:
        """Of the components and of the evaluation sets; the instruction set where a tiny base reads it."""
        asked = [part.dataset for part in self.evaluation_sets(study)]
        read = [self.dataset(name) for name in self.names]
        tiny = study.tiny_base
        own = [study.data.instructions] if tiny is not None and not tiny.reads_toyworld else []
        return tuple(dict.fromkeys((*read, *asked, *own)))

    def evaluation_sets(self, study: Study) -> tuple[AskedSet, ...]:
        """Those of `evaluation.sets`."""
        return own_sets(study)

    def cells(self, study: Study) -> Iterable[Cell]:
        """Point, draw; of a total of tokens for each base's own tokenizer."""
        if self.unit == "rows":
            yield from with_seeds(study, self._conditions(study, "words"))
            return
        for base in study.base_models:
            yield from with_seeds(study, self._conditions(study, tokens_of(base)), (base,))

    def _conditions(self, study: Study, count_by: str) -> Iterator[Condition]:
        sets = tuple(part.name for part in self.evaluation_sets(study))
        held_out = self.datasets(study)
        validation = self._validation()
        parts: dict[ComponentSpec, ComponentSpec] = {}  # points share most of theirs, and so do draws
        drawn: dict[tuple[int, int], ComponentSpec] = {}
        for arm in self.arms:
            first = MixtureSpec(
                train=tuple(parts.setdefault(part, part) for part in self._parts(arm)),
                validation=validation,
                mode=study.mode,
                held_out=held_out,
                total=self.size if arm.is_natural or self.unit == "tokens" else None,
                share_of=self.unit,
                count_by=count_by,
                is_natural=arm.is_natural,
            )
            for draw in range(self.draws):
                mixture = first.with_draw(self.draw_seed(draw), drawn)
                yield Condition(MANY, self.size, draw, mixture, arm.name, sets)

    def _parts(self, arm: Arm) -> Iterator[ComponentSpec]:
        by_weight = arm.is_natural or self.unit == "tokens"
        counts = largest_remainder(list(arm.shares.values()), self.size) if not by_weight else [0] * len(arm.shares)
        for (name, share), count in zip(arm.shares.items(), counts, strict=True):
            if share > 0 if by_weight else count > 0:
                part = self.components[name]
                yield ComponentSpec(
                    name=name,
                    dataset=self.dataset(name),
                    draw=0,
                    count=None if by_weight else count,
                    weight=share if by_weight else None,
                    max_repeats=part.max_repeats,
                    categories=part.categories,
                )

    def _validation(self) -> tuple[ComponentSpec, ...]:
        each = self.validation_rows // len(self.names)
        return tuple(
            ComponentSpec(
                name=name,
                dataset=self.dataset(name),
                split="validation",
                cap=each,
                draw=INSTRUCTION_DRAW + self.seed,
                categories=self.components[name].categories,
            )
            for name in (self.names if each else ())
        )


def tokens_of(base_model: str) -> str:
    """`MixtureSpec.count_by` of tokens that nobody counted yet; `exclusions.counted` names them by their tokenizer."""
    return f"tokens of {base_model}"


def _in_words(shares: Mapping[str, float]) -> str:
    whole = sum(shares.values())
    return ", ".join(f"{name} {value / whole:.0%}" for name, value in shares.items() if value)
