"""The ``Content-Range`` of a piece of an upload."""

from __future__ import annotations

import re

from msgspec import Struct

from nightrate.errors import BadRequest

_DIGITS_MAX = len(str(2**63))
_RANGE = re.compile(r"bytes (?:([0-9]+)-([0-9]+)|\*)/([0-9]+|\*)", re.ASCII)


class ContentRange(Struct, frozen=True, kw_only=True):
    """Which bytes a call brings, and how many there are."""

    first_byte: int | None
    """Where they begin; None if the call brings none and only asks."""
    length: int | None = None
    """How many bytes the call brings; None where it does not say."""
    total_bytes: int | None
    """The length of the whole file; None while the client does not know it."""
    is_whole: bool = False
    """Whether nothing follows, whatever the length."""


def parse_content_range(header: str | None) -> ContentRange:
    """Read the header; without one, the body is the whole file.

    Raises:
        BadRequest: it is malformed, or its numbers do not fit each other.
    """
    if header is None:
        return ContentRange(first_byte=0, total_bytes=None, is_whole=True)
    found = _RANGE.fullmatch(header.strip())
    if found is None or any(len(number or "") > _DIGITS_MAX for number in found.groups()):
        message = "Content-Range must be such as: bytes 0-99/200, bytes 0-99/* or bytes */200."
        raise BadRequest(message)
    first, last, total = (_number(text) for text in found.groups())
    if last is not None and (last < (first or 0) or (total is not None and last >= total)):
        message = "Content-Range must end behind its beginning and before the end of the file."
        raise BadRequest(message)
    length = None if first is None or last is None else last - first + 1
    return ContentRange(first_byte=first, length=length, total_bytes=total)


def _number(text: str | None) -> int | None:
    return None if text in {None, "*"} else int(text or "")
