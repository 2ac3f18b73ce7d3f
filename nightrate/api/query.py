"""Query parameters: pages and options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightrate.dialects import gemini as wire
from nightrate.domain.file import Page
from nightrate.errors import BadRequest

if TYPE_CHECKING:
    from starlette.requests import Request


def page_of(request: Request, *, default: int, maximum: int) -> Page:
    """Read ``pageSize`` and ``pageToken``; a size over the maximum means the maximum.

    Raises:
        BadRequest: the size is no number.
        Refused: the token is none of ours.
    """
    size = one_of(request, "pageSize", "page_size") or "0"
    if not (size.isascii() and size.isdecimal()):
        message = "pageSize must be a number, 0 or more."
        raise BadRequest(message, field="pageSize")
    token = one_of(request, "pageToken", "page_token")
    after = wire.decode_page_token(token) if token else None
    wanted = min(int(size[:9]), maximum) or default
    return Page(size=wanted, after=after)


def switched_on(request: Request, *names: str) -> bool:
    """Read an option that is on or off; any of its spellings.

    Raises:
        BadRequest: its value is neither ``true`` nor ``false``.
    """
    value = one_of(request, *names)
    if value is None or value.lower() == "false":
        return False
    if value.lower() == "true":
        return True
    message = f"{names[0]} must be true or false."
    raise BadRequest(message, field=names[0])


def one_of(request: Request, *names: str) -> str | None:
    """Give the first of some spellings of a parameter that is there."""
    found = [request.query_params[name] for name in names if name in request.query_params]
    return found[0] if found else None
