"""Gemini's own schemas, said as JSON Schema: the same keywords with other types and counts.

Every path stays as the client wrote it, so that a refusal of the JSON Schema names the right place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from nightrate import limits
from nightrate.dialects.gemini_options import names_below
from nightrate.dialects.gemini_options_of_schemas import OWN
from nightrate.dialects.refusals import wrong
from nightrate.dialects.spelling import camel, joined, quoted, told_twice

_TYPES: Final = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
_NO_TYPES: Final = ("", "TYPE_UNSPECIFIED")
_NUMBERS: Final = ("integer", "number")

_COUNTS: Final = (
    *("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"),
)
_BOUNDS: Final = ("minimum", "maximum")
_DIGITS_MAX: Final = len(str(2**64))
_KNOWN: Final = names_below(OWN)
_REMEDY: Final = 'Use "responseJsonSchema" for what only JSON Schema has.'


def json_schema_from(tree: object, at: str = "", depth: int = 0) -> dict[str, Any]:
    """Say a schema as JSON Schema. What is wrong in JSON Schema too is left for its reader.

    Args:
        tree: decoded JSON, in either spelling.
        at: its path, for messages.
        depth: how deep it stands.

    Raises:
        BadRequest: a name is unknown, or a value has the wrong type.
    """
    if not isinstance(tree, dict):
        raise wrong(at, "it is not a schema.")
    if depth > limits.SCHEMA_DEPTH_MAX:
        raise wrong(at, f"it is nested deeper than {limits.SCHEMA_DEPTH_MAX} levels.")
    said: dict[str, Any] = {}
    for name, value in tree.items():
        keyword = camel(name)
        if keyword not in _KNOWN:
            raise wrong(joined(at, quoted(name)), f"there is no such field in a schema. {_REMEDY}")
        if keyword in said:
            raise told_twice(name, at)
        if value is not None:
            said[keyword] = _said(keyword, value, joined(at, keyword), depth)
    kinds = said.pop("type", [])
    if kinds:
        said["type"] = kinds
    if isinstance(said.get("enum"), list) and kinds and set(kinds) <= {*_NUMBERS, "null"}:
        place = joined(at, "enum")
        said["enum"] = [_number(one, f"{place}[{i}]") for i, one in enumerate(said["enum"])]
    if said.pop("nullable", False):
        _allow_null(said)
    return said


def _said(keyword: str, value: Any, at: str, depth: int) -> object:
    if keyword in _PLAIN:
        return _PLAIN[keyword](value, at)
    if keyword == "items":
        return json_schema_from(value, at, depth + 1)
    if keyword == "properties" and isinstance(value, dict):
        return {
            name: json_schema_from(inner, joined(at, quoted(name)), depth + 1)
            for name, inner in value.items()
        }
    if keyword == "anyOf" and isinstance(value, list):
        return [json_schema_from(inner, f"{at}[{i}]", depth + 1) for i, inner in enumerate(value)]
    return value


def _types(value: object, at: str) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    kinds = []
    for kind in listed:
        name = kind.upper() if isinstance(kind, str) else None
        if name in _NO_TYPES:
            continue
        if name not in _TYPES:
            raise wrong(at, f'"{quoted(str(kind))}" is not known.')
        kinds.append(name.lower())
    return kinds


def _truth(value: object, at: str) -> bool:
    if not isinstance(value, bool):
        raise wrong(at, "it is neither true nor false.")
    return value


def _count(value: object, _at: str) -> object:
    """Give a count that came as a string, which is how 64 bits travel, as a number.

    One of thousands of digits stays a string, which is no count: Python does not read it.
    """
    if isinstance(value, str) and len(value) <= _DIGITS_MAX:
        return int(value) if value.isascii() and value.isdigit() else value
    return value


def _number(value: object, at: str) -> object:
    """Give a number that came as a string as a number."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise wrong(at, f'"{quoted(value)}" is not a number.')
    return int(number) if number.is_integer() else number


_PLAIN: Final[dict[str, Callable[[object, str], object]]] = {
    "type": _types,
    "nullable": _truth,
    **dict.fromkeys(_COUNTS, _count),
    **dict.fromkeys(_BOUNDS, _number),
}
"""How a value is read that holds no schemas."""


def _allow_null(said: dict[str, Any]) -> None:
    if "anyOf" in said and isinstance(said["anyOf"], list):
        said["anyOf"] = [*said["anyOf"], {"type": "null"}]
        return
    if isinstance(said.get("enum"), list):
        said["enum"] = [*said["enum"], None]
    if "type" in said:
        said["type"] = [*said["type"], "null"]
