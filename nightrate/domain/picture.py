"""Pictures: what is asked for, and what is answered."""

from __future__ import annotations

from msgspec import Struct


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
