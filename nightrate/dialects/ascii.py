"""JSON text in ASCII."""

from __future__ import annotations

import re

_NOT_ASCII = re.compile("[^\x00-\x7f]+")


def escaped(text: bytes) -> bytes:
    """Escape what is not ASCII: readers that cut at U+2028 or U+0085 would break a line there."""
    if text.isascii():
        return text
    return _NOT_ASCII.sub(_escaped, text.decode()).encode("ascii")


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be").hex("-", 2)
    return "\\u" + units.replace("-", "\\u")
