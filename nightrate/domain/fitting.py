"""Whether a value has the form of a schema, for answers of those who may not have kept it."""

from __future__ import annotations

from collections.abc import Iterator

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

Plain = AnyValue | Null | Boolean | Number | String | Choice | Array | Object
"""A part of a schema that is neither a reference nor a union."""


def fits(value: object, schema: Schema) -> bool:
    """Tell whether decoded JSON has the form of a schema; the format of a text is not looked at."""
    return Fitting(schema).has_form(value, schema.root)


def alternatives_of(node: Node, schema: Schema) -> Iterator[Plain]:
    """Give the forms that a part of a schema allows, in its order, each definition once.

    References and unions are followed to what they lead to; what leads back is there already.
    """
    waiting, seen = [node], set[str]()
    while waiting:
        node = waiting.pop()
        if isinstance(node, Union):
            waiting.extend(reversed(node.alternatives))
        elif isinstance(node, Reference):
            if node.name not in seen:
                seen.add(node.name)
                waiting.append(schema.named(node.name))
        else:
            yield node


class Fitting:
    """Holds values against parts of a schema, each against each once, as they may meet often.

    Args:
        schema: what the parts may refer to. Values must stay as they are, and alive.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._known: dict[tuple[int, int], bool] = {}

    def has_form(self, value: object, node: Node) -> bool:
        """Tell whether decoded JSON has the form of a part; see `fits`."""
        return any(self._fits(value, part) for part in alternatives_of(node, self._schema))

    def _fits(self, value: object, node: Plain) -> bool:
        if not isinstance(node, Object | Array):
            return _plain_fits(value, node)
        pair = id(value), id(node)
        if pair not in self._known:
            if isinstance(node, Object):
                self._known[pair] = isinstance(value, dict) and self._object_fits(value, node)
            else:
                self._known[pair] = isinstance(value, list) and self._array_fits(value, node)
        return self._known[pair]

    def _object_fits(self, value: dict[str, object], node: Object) -> bool:
        if not _within(len(value), node.members_min, node.members_max):
            return False
        listed = {member.name: member.node for member in node.members}
        if any(member.required and member.name not in value for member in node.members):
            return False
        for name, inner in value.items():
            form = listed.get(name, node.others)
            if form is None or not self.has_form(inner, form):
                return False
        return True

    def _array_fits(self, value: list[object], node: Array) -> bool:
        if not _within(len(value), node.items_min, node.items_max):
            return False
        if node.unique and len({_identity(inner) for inner in value}) < len(value):
            return False
        for place, inner in enumerate(value):
            form = node.form_at(place)
            if form is None or not self.has_form(inner, form):
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
