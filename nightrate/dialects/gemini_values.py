"""Members of objects that are read by hand, each checked for what may stand there."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

from nightrate.dialects.refusals import members_of, wrong
from nightrate.dialects.spelling import quoted


def object_in(
    members: dict[str, Any], name: str, at: str, known: tuple[str, ...]
) -> dict[str, Any]:
    """Give a member that is an object, with its own members in camelCase; none where it is absent.

    Raises:
        BadRequest: it is none, or has a member that is not known.
    """
    found = members.get(name)
    return {} if found is None else members_of(found, f"{at}.{name}", known)


def name_in(members: dict[str, Any], name: str, at: str, known: Container[str]) -> str:
    """Give a member that is one of some names, in upper case; an empty text where it is absent.

    Raises:
        BadRequest: it is none of them.
    """
    found = members.get(name)
    if found is None or found == "":
        return ""
    if not isinstance(found, str) or found.upper() not in known:
        raise wrong(f"{at}.{name}", f'"{quoted(str(found))}" is not known.')
    return found.upper()


def truth_in(members: dict[str, Any], name: str, at: str) -> bool:
    """Give a member that is true or false; false where it is absent.

    Raises:
        BadRequest: it is neither.
    """
    found = members.get(name, False)
    if not isinstance(found, bool):
        raise wrong(f"{at}.{name}", "it is neither true nor false.")
    return found


def check_number(members: dict[str, Any], name: str, at: str, low: float, high: float) -> None:
    """Check a member that is a number, if it is there.

    Raises:
        BadRequest: it is none, or not within the bounds.
    """
    found = members.get(name)
    if found is None:
        return
    number = isinstance(found, int | float) and not isinstance(found, bool)
    if not number or not math.isfinite(found) or not low <= found <= high:
        raise wrong(f"{at}.{name}", f"{quoted(str(found))} is not between {low} and {high}.")
