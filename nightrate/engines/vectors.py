"""Vectors as engines give them: cut to length, and as numbers that are short to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DIGITS = range(6, 10)
"""Decimal digits that are tried: nine tell any two 32-bit numbers apart."""

_EXACT_POWER_MAX = 22
"""Powers of ten up to this one are exact in 64 bits."""


def unit(vectors: NDArray[Any], length: int | None = None) -> NDArray[np.float32]:
    """Cut vectors (a row each) to a length and stretch them to length 1; None cuts nothing."""
    import numpy as np

    rows = vectors[:, :length].astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms == 0, 1, norms)).astype(np.float32)


def shortest(vectors: NDArray[np.float32]) -> list[tuple[float, ...]]:
    """Give each row as the shortest decimals that still mean its 32-bit numbers.

    Written as they are, 32-bit numbers would have seventeen digits of which eight mean nothing.
    """
    import numpy as np

    powers = np.array([float(f"1e{power}") for power in range(_EXACT_POWER_MAX + 1)])
    exact = vectors.astype(np.float64)
    with np.errstate(divide="ignore"):
        leading = np.floor(np.log10(np.abs(exact)))
    result, found = exact.copy(), exact == 0
    for digits in _DIGITS:
        power = np.where(found, 0, digits - 1 - leading)
        usable = ~found & (power >= 0) & (power <= _EXACT_POWER_MAX)
        scale = powers[np.where(usable, power, 0).astype(np.int64)]
        rounded = np.rint(exact * scale) / scale  # two exact numbers, so the decimal itself
        usable &= rounded.astype(np.float32) == vectors
        result[usable] = rounded[usable]
        found |= usable
    for place in zip(*np.nonzero(~found), strict=True):  # tiny ones, of which there are few
        result[place] = float(str(vectors[place]))
    return [tuple(row) for row in result.tolist()]
