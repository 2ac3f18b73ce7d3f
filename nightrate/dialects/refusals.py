"""How a refusal names the field that is to blame.

A check deep inside a request knows only its own field. Each layer around it puts its place in front
(`within`), so that the whole path is built on the way out and costs nothing while all is well.
"""

from __future__ import annotations

from typing import Any

from nightrate.dialects.spelling import camel, joined, quoted, spelled, told_twice
from nightrate.errors import BadRequest, NotSupported, Refused


def members_of(tree: object, at: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Read an object that has some members, in either spelling; null means absent.

    Args:
        tree: decoded JSON.
        at: its path, for messages.
        known: the names in camelCase.

    Raises:
        BadRequest: it is none, or has another member.
    """
    if not isinstance(tree, dict):
        raise wrong(at, "it is not an object.")
    for name in tree:
        if camel(name) not in known:
            raise wrong(f"{at}.{quoted(name)}", "there is no such field.")
    members: dict[str, Any] = {}
    for name, value in tree.items():
        if value is None:
            continue
        if camel(name) in members:
            raise told_twice(name, at)
        members[camel(name)] = value
    return members


def text_in(members: dict[str, Any], name: str, at: str) -> str | None:
    """Give a member that is a text; None where it is absent or empty.

    Raises:
        BadRequest: it is none.
    """
    found = members.get(name)
    if found is not None and not isinstance(found, str):
        raise wrong(f"{at}.{name}", "it is not a text.")
    return found or None


def wrong(field: str, why: str) -> BadRequest:
    """Make the refusal of a wrong value; the message begins with the path of the field."""
    return BadRequest(f"{field}: {why}", field=field)


def unserved(field: str, remedy: str) -> NotSupported:
    """Make the refusal of an option that changes the meaning and is not served."""
    return NotSupported(f"{field}: this server does not support it yet. {remedy}", field=field)


def within(error: Refused, at: str) -> Refused:
    """Put a place in front of the path of a refusal made by this module."""
    return _moved(error, joined(at, error.field or ""))


def located(error: Refused, tree: object, at: str) -> Refused:
    """Respell the path of a refusal as the client wrote it, and put a place in front."""
    return _moved(error, joined(at, spelled(tree, error.field or "")))


def _moved(error: Refused, field: str) -> Refused:
    why = error.message.removeprefix(f"{error.field}: ")
    return type(error)(f"{field}: {why}", field=field)
