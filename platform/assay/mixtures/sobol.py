"""Sobol's low-discrepancy sequence: points that fill a cube evenly, however many are taken. Pure.

The same numbers on every machine and with every version of a library, since the points of a study are its identity.

Source: direction numbers of Joe and Kuo 2008, "Constructing Sobol sequences with better two-dimensional projections".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 30
_POLYNOMIALS = (
    1, 3, 7, 11, 13, 19, 25, 37, 41, 47, 55, 59, 61, 67, 91, 97, 103, 109, 115, 131, 137, 143, 145, 157,
)  # fmt: skip
"""Primitive polynomials over GF(2), one bit for each coefficient; the first stands for van der Corput's sequence."""
_FIRST = (
    (1,), (1,), (1, 3), (1, 3, 1), (1, 1, 1), (1, 1, 3, 3), (1, 3, 5, 13), (1, 1, 5, 5, 17), (1, 1, 5, 5, 5),
    (1, 1, 7, 11, 19), (1, 1, 5, 1, 1), (1, 1, 1, 3, 11), (1, 3, 5, 5, 31), (1, 3, 3, 9, 7, 49),
    (1, 1, 1, 15, 21, 21), (1, 3, 1, 13, 27, 49), (1, 1, 1, 15, 7, 5), (1, 3, 1, 15, 13, 25),
    (1, 1, 5, 5, 19, 61), (1, 3, 7, 11, 23, 15, 103), (1, 3, 7, 13, 13, 15, 69), (1, 1, 3, 13, 7, 35, 63),
    (1, 3, 5, 9, 1, 25, 53), (1, 3, 1, 13, 9, 35, 107),
)  # fmt: skip
"""First direction numbers of each dimension."""
MOST_DIMENSIONS = len(_POLYNOMIALS)


def sobol(num: int, dimensions: int, seed: int | None = None) -> NDArray[np.float64]:
    """The first `num` points, in [0, 1), shape (num, dimensions).

    Args:
        num: points; even filling is best at a power of two.
        dimensions: 1 to 24.
        seed: of a digital shift, which moves all points and keeps how evenly they lie; None: no shift, first point 0.
    """
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise ValueError(f"dimensions: saw {dimensions}; expected 1 to {MOST_DIMENSIONS}")
    directions = np.array([_directions(place) for place in range(dimensions)], dtype=np.int64)  # (D, BITS)
    points = np.zeros((num, dimensions), dtype=np.int64)
    for number in range(1, num):
        lowest_zero = ((number - 1) ^ number).bit_length() - 1  # Gray code: one direction changes at a time
        points[number] = points[number - 1] ^ directions[:, lowest_zero]
    if seed is not None:
        points ^= np.random.default_rng(seed).integers(0, 1 << BITS, size=dimensions)
    return points / float(1 << BITS)


def _directions(dimension: int) -> list[int]:
    """Direction numbers of a dimension as integers of BITS bits."""
    if dimension == 0:
        return [1 << (BITS - 1 - bit) for bit in range(BITS)]
    polynomial, found = _POLYNOMIALS[dimension], list(_FIRST[dimension])
    degree = polynomial.bit_length() - 1
    for bit in range(degree, BITS):
        value = found[bit - degree] ^ (found[bit - degree] << degree)
        for step in range(1, degree):
            if polynomial >> (degree - step) & 1:
                value ^= found[bit - step] << step
        found.append(value)
    return [value << (BITS - 1 - bit) for bit, value in enumerate(found[:BITS])]
