"""Points of the simplex: evenly spread, inside their bounds, the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.config import validate
from assay.errors import ConfigError
from assay.mixtures.sobol import MOST_DIMENSIONS, sobol
from assay.mixtures.space import Region, SpaceSpec, space_points

PARTS = ("chat", "code", "math")


def shares_of(space: SpaceSpec, parts: tuple[str, ...] = PARTS) -> np.ndarray:
    return np.array([list(point.values()) for _, point in space_points(space, parts)])


def test_sobol_gives_the_numbers_that_scipy_gives() -> None:
    expected = stats.qmc.Sobol(MOST_DIMENSIONS, scramble=False, bits=30).random(256)
    np.testing.assert_array_equal(sobol(256, MOST_DIMENSIONS), expected)


def test_a_shift_keeps_how_evenly_points_lie() -> None:
    # of 64 points, one lies in each of the 64 squares of an 8 x 8 board, with any shift
    for seed in range(5):
        squares = {tuple(square) for square in (sobol(64, 2, seed) * 8).astype(int).tolist()}
        assert len(squares) == 64


def test_sobol_points_have_the_mean_and_spread_of_the_simplex() -> None:
    # evenly over K shares: mean 1 / K, variance (K - 1) / (K^2 (K + 1)) = 2 / 36 at K = 3
    shares = shares_of(SpaceSpec(num=4096))
    np.testing.assert_allclose(shares.mean(axis=0), 1 / 3, atol=2e-3)
    np.testing.assert_allclose(shares.var(axis=0), 2 / 36, atol=1e-3)


@pytest.mark.parametrize("method", ["sobol", "dirichlet"])
@given(
    low=st.lists(st.floats(0, 0.24), min_size=4, max_size=4),
    width=st.lists(st.floats(0.05, 1), min_size=4, max_size=4),
    seed=st.integers(0, 3),
)
def test_points_lie_inside_their_bounds(method: str, low: list[float], width: list[float], seed: int) -> None:
    parts = ("a", "b", "c", "d")
    bounds = {name: (x, min(1.0, x + w)) for name, x, w in zip(parts, low, width, strict=True)}
    space = SpaceSpec(method=method, num=8, bounds=bounds, seed=seed)  # type: ignore[arg-type]
    if sum(high for _, high in bounds.values()) < 1:
        with pytest.raises(ValueError, match="no shares fit"):
            shares_of(space, parts)
        return
    shares = shares_of(space, parts)
    assert shares.shape == (8, 4)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-12)
    for column, (least, most) in zip(shares.T, bounds.values(), strict=True):
        assert column.min() >= least - 2e-6
        assert column.max() <= most + 2e-6


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_a_broken_stick_stays_inside_narrow_bounds(unit: list[float]) -> None:
    region = Region((0.2, 0.0, 0.1, 0.2), (0.3, 0.3, 0.3, 0.35))
    shares = np.array([region.at(unit)])
    assert region.holds(shares).all()
    assert shares.sum() == pytest.approx(1)


def test_a_lattice_holds_every_multiple_once() -> None:
    shares = shares_of(SpaceSpec(method="lattice", steps=4))
    assert len({tuple(point) for point in shares.tolist()}) == len(shares) == 15  # C(4 + 2, 2)
    np.testing.assert_allclose(shares * 4, np.round(shares * 4))


def test_corners_and_centroid_of_the_whole_simplex() -> None:
    points = dict(space_points(SpaceSpec(num=1, include=("vertices", "centroid")), PARTS))
    assert points["chat alone"] == {"chat": 1, "code": 0, "math": 0}
    assert sum(points["centroid"].values()) == pytest.approx(1)
    assert points["centroid"]["code"] == pytest.approx(1 / 3, abs=1e-6)
    assert list(points)[-1] == "sobol 1"


def test_corners_of_a_bounded_region() -> None:
    # chat from .2 to .8 and code up to .5 cut the triangle into a pentagon
    space = SpaceSpec(num=1, bounds={"chat": (0.2, 0.8), "code": (0, 0.5)}, include=("vertices",))
    corners = {
        tuple(round(share, 6) for share in point.values())
        for name, point in space_points(space, PARTS)
        if name.startswith("vertex")
    }
    assert corners == {(0.8, 0.2, 0.0), (0.8, 0.0, 0.2), (0.5, 0.5, 0.0), (0.2, 0.5, 0.3), (0.2, 0.0, 0.8)}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"method": "lattice", "num": 3}, "expected steps"),
        ({"method": "sobol"}, "expected num"),
        ({"num": 3, "bounds": {"chat": [0.6, 0.2]}}, "lowest <= highest"),
    ],
)
def test_a_space_that_cannot_be_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate(SpaceSpec, fields, "space")


def test_bounds_of_an_unknown_component_are_refused() -> None:
    with pytest.raises(ValueError, match="prose"):
        shares_of(SpaceSpec(num=2, bounds={"prose": (0, 0.5)}))


def test_a_lattice_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer steps"):
        shares_of(SpaceSpec(method="lattice", steps=100), tuple("abcdefgh"))
