"""A client's word that a call shall have one effect, however often it is sent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from nightrate import limits
from nightrate.domain.batch import Once
from nightrate.errors import BadRequest

if TYPE_CHECKING:
    from starlette.requests import Request

HEADER = "x-idempotency-key"


def once_of(request: Request, *asked: str | bytes) -> Once | None:
    """Read the key of a call; None when it has none.

    Args:
        request: the call.
        asked: everything that makes two calls the same.

    Raises:
        BadRequest: the key is empty or too long, or is not of visible ASCII characters.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    sound = key.isascii() and key.isprintable() and " " not in key
    if not sound or not 1 <= len(key) <= limits.IDEMPOTENCY_KEY_CHARACTERS_MAX:
        most = limits.IDEMPOTENCY_KEY_CHARACTERS_MAX
        message = f"{HEADER} must have 1 to {most} visible ASCII characters."
        raise BadRequest(message, field=HEADER)
    digest = hashlib.sha256()
    for part in asked:
        piece = part.encode() if isinstance(part, str) else part
        digest.update(len(piece).to_bytes(8, "big"))
        digest.update(piece)
    return Once(key=key, digest=digest.hexdigest())
