"""The form that an answer must have: what a JSON Schema means, free of how it was written.

Every node is one kind of value. Several types, ``nullable`` and ``oneOf`` have become a `Union`,
``enum`` and ``const`` a `Choice`, and the members of an object stand in the order of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Any

from msgspec import Struct, structs

from nightrate.domain.pattern import Pattern

Scalar = str | int | float | bool | None

ROOT = "#"
"""The name under which a schema refers to the whole of itself."""


class StringFormat(StrEnum):
    """What a string spells."""

    DATE = "date"
    TIME = "time"
    DATE_TIME = "date-time"
    UUID = "uuid"
    EMAIL = "email"
    IPV4 = "ipv4"
    URI = "uri"


class _Node(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    description: str = ""
    """What the client says of the value; a model may be told."""


class AnyValue(_Node, frozen=True, gc=False, tag="any"):
    """Any JSON value."""


class Null(_Node, frozen=True, gc=False, tag="null"):
    """Null."""


class Boolean(_Node, frozen=True, gc=False, tag="boolean"):
    """True or false."""


class Number(_Node, frozen=True, gc=False, kw_only=True, tag="number"):
    """A number, with bounds that belong to the range and such that do not."""

    whole: bool = False
    at_least: int | float | None = None
    at_most: int | float | None = None
    above: int | float | None = None
    below: int | float | None = None
    multiple_of: int | float | None = None

    def allows(self, value: float) -> bool:
        """Tell whether a number keeps the bounds, and is a multiple."""
        if self.multiple_of is not None and not _is_multiple(value, self.multiple_of):
            return False
        fits = value % 1 == 0 or not self.whole
        fits = fits and (self.at_least is None or value >= self.at_least)
        fits = fits and (self.at_most is None or value <= self.at_most)
        fits = fits and (self.above is None or value > self.above)
        return fits and (self.below is None or value < self.below)


def _is_multiple(value: float, of: float) -> bool:
    """Tell by the decimals that the numbers were written with: 0.3 is a multiple of 0.1."""
    return Fraction(repr(value)) % Fraction(repr(of)) == 0


class String(_Node, frozen=True, gc=False, kw_only=True, tag="string"):
    """A text; its length is counted in characters. A format and a pattern have their own."""

    characters_min: int = 0
    characters_max: int | None = None
    format: StringFormat | None = None
    pattern: Pattern | None = None


class Choice(_Node, frozen=True, gc=False, kw_only=True, tag="choice"):
    """One of some plain values."""

    values: tuple[Scalar, ...]


class Array(_Node, frozen=True, gc=False, kw_only=True, tag="array"):
    """A list: values of given kinds first, then any number of one kind; None allows none."""

    items: Node | None
    first: tuple[Node, ...] = ()
    items_min: int = 0
    items_max: int | None = None
    unique: bool = False
    """Whether no two items may be the same value."""

    def form_at(self, place: int) -> Node | None:
        """Give the form of the item at a place, from 0; None where there may be none."""
        return self.first[place] if place < len(self.first) else self.items


class Member(Struct, frozen=True, gc=False):
    """One member of an object."""

    name: str
    node: Node
    required: bool


class Object(_Node, frozen=True, gc=False, kw_only=True, tag="object"):
    """An object: named members in the order of the answer, and values under other names."""

    members: tuple[Member, ...] = ()
    others: Node | None = None
    """What stands under names that are not listed; None where there are no such names."""
    members_min: int = 0
    members_max: int | None = None


class Union(_Node, frozen=True, gc=False, kw_only=True, tag="union"):
    """Any of several forms."""

    alternatives: tuple[Node, ...]
    listed: bool = True
    """Whether the client listed them; else they come from several types of one value."""


class Reference(_Node, frozen=True, gc=False, kw_only=True, tag="reference"):
    """The form that has a name."""

    name: str


Node = AnyValue | Null | Boolean | Number | String | Choice | Array | Object | Union | Reference


class Schema(Struct, frozen=True, gc=False):
    """A form, and the named forms that it refers to."""

    root: Node
    definitions: dict[str, Node] = {}
    loose: bool = False
    """Whether it demands what a grammar may not keep: an answer is held against it afterwards."""

    def named(self, name: str) -> Node:
        """Give the form that a reference means."""
        return self.root if name == ROOT else self.definitions[name]


class JSONForm(Struct, frozen=True, gc=False, tag="json"):
    """The answer is one JSON value.

    ``field`` is the path under which the client asked for it, for refusals.
    """

    schema: Schema
    field: str


class ChoiceForm(Struct, frozen=True, gc=False, tag="choice"):
    """The answer is one of some texts, as it stands; ``field`` as in `JSONForm`."""

    choices: tuple[str, ...]
    field: str


Form = JSONForm | ChoiceForm


def parts_of(node: Node) -> Iterator[tuple[str, Node]]:
    """Give the nodes right below one, each with its step in a path."""
    if isinstance(node, Array):
        yield from ((f".prefixItems[{index}]", part) for index, part in enumerate(node.first))
        if node.items is not None:
            yield ".items", node.items
    elif isinstance(node, Object):
        yield from ((f".properties.{member.name}", member.node) for member in node.members)
        if node.others is not None:
            yield ".additionalProperties", node.others
    elif isinstance(node, Union):
        for index, part in enumerate(node.alternatives):
            yield (f".anyOf[{index}]" if node.listed else ""), part


def is_loose(node: Node) -> bool:
    """Tell whether a node, or one below it, demands what no grammar may keep: see `Schema.loose`.

    That is what is no question of spelling, and counts and patterns: they may make it large.
    """
    return _is_loose_itself(node) or any(is_loose(part) for _, part in parts_of(node))


def _is_loose_itself(node: Node) -> bool:
    if isinstance(node, Number):
        return node.multiple_of is not None
    if isinstance(node, Array):
        return node.unique or node.items_min > 0 or node.items_max is not None
    if isinstance(node, Object):
        return node.members_min > 0 or node.members_max is not None
    if isinstance(node, String):
        patterned = node.pattern is not None
        return patterned or node.characters_min > 0 or node.characters_max is not None
    return False


def renamed(node: Node, prefix: str) -> Node:
    """Put a prefix before the names that a node refers to; that of the root becomes it alone."""
    if isinstance(node, Reference):
        return structs.replace(node, name=prefix + ("" if node.name == ROOT else node.name))
    if isinstance(node, Union):
        parts = tuple(renamed(part, prefix) for part in node.alternatives)
        return structs.replace(node, alternatives=parts)
    if isinstance(node, Array):
        items = None if node.items is None else renamed(node.items, prefix)
        first = tuple(renamed(part, prefix) for part in node.first)
        return structs.replace(node, items=items, first=first)
    if isinstance(node, Object):
        members = tuple(
            structs.replace(member, node=renamed(member.node, prefix)) for member in node.members
        )
        others = None if node.others is None else renamed(node.others, prefix)
        return structs.replace(node, members=members, others=others)
    return node


def endless(schema: Schema) -> str | None:
    """Name a definition that no finite value satisfies, or the root; None when all is well.

    An object that must hold an object of its own kind is the usual case.
    """
    unproven: dict[str, Node] = {ROOT: schema.root, **schema.definitions}
    while unproven:
        ending = [name for name, node in unproven.items() if _ends(node, unproven)]
        if not ending:
            return next(iter(unproven))
        for name in ending:
            del unproven[name]
    return None


def _ends(node: Node, unproven: Mapping[str, Node]) -> bool:
    """Tell whether a node has a finite value, if the unproven definitions have none."""
    if isinstance(node, Reference):
        return node.name not in unproven
    if isinstance(node, Union):
        return any(_ends(part, unproven) for part in node.alternatives)
    if isinstance(node, Object):
        needed = [member.node for member in node.members if member.required]
        if node.others is not None and node.members_min:
            needed.append(node.others)
        return all(_ends(part, unproven) for part in needed)
    if isinstance(node, Array):
        needed = list(node.first[: node.items_min])
        if node.items is not None and node.items_min > len(node.first):
            needed.append(node.items)
        return all(_ends(part, unproven) for part in needed)
    return True


def json_schema_of(schema: Schema) -> dict[str, Any]:
    """Write a schema as JSON Schema (draft 2020-12), for whoever speaks that."""
    document = _written(schema.root)
    if schema.definitions:
        document["$defs"] = {name: _written(node) for name, node in schema.definitions.items()}
    return document


def _written(node: Node) -> dict[str, Any]:
    document = {name: value for name, value in _keywords(node).items() if value is not None}
    if node.description:
        document["description"] = node.description
    return document


def _keywords(node: Node) -> dict[str, Any]:
    """Give the keywords of a node; None where one is absent."""
    if isinstance(node, Union):
        return {"anyOf": [_written(part) for part in node.alternatives]}
    if isinstance(node, Reference):
        return {"$ref": ROOT if node.name == ROOT else f"#/$defs/{node.name}"}
    if isinstance(node, Choice):
        return {"enum": list(node.values)}
    if isinstance(node, Array):
        return {
            "type": "array",
            "prefixItems": [_written(part) for part in node.first] or None,
            "items": False if node.items is None else _written(node.items),
            "minItems": node.items_min or None,
            "maxItems": node.items_max,
            "uniqueItems": node.unique or None,
        }
    if isinstance(node, Object):
        return {
            "type": "object",
            "properties": {member.name: _written(member.node) for member in node.members} or None,
            "required": [member.name for member in node.members if member.required] or None,
            "additionalProperties": False if node.others is None else _written(node.others),
            "minProperties": node.members_min or None,
            "maxProperties": node.members_max,
        }
    return _keywords_of_plain(node)


def _keywords_of_plain(node: AnyValue | Null | Boolean | Number | String) -> dict[str, Any]:
    if isinstance(node, Number):
        return {
            "type": "integer" if node.whole else "number",
            "minimum": node.at_least,
            "maximum": node.at_most,
            "exclusiveMinimum": node.above,
            "exclusiveMaximum": node.below,
            "multipleOf": node.multiple_of,
        }
    if isinstance(node, String):
        return {
            "type": "string",
            "minLength": node.characters_min or None,
            "maxLength": node.characters_max,
            "format": None if node.format is None else node.format.value,
            "pattern": None if node.pattern is None else node.pattern.regex(),
        }
    if isinstance(node, AnyValue):
        return {}
    return {"type": "null" if isinstance(node, Null) else "boolean"}
