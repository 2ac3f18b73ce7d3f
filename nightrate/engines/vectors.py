"""Vectors as engines give them: cut to length, and as numbers that are short to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DIGITS_MAX = 9
"""Decimal digits that tell any two 32-bit numbers apart; most need one or two less."""

_DIGITS_MIN = 6

_EXACT_POWER_MAX = 22
"""Powers of ten up to this one are exact in 64 bits."""

_LEADING_MIN = _DIGITS_MAX - 1 - _EXACT_POWER_MAX
"""Where the first digit of a number may stand for all of its digits to be found with these."""


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

    exact = vectors.astype(np.float64)
    with np.errstate(divide="ignore"):
        leading = np.floor(np.log10(np.abs(exact)))
    usual = (leading >= _LEADING_MIN) & (leading < _DIGITS_MIN)
    powers = np.array([float(f"1e{power}") for power in range(_EXACT_POWER_MAX + 1)])
    power = np.where(usual, _DIGITS_MAX - 1 - leading, 0).astype(np.intp)
    most = powers[power]
    # Where some digits mean a number, more of them do. So one is taken off for each time they do.
    spare = sum(
        _means(np.rint(exact * scale) / scale, vectors).astype(np.intp)
        for scale in (most / powers[fewer] for fewer in range(1, _DIGITS_MAX - _DIGITS_MIN + 1))
    )
    scales = powers[power - spare]
    result = np.rint(exact * scales) / scales  # exact both, so the decimal itself
    for place in zip(*np.nonzero(~(_means(result, vectors) & usual)), strict=True):
        result[place] = float(str(vectors[place]))  # tiny ones, of which there are few
    rows: Any = result.tolist()
    return [tuple(row) for row in rows]


def _means(decimals: NDArray[np.float64], vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = decimals.astype(vectors.dtype) == vectors
    return same
