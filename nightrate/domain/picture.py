"""Pictures: what is asked for, and what is answered."""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

GRAIN = 16
"""Pixels that the sides of a picture are multiples of."""

RATIO_NEAR: Final = 0.03
AREA_NEAR: Final = 2.0
"""How far a size that something draws may be from the one asked for: ratios are rounded, and areas
go by fours."""


def sides_of(ratio: tuple[int, int], edge: int) -> tuple[int, int]:
    """Give the width and height of a picture with the area of a square of that edge."""
    width, height = ratio
    stretch = math.sqrt(width / height)
    return _rounded(edge * stretch), _rounded(edge / stretch)


def _rounded(length: float) -> int:
    return max(1, round(length / GRAIN)) * GRAIN


class PictureWish(Struct, frozen=True, gc=False):
    """The answer has a picture of a size in pixels, with a text before it or alone.

    ``field`` is the path under which the client asked for it, for refusals.
    """

    width: int
    height: int
    with_text: bool
    field: str


class Picture(Struct, frozen=True, gc=False):
    """A picture as a file: its media type, such as ``image/png``, and its bytes."""

    mime_type: str
    data: bytes
