"""Vectors as engines give them: cut to length, and as numbers that are short to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DIGITS = 8
"""Decimal digits that mean most 32-bit numbers; fewer are tried where these do, and then one more,
which tells any two apart, where they do not."""

_DIGITS_MIN = 6

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

    numbers = _Numbers(vectors.ravel())
    found = numbers.round(np.arange(vectors.size), _DIGITS)
    shorter = np.flatnonzero(found)
    for digits in range(_DIGITS - 1, _DIGITS_MIN - 1, -1):
        shorter = shorter[numbers.round(shorter, digits)]
    longer = np.flatnonzero(~found)
    found[longer] = numbers.round(longer, _DIGITS + 1)
    for place in np.flatnonzero(~found):  # tiny ones, of which there are few
        numbers.result[place] = float(str(numbers.given[place]))
    rows: Any = numbers.result.reshape(vectors.shape).tolist()
    return [tuple(row) for row in rows]


class _Numbers:
    """32-bit numbers, and the decimals that are found for them."""

    def __init__(self, given: NDArray[np.float32]) -> None:
        import numpy as np

        self.given = given
        self._exact = given.astype(np.float64)
        with np.errstate(divide="ignore"):
            self._leading = np.floor(np.log10(np.abs(self._exact)))
        self._leading[self._exact == 0] = 0
        self._powers = np.array([float(f"1e{power}") for power in range(_EXACT_POWER_MAX + 1)])
        self.result = self._exact.copy()

    def round(self, places: NDArray[np.intp], digits: int) -> NDArray[np.bool_]:
        """Round some to so many digits where that still means them; tells which these are."""
        import numpy as np

        power = digits - 1 - self._leading[places]
        usable = (power >= 0) & (power <= _EXACT_POWER_MAX)
        scale = self._powers[np.where(usable, power, 0).astype(np.int64)]
        rounded = np.rint(self._exact[places] * scale) / scale  # exact both, so the decimal itself
        usable &= rounded.astype(np.float32) == self.given[places]
        self.result[places[usable]] = rounded[usable]
        return usable
