"""Texts, cut into excerpts of bounded size: what a search finds and a model is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from nightrate import tool_limits

_ENDS = (
    re.compile(rb"\n[ \t]*\n"),
    re.compile(rb"\n"),
    re.compile(rb"[.!?]['\")\]]*\s|\xe3\x80\x82"),
    re.compile(rb"\s"),
)
"""Where a text may be cut, the best first: paragraphs, lines, sentences, words."""


class Excerpt(Struct, frozen=True, gc=False):
    """A piece of a text, and where it lies there, in bytes of UTF-8."""

    start_byte: int
    end_byte: int
    text: str


def excerpts(text: str, bytes_max: int = tool_limits.EXCERPT_BYTES_MAX) -> Iterator[Excerpt]:
    """Cut a text; together the excerpts are all of it but for white space between them."""
    data = text.encode()
    start = 0
    while start < len(data):
        end = _end(data, start, bytes_max)
        piece = data[start:end]
        left = len(piece) - len(piece.lstrip())
        stripped = piece.strip()
        if stripped:
            first = start + left
            yield Excerpt(first, first + len(stripped), stripped.decode())
        start = end


def shortened(text: str, bytes_max: int) -> str:
    """Give a text, or as much of its beginning as fits, with a sign that it goes on."""
    if len(text.encode()) <= bytes_max:
        return text
    return next(excerpts(text, bytes_max - len(_MORE))).text + _MORE


_MORE = "\n[...]"


def _end(data: bytes, start: int, bytes_max: int) -> int:
    """Find where the excerpt that begins at ``start`` ends: in its second half, if it can be."""
    if len(data) - start <= bytes_max:
        return len(data)
    most = start + bytes_max
    for kind in _ENDS:
        ends = [match.end() for match in kind.finditer(data, start + bytes_max // 2, most)]
        if ends:
            return ends[-1]
    while most > start + 1 and data[most] & 0xC0 == 0x80:  # noqa: PLR2004 - inside a character
        most -= 1
    return most
