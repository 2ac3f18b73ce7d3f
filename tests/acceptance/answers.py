"""The paths of the fields of an answer."""

from __future__ import annotations

from typing import Any

_FREE = "args"
"""A member that holds what a client's schema says."""


def paths_in(value: Any, path: str = "") -> set[str]:
    """Give the paths of all members of an answer, ``[]`` for any item of a list."""
    if isinstance(value, list):
        return set().union(*(paths_in(item, f"{path}[]") for item in value))
    if not isinstance(value, dict):
        return set()
    found = set()
    for name, inner in value.items():
        below = f"{path}.{name}" if path else name
        found.add(below)
        if name != _FREE:
            found |= paths_in(inner, below)
    return found
