"""JSON Schema, read into the form that an answer must have.

A keyword is honoured, passed over because it only comments (`COMMENTS`), or refused by its path.
Two readings are narrower than the standard's, so that whatever fits them fits the standard too:
keywords of one type without ``type`` mean that type, and an object that lists properties has no
others unless it says so. ``oneOf`` is read as ``anyOf``, as the original service does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import unquote

from msgspec import json

from nightrate import limits
from nightrate.dialects.plain_schemas import (
    FORMATS,
    REMEDY,
    read_number,
    read_range,
    read_string,
    read_text,
)
from nightrate.dialects.refusals import unserved, wrong
from nightrate.dialects.spelling import joined, quoted
from nightrate.domain.schema import (
    ROOT,
    AnyValue,
    Array,
    Boolean,
    Choice,
    Member,
    Node,
    Null,
    Number,
    Object,
    Reference,
    Scalar,
    Schema,
    String,
    Union,
    endless,
    is_loose,
)

COMMENTS: Final = frozenset(
    {
        *("$schema", "$id", "$comment", "$anchor", "title", "description", "default"),
        *("example", "examples", "deprecated", "readOnly", "writeOnly", "discriminator"),
    }
)
"""Keywords that say nothing about what is valid. Descriptions are kept for the model."""

_OF_TYPE: Final = {
    "object": frozenset(
        {
            *("properties", "required", "additionalProperties"),
            *("minProperties", "maxProperties", "propertyOrdering"),
        }
    ),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "number": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    ),
}
_TYPES: Final = frozenset({"null", "boolean", "integer", *_OF_TYPE})
_ELSEWHERE: Final = frozenset({"type", "enum", "const", "format"})
_ALTERNATIVES: Final = ("anyOf", "oneOf")
_DEFINITIONS: Final = ("$defs", "definitions")
KEYWORDS: Final = COMMENTS.union(
    *_OF_TYPE.values(), _ELSEWHERE, _ALTERNATIVES, _DEFINITIONS, {"$ref", "allOf"}
)
"""All that are known; those that begin with ``x-`` are comments as well."""

_REFUSED: Final = {
    "nullable": 'Use "type": [..., "null"].',
    "not": "Say what is allowed.",
}
_REMEMBERED: Final = 32
"""Schemas that are kept for the next request: 2 MiB of their texts."""


def schema_of_client(tree: object, said: Callable[[object], object] | None = None) -> Schema:
    """Read a schema that came in a request; the same in the next request is not read again.

    Args:
        tree: decoded JSON.
        said: says it as JSON Schema, if it is not.

    Raises:
        BadRequest, NotSupported: as `read_schema` and ``said``.
    """
    text = json.encode(tree)
    if len(text) > limits.SCHEMA_BYTES_MAX:  # hardly to be taken, and too long to be remembered
        return read_schema(tree if said is None else said(tree))
    return _read_once(text, said)


@functools.lru_cache(_REMEMBERED)
def _read_once(text: bytes, said: Callable[[object], object] | None) -> Schema:
    tree = json.decode(text)
    return read_schema(tree if said is None else said(tree))


def read_schema(tree: object) -> Schema:
    """Read a JSON Schema.

    Args:
        tree: decoded JSON; members that are null count as absent.

    Raises:
        BadRequest: it is malformed, too large, or no finite value fits it. Paths are relative.
        NotSupported: it uses a keyword that cannot be honoured.
    """
    size_bytes = len(json.encode(tree))
    if size_bytes > limits.SCHEMA_BYTES_MAX:
        most = limits.SCHEMA_BYTES_MAX // limits.KIB
        raise wrong("", f"it is longer than {most} KiB.")
    return _Reader(tree).read()


class _Reader:
    """Reads one schema: counts its nodes, and finds the definitions that it uses."""

    def __init__(self, tree: object) -> None:
        self._tree = tree
        self._nodes = 0
        self._found: dict[str, tuple[object, str]] = {}
        """Definitions by name: as the client wrote them, and where."""
        self._wanted: list[str] = []

    def read(self) -> Schema:
        if isinstance(self._tree, dict):
            for keyword in _DEFINITIONS:
                for name, tree in _table(self._tree, keyword, "").items():
                    self._found[name] = (tree, joined(keyword, quoted(name)))
        root = self._node(self._tree, "", 0)
        definitions: dict[str, Node] = {}
        while self._wanted:
            name = self._wanted.pop()
            if name not in definitions:
                definitions[name] = self._node(*self._found[name], 0)
        loose = any(map(is_loose, (root, *definitions.values())))
        schema = Schema(root, definitions, loose)
        loop = endless(schema)
        if loop is not None:
            at = "" if loop == ROOT else self._found[loop][1]
            raise wrong(at, "no finite value fits it: it must hold another of its own kind.")
        return schema

    def _node(self, tree: object, at: str, depth: int) -> Node:
        """Read one schema, with all that stands below it."""
        self._nodes += 1
        if self._nodes > limits.SCHEMA_NODES_MAX:
            raise wrong("", f"it has more than {limits.SCHEMA_NODES_MAX:,} parts.")
        if depth > limits.SCHEMA_DEPTH_MAX:
            raise wrong(at, f"it is nested deeper than {limits.SCHEMA_DEPTH_MAX} levels.")
        if tree is True:
            return AnyValue()
        if not isinstance(tree, dict):
            raise wrong(at, "it is not a schema.")
        keywords = {name: value for name, value in tree.items() if value is not None}
        _check_names(keywords, at, top=not at)
        description = read_text(keywords, "description", at)
        for combiner in ("allOf", *_ALTERNATIVES):
            if combiner in keywords:
                return self._combined(keywords, combiner, at, depth, description)
        if "$ref" in keywords:
            return self._reference(keywords, at, description)
        if "enum" in keywords or "const" in keywords:
            return self._choice(keywords, at, description)
        return self._typed(keywords, at, depth, description)

    def _typed(self, keywords: dict[str, Any], at: str, depth: int, description: str) -> Node:
        kinds = _kinds(keywords, at)
        if not kinds:
            return AnyValue(description=description)
        if len(kinds) == 1:
            return self._of_kind(kinds[0], keywords, at, depth, description)
        parts = tuple(self._of_kind(kind, keywords, at, depth, "") for kind in kinds)
        return Union(alternatives=parts, listed=False, description=description)

    def _reference(self, keywords: dict[str, Any], at: str, description: str) -> Node:
        _only(keywords, ("$ref", *_DEFINITIONS), at, "$ref")
        path = keywords["$ref"]
        if path == "#":
            return Reference(name=ROOT, description=description)
        for keyword in _DEFINITIONS:
            prefix = f"#/{keyword}/"
            if isinstance(path, str) and path.startswith(prefix):
                name = unquote(path.removeprefix(prefix)).replace("~1", "/").replace("~0", "~")
                if name in self._found:
                    self._wanted.append(name)
                    return Reference(name=name, description=description)
        why = f'"{quoted(str(path))}" is not "#", nor one of the definitions under "$defs".'
        raise wrong(joined(at, "$ref"), why)

    def _combined(
        self, keywords: dict[str, Any], combiner: str, at: str, depth: int, description: str
    ) -> Node:
        _only(keywords, (combiner, "type", *_DEFINITIONS), at, combiner)
        place = joined(at, combiner)
        listed = keywords[combiner]
        if not isinstance(listed, list) or not listed:
            raise wrong(place, "it is not a list of schemas.")
        if combiner == "allOf" and len(listed) > 1:
            raise unserved(place, "Put what it says into one schema.")
        shared = {"type": keywords["type"]} if "type" in keywords else {}
        parts = []
        for index, inner in enumerate(listed):
            here = f"{place}[{index}]"
            if shared and isinstance(inner, dict):
                if inner.get("type", shared["type"]) != shared["type"]:
                    raise wrong(joined(here, "type"), "it differs from the type outside.")
                inner = {**inner, **shared}  # noqa: PLW2901 - the same schema, said in full
            parts.append(self._node(inner, here, depth + 1))
        if len(parts) == 1 and not description:
            return parts[0]
        return Union(alternatives=tuple(parts), description=description)

    def _choice(self, keywords: dict[str, Any], at: str, description: str) -> Node:
        name = "const" if "const" in keywords else "enum"
        values = [keywords["const"]] if name == "const" else keywords["enum"]
        place = joined(at, name)
        if not isinstance(values, list) or not values:
            raise wrong(place, "it is not a list of values.")
        if any(isinstance(value, dict | list) for value in values):
            raise unserved(place, "List plain values only, or use anyOf.")
        kinds = _kinds(keywords, at)
        if kinds:
            allowed = [self._of_kind(kind, keywords, at, 0, "") for kind in kinds]
            values = [value for value in values if any(_fits(value, node) for node in allowed)]
        if name == "const" and "enum" in keywords:
            values = [value for value in values if value in keywords["enum"]]
        if not values:
            raise wrong(place, "none of its values has the type and the bounds beside it.")
        return Choice(values=tuple(values), description=description)

    def _of_kind(
        self, kind: str, keywords: dict[str, Any], at: str, depth: int, description: str
    ) -> Node:
        if kind == "object":
            return self._object(keywords, at, depth, description)
        if kind == "array":
            return self._array(keywords, at, depth, description)
        if kind == "string":
            return read_string(keywords, at, description)
        if kind in {"number", "integer"}:
            return read_number(keywords, at, description, whole=kind == "integer")
        return (Null if kind == "null" else Boolean)(description=description)

    def _object(self, keywords: dict[str, Any], at: str, depth: int, description: str) -> Node:
        table = _table(keywords, "properties", at)
        required = _names(keywords, "required", at, table)
        order = [*_names(keywords, "propertyOrdering", at, table), *table]
        place = joined(at, "properties")
        members = tuple(
            Member(
                name,
                self._node(table[name], joined(place, quoted(name)), depth + 1),
                name in required,
            )
            for name in dict.fromkeys(order)
        )
        rest = keywords.get("additionalProperties", "properties" not in keywords)
        place = joined(at, "additionalProperties")
        others = None if rest is False else self._node(rest, place, depth + 1)
        least, most = read_range(keywords, ("minProperties", "maxProperties"), at)
        if (most is not None and len(required) > most) or (others is None and least > len(members)):
            name = "maxProperties" if most is not None and len(required) > most else "minProperties"
            raise wrong(joined(at, name), "it does not agree with the properties beside it.")
        return Object(
            members=members,
            others=others,
            members_min=least,
            members_max=most,
            description=description,
        )

    def _array(self, keywords: dict[str, Any], at: str, depth: int, description: str) -> Node:
        listed = keywords.get("prefixItems", [])
        place = joined(at, "prefixItems")
        if not isinstance(listed, list):
            raise wrong(place, "it is not a list of schemas.")
        first = tuple(
            self._node(tree, f"{place}[{index}]", depth + 1) for index, tree in enumerate(listed)
        )
        rest = keywords.get("items", True)
        items = None if rest is False else self._node(rest, joined(at, "items"), depth + 1)
        least, most = read_range(keywords, ("minItems", "maxItems"), at)
        if items is None and least > len(first):
            raise wrong(joined(at, "minItems"), "there are no items beyond those listed.")
        unique = keywords.get("uniqueItems", False)
        if not isinstance(unique, bool):
            raise wrong(joined(at, "uniqueItems"), "it is neither true nor false.")
        return Array(
            items=items,
            first=first,
            items_min=least,
            items_max=most,
            unique=unique,
            description=description,
        )


def _check_names(keywords: Iterable[str], at: str, *, top: bool) -> None:
    for name in keywords:
        place = joined(at, quoted(name))
        if name in _DEFINITIONS and not top:
            raise unserved(place, "Put all definitions into the outermost schema.")
        if name not in KEYWORDS and not name.startswith("x-"):
            raise unserved(place, _REFUSED.get(name, REMEDY))


def _only(keywords: dict[str, Any], allowed: tuple[str, ...], at: str, beside: str) -> None:
    """Refuse keywords that constrain beside one that stands for a whole schema."""
    for name in keywords:
        if name not in COMMENTS and name not in allowed:
            remedy = "Put it into each of the schemas that are named there."
            raise unserved(joined(at, quoted(name)), f'It stands beside "{beside}". {remedy}')


def _kinds(keywords: dict[str, Any], at: str) -> list[str]:
    """Give the types that a value may have; none means any."""
    if "type" not in keywords:
        kinds = [kind for kind, names in _OF_TYPE.items() if names & keywords.keys()]
        return kinds or (["string"] if keywords.get("format") in FORMATS else [])
    listed = keywords["type"]
    listed = listed if isinstance(listed, list) else [listed]
    for kind in listed:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise wrong(joined(at, "type"), f'"{quoted(str(kind))}" is not known.')
    if not listed:
        raise wrong(joined(at, "type"), "it lists no type.")
    return list(dict.fromkeys(listed))


def _table(keywords: dict[str, Any], name: str, at: str) -> dict[str, object]:
    table = keywords.get(name)
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise wrong(joined(at, name), "it is not an object.")
    return table


def _names(keywords: dict[str, Any], name: str, at: str, table: dict[str, object]) -> list[str]:
    """Read a list of names, all of properties that are there."""
    names = keywords.get(name, [])
    place = joined(at, name)
    if not isinstance(names, list):
        raise wrong(place, "it is not a list of names.")
    for index, one in enumerate(names):
        if not isinstance(one, str) or one not in table:
            why = f'"{quoted(str(one))}" is not one of the properties.'
            raise wrong(f"{place}[{index}]", why)
    return names


def _fits(value: Scalar, node: Node) -> bool:
    """Tell whether a plain value has a type and keeps its bounds."""
    if isinstance(node, Null):
        return value is None
    if isinstance(node, Boolean):
        return isinstance(value, bool)
    if isinstance(node, String):
        most = math.inf if node.characters_max is None else node.characters_max
        fits = isinstance(value, str) and node.characters_min <= len(value) <= most
        return fits and (node.pattern is None or node.pattern.matches(str(value)))
    if not isinstance(node, Number) or isinstance(value, bool | str) or value is None:
        return False
    return node.allows(value)
