"""Page tokens: where a list continues, in a form that clients pass back untouched."""

from __future__ import annotations

import base64
import re

from nightrate.clock import Instant
from nightrate.errors import OutOfRange

_PLACE = re.compile(r"(\d{1,18}):([a-z0-9-]{1,64})", re.ASCII)


def encode_page_token(created_at: Instant, resource_id: str) -> str:
    """Name the last thing of a page; the next one begins strictly after it."""
    return base64.urlsafe_b64encode(f"{created_at}:{resource_id}".encode()).decode().rstrip("=")


def decode_page_token(token: str) -> tuple[Instant, str]:
    """Read a token made by `encode_page_token`.

    Raises:
        OutOfRange: it is none of ours.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        text = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise _unknown() from error
    place = _PLACE.fullmatch(text)
    if place is None:
        raise _unknown()
    return int(place[1]), place[2]


def _unknown() -> OutOfRange:
    return OutOfRange("The page token is not one that this server gave out.", field="pageToken")
