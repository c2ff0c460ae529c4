"""Points of the simplex: which shares of its components a mixture study tries. Pure and seeded.

A region of the simplex is given by a lowest and a highest share of each component. Shares come in millionths, so that
equal points are equal on every machine. Axes: P points, K components.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from assay.config import Config
from assay.mixtures.shares import largest_remainder
from assay.mixtures.sobol import MOST_DIMENSIONS, sobol

MILLION = 1_000_000
MOST_POINTS = 20_000
"""Points of one space; a lattice of many components grows beyond all bounds."""
MOST_BOUNDED = 12
"""Components of a space with bounds whose vertices are asked for: 12 x 2^11 candidates are looked at."""
TRIES_PER_POINT = 64
"""Candidates drawn for each point wanted, before the region is taken to be too small to be hit by chance."""
Shares = NDArray[np.float64]
Bounds = Mapping[str, tuple[float, float]]


class SpaceSpec(Config):
    """Which points are tried beside those that are named."""

    method: Literal["sobol", "lattice", "dirichlet"] = "sobol"
    """"sobol" fills the region evenly, "dirichlet" draws at random, "lattice" takes every multiple of 1 / `steps`."""
    num: int | None = Field(None, ge=1, le=MOST_POINTS)
    """Points of "sobol" and "dirichlet"."""
    steps: int | None = Field(None, ge=1, le=100)
    """Of "lattice": shares are multiples of one over this."""
    concentration: float = Field(1.0, gt=0, le=1000)
    """Of "dirichlet": 1 draws evenly over the simplex, less near its corners, more near its middle."""
    bounds: Mapping[str, tuple[float, float]] = Field(default_factory=dict)
    """Component -> its lowest and highest share; 0 and 1 where it is not named."""
    include: tuple[Literal["vertices", "centroid"], ...] = ()
    """Corners of the region, and their mean."""
    seed: int = Field(0, ge=0)
    """Of "sobol" (a digital shift) and "dirichlet"."""

    @model_validator(mode="after")
    def _says_how_many(self) -> SpaceSpec:
        field, other = ("steps", "num") if self.method == "lattice" else ("num", "steps")
        if getattr(self, field) is None or getattr(self, other) is not None:
            raise ValueError(f"method {self.method}: expected {field}, and no {other}")
        for name, (low, high) in self.bounds.items():
            if not 0 <= low <= high <= 1:
                raise ValueError(f"bounds.{name}: saw {[low, high]}; expected 0 <= lowest <= highest <= 1")
        return self


@dataclass(frozen=True)
class Region:
    """The part of the simplex that bounds leave."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, components: Sequence[str], bounds: Bounds) -> Region:
        """The region of these components.

        Raises:
            ValueError: bounds of an unknown component, or bounds that no shares fit.
        """
        if unknown := sorted(set(bounds) - set(components)):
            raise ValueError(f"bounds: saw {unknown[0]!r}; expected some of {', '.join(components)}")
        low, high = zip(*(bounds.get(name, (0.0, 1.0)) for name in components), strict=True)
        if sum(low) > 1 + 1e-9 or sum(high) < 1 - 1e-9:
            raise ValueError(
                f"bounds: lowest shares add up to {sum(low):g} and highest to {sum(high):g}; expected at most 1 and at "
                "least 1, or no shares fit"
            )
        return cls(low, high)

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole simplex."""
        return not any(self.low) and all(value >= 1 for value in self.high)

    def holds(self, shares: Shares) -> NDArray[np.bool_]:
        """Of each point, whether it lies inside."""
        above = np.all(shares >= np.array(self.low) - 1e-9, axis=1)
        below = np.all(shares <= np.array(self.high) + 1e-9, axis=1)
        return np.asarray(above & below)

    def at(self, unit: Sequence[float]) -> list[float]:
        """The shares that K - 1 numbers in [0, 1] stand for: a stick is broken, each piece within its bounds.

        Even numbers give even shares over the whole simplex; where a highest share binds, they press towards it.
        """
        left, shares = 1.0, []
        for place, value in enumerate(unit):
            after = len(self.low) - 1 - place
            low = max(self.low[place], left - sum(self.high[place + 1 :]), 0.0)
            high = max(low, min(self.high[place], left - sum(self.low[place + 1 :])))
            if left <= 0:
                shares.append(0.0)
                continue
            first, last = ((max(0.0, 1 - end / left)) ** after for end in (low, high))
            share = left * (1 - (first - value * (first - last)) ** (1 / after))
            shares.append(min(max(share, low), high))
            left -= shares[-1]
        return [*shares, max(0.0, left)]


def space_points(space: SpaceSpec, components: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """(name, share of each component) of every point of a space, the included ones first.

    Raises:
        ValueError: bounds that no shares fit, or more points or components than can be handled.
    """
    region = Region.of(components, space.bounds)
    corners = _vertices(region) if space.include else np.zeros((0, len(components)))
    if "vertices" in space.include:
        names = [
            f"{components[int(np.argmax(corner))]} alone" if region.is_whole else f"vertex {number}"
            for number, corner in enumerate(corners, start=1)
        ]
        yield from zip(names, _named(corners, components), strict=True)
    if "centroid" in space.include:
        yield "centroid", next(_named(corners.mean(axis=0, keepdims=True), components))
    points = _lattice(region, space.steps or 1) if space.method == "lattice" else _drawn(region, space)
    width = len(str(len(points)))
    for number, point in enumerate(_named(points, components), start=1):
        yield f"{space.method} {number:0{width}d}", point


def _named(shares: Shares, components: Sequence[str]) -> Iterator[dict[str, float]]:
    for point in shares.tolist():
        millionths = largest_remainder(point, MILLION)
        yield {name: value / MILLION for name, value in zip(components, millionths, strict=True)}


def _drawn(region: Region, space: SpaceSpec) -> Shares:
    """Points inside the region: those among evenly drawn ones that are, else a stick broken within the bounds."""
    wanted, count = space.num or 1, len(region.low)
    if count == 1:
        return np.ones((1, 1))
    if count - 1 > MOST_DIMENSIONS:
        raise ValueError(f"saw {count} components; expected at most {MOST_DIMENSIONS + 1}")
    tries = wanted if region.is_whole else min(wanted * TRIES_PER_POINT, 1 << 18)
    unit = sobol(tries, count - 1, space.seed) if space.method == "sobol" else None
    rest = 1.0 - sum(region.low)  # lowest shares are given first, what is left is drawn: even, and no try is lost
    if unit is None:
        raw = np.random.default_rng(space.seed).standard_gamma(space.concentration, size=(tries, count))
        inner = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-300)
    else:
        inner = _broken(unit)
    shares = np.asarray(np.array(region.low) + rest * inner, dtype=float)
    inside: Shares = shares[region.holds(shares)][:wanted]
    if len(inside) == wanted:
        return inside
    if unit is None:
        unit = np.random.default_rng(space.seed).random((wanted, count - 1))
    return np.array([region.at(point) for point in unit[:wanted].tolist()], dtype=float)


def _broken(unit: Shares) -> Shares:
    """Points of the simplex from points of the cube, evenly: x_i = left (1 - (1 - u)^(1 / pieces to come))."""
    left = np.ones(len(unit))
    columns = []
    for place in range(unit.shape[1]):
        piece = left * (1 - (1 - unit[:, place]) ** (1 / (unit.shape[1] - place)))
        columns.append(piece)
        left = left - piece
    return np.column_stack([*columns, left])


def _lattice(region: Region, steps: int) -> Shares:
    count = len(region.low)
    size = math.comb(steps + count - 1, count - 1)
    if size > 50 * MOST_POINTS:
        raise ValueError(f"a lattice of {count} components and {steps} steps has {size:,} points; expected fewer steps")
    points = np.array(list(_compositions(steps, count)), dtype=float) / steps
    inside = points[region.holds(points)]
    if not 0 < len(inside) <= MOST_POINTS:
        raise ValueError(f"a lattice of {steps} steps has {len(inside):,} points; expected 1 to {MOST_POINTS:,}")
    return inside


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total, -1, -1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)


def _vertices(region: Region) -> Shares:
    """Extreme points of the region: all components but one at an end of their bounds, and that one within its own.

    Source: the XVERT procedure of Snee and Marquardt 1974, all candidates looked at.
    """
    count = len(region.low)
    if region.is_whole:
        return np.eye(count)
    if count > MOST_BOUNDED:
        raise ValueError(f"vertices: saw {count} components with bounds; expected at most {MOST_BOUNDED}")
    found: dict[tuple[int, ...], list[float]] = {}
    for free in range(count):
        ends = [
            (low, high) if place != free else (0.0,)
            for place, (low, high) in enumerate(zip(region.low, region.high, strict=True))
        ]
        for corner in product(*ends):
            rest = 1.0 - sum(corner)
            if region.low[free] - 1e-9 <= rest <= region.high[free] + 1e-9:
                point = [*corner]
                point[free] = max(0.0, rest)
                found.setdefault(tuple(round(value * MILLION) for value in point), point)
    return np.array([found[key] for key in sorted(found, reverse=True)])
