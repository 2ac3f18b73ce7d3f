"""Vectors without a model: texts that share words, or pieces of words, lie close to each other.

Every word, and every three characters in a row, stands for a fixed random direction; a text lies in
the sum of its directions. Random directions of many dimensions are nearly at right angles, so two
texts are as near as what they share. The beginning of a vector is a shorter vector for the same
text, as with models that are trained so.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from nightrate.engines.vectors import unit, written

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_PIECE_CHARACTERS = 3
_WORD_WEIGHT = 3
_PIECE_WEIGHT = 1
"""Of three characters in a row."""

_REMEMBERED = 4096
"""Directions that are kept; 8 bits of each dimension fill a byte, so about 1 MB."""


def vector_of(text: str, length: int) -> bytes:
    """Write the vector of a text as JSON: any length, the same for ever."""
    import numpy as np

    features = _features(text)
    directions = np.stack([_direction(feature, length) for feature in features])
    weights = np.array(list(features.values()))
    (vector,) = written(unit((weights @ (directions * 2.0 - 1.0))[np.newaxis]))
    return vector


def _features(text: str) -> dict[str, int]:
    """Give the words and pieces of a text with their weights; never none."""
    features: Counter[str] = Counter()
    weights: dict[str, int] = {}
    for word in _WORD.findall(text.casefold()) or [text]:
        features[f" {word} "] += 1
        weights[f" {word} "] = _WORD_WEIGHT
        for start in range(len(word) - _PIECE_CHARACTERS + 1):
            piece = word[start : start + _PIECE_CHARACTERS]
            features[piece] += 1
            weights[piece] = _PIECE_WEIGHT
    return {feature: count * weights[feature] for feature, count in features.items()}


@lru_cache(_REMEMBERED)
def _direction(feature: str, length: int) -> NDArray[np.uint8]:
    """Give a feature's direction, a bit a dimension; a longer one begins like a shorter one."""
    import numpy as np

    digest = hashlib.shake_128(feature.encode(errors="replace")).digest(-(-length // 8))
    return np.unpackbits(np.frombuffer(digest, np.uint8))[:length]
