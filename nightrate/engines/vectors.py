"""Vectors as engines give them: cut to length, and written as shortly as they can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def unit(vectors: NDArray[Any], length: int | None = None) -> NDArray[np.float32]:
    """Cut vectors (a row each) to a length and stretch them to length 1; None cuts nothing."""
    import numpy as np

    rows = vectors[:, :length].astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms == 0, 1, norms)).astype(np.float32)


def written(vectors: NDArray[np.float32]) -> list[bytes]:
    """Write each row as JSON, in the shortest decimals that still mean its 32-bit numbers.

    As numbers of 64 bits they would have seventeen digits of which eight mean nothing. What is no
    number is ``null``.
    """
    return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in vectors]
