"""Whether a value has the form of a schema, for answers of those who may not have kept it."""

from __future__ import annotations

from nightrate.domain.schema import (
    AnyValue,
    Array,
    Boolean,
    Choice,
    Node,
    Null,
    Number,
    Object,
    Reference,
    Schema,
    String,
    Union,
)


def fits(value: object, schema: Schema) -> bool:
    """Tell whether decoded JSON has the form of a schema; the format of a text is not looked at."""
    return has_form(value, schema.root, schema, frozenset())


def has_form(value: object, node: Node, schema: Schema, behind: frozenset[str]) -> bool:
    """Tell whether decoded JSON has the form of a part of a schema; see `fits`.

    Args:
        value: the decoded JSON.
        node: the part.
        schema: what the part may refer to.
        behind: the names that were followed to the part, so as not to circle.
    """
    if isinstance(node, Reference):
        if node.name in behind:
            return False  # Whatever fits does so by another way.
        return has_form(value, schema.named(node.name), schema, behind | {node.name})
    if isinstance(node, Union):
        return any(has_form(value, part, schema, behind) for part in node.alternatives)
    if isinstance(node, Object):
        return isinstance(value, dict) and _object_fits(value, node, schema)
    if isinstance(node, Array):
        return isinstance(value, list) and _array_fits(value, node, schema)
    return _plain_fits(value, node)


def _object_fits(value: dict[str, object], node: Object, schema: Schema) -> bool:
    if not _within(len(value), node.members_min, node.members_max):
        return False
    listed = {member.name: member.node for member in node.members}
    if any(member.required and member.name not in value for member in node.members):
        return False
    for name, inner in value.items():
        form = listed.get(name, node.others)
        if form is None or not has_form(inner, form, schema, frozenset()):
            return False
    return True


def _array_fits(value: list[object], node: Array, schema: Schema) -> bool:
    if not _within(len(value), node.items_min, node.items_max):
        return False
    if node.unique and len({_identity(inner) for inner in value}) < len(value):
        return False
    for place, inner in enumerate(value):
        form = node.first[place] if place < len(node.first) else node.items
        if form is None or not has_form(inner, form, schema, frozenset()):
            return False
    return True


def _identity(value: object) -> object:
    """Give what equal JSON values have in common: 1 is 1.0, and true is not 1."""
    if isinstance(value, dict):
        return frozenset((name, _identity(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return tuple(map(_identity, value))
    return isinstance(value, bool), value


def _plain_fits(value: object, node: AnyValue | Null | Boolean | Number | String | Choice) -> bool:
    if isinstance(node, Null):
        return value is None
    if isinstance(node, Boolean):
        return isinstance(value, bool)
    if isinstance(node, Number):
        truth = isinstance(value, bool)  # In Python, that is a number.
        return isinstance(value, int | float) and not truth and node.allows(value)
    if isinstance(node, String):
        return isinstance(value, str) and _text_fits(value, node)
    if isinstance(node, Choice):
        truth = isinstance(value, bool)
        return any(isinstance(one, bool) is truth and one == value for one in node.values)
    return True


def _text_fits(value: str, node: String) -> bool:
    if not _within(len(value), node.characters_min, node.characters_max):
        return False
    return node.pattern is None or node.pattern.matches(value)


def _within(count: int, least: int, most: int | None) -> bool:
    return least <= count and (most is None or count <= most)
