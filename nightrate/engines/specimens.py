"""The plainest answer that has a form, for an engine that has no model.

Every member that is listed is there and every list has an item, so that a reader of answers has
something to read; where a form holds another of its own kind, only what must be there is there.
"""

from __future__ import annotations

import math
from typing import Any

from msgspec import json

from nightrate import limits
from nightrate.domain.schema import (
    ROOT,
    AnyValue,
    Array,
    Boolean,
    Choice,
    ChoiceForm,
    Form,
    JSONForm,
    Node,
    Null,
    Number,
    Object,
    Reference,
    Schema,
    String,
    StringFormat,
    Union,
)
from nightrate.errors import Code, RequestFailed

_WORD = "text"
_FORMATS = {
    StringFormat.DATE: "2026-01-31",
    StringFormat.TIME: "12:00:00Z",
    StringFormat.DATE_TIME: "2026-01-31T12:00:00Z",
    StringFormat.UUID: "00000000-0000-4000-8000-000000000000",
    StringFormat.EMAIL: "name@example.com",
    StringFormat.IPV4: "192.0.2.1",
    StringFormat.URI: "https://example.com/",
}


def specimen_of(form: Form) -> str:
    """Give the plainest text that has a form.

    Raises:
        RequestFailed: even the plainest is too long.
    """
    if isinstance(form, ChoiceForm):
        return form.choices[0]
    value = _Maker(form).make()
    return json.encode(value).decode()


class _Maker:
    """Makes one value, and counts what goes into it."""

    def __init__(self, form: JSONForm) -> None:
        self._form = form
        self._schema = form.schema
        self._ranks = _ranks(form.schema)
        self._size = 0
        self._depth = 0

    def make(self) -> Any:
        try:
            return self._value(self._schema.root, frozenset({ROOT}), sparing=False)
        except RequestFailed:  # Definitions that name each other at will grow without measure.
            self._size = self._depth = 0
            return self._value(self._schema.root, frozenset({ROOT}), sparing=True)

    def _value(self, node: Node, inside: frozenset[str], *, sparing: bool) -> Any:
        """Make a value inside of some definitions; ``sparing`` leaves out what may be absent."""
        self._grow(1)
        self._depth += 1
        if self._depth > limits.JSON_DEPTH_MAX:
            raise self._too_long()
        value = self._made(node, inside, sparing=sparing)
        self._depth -= 1
        return value

    def _made(self, node: Node, inside: frozenset[str], *, sparing: bool) -> Any:
        if isinstance(node, Reference):
            again = sparing or node.name in inside
            return self._value(self._schema.named(node.name), inside | {node.name}, sparing=again)
        if isinstance(node, Union):
            parts = node.alternatives
            part = min(parts, key=lambda part: _rank(part, self._ranks)) if sparing else parts[0]
            return self._value(part, inside, sparing=sparing)
        if isinstance(node, Array):
            return self._array(node, inside, sparing=sparing)
        if isinstance(node, Object):
            return self._object(node, inside, sparing=sparing)
        return self._plain(node)

    def _array(self, node: Array, inside: frozenset[str], *, sparing: bool) -> list[Any]:
        wanted = node.items_min if sparing else max(1, len(node.first), node.items_min)
        count = wanted if node.items_max is None else min(wanted, node.items_max)
        parts = list(node.first[:count])
        if node.items is not None:
            self._grow(count - len(parts))
            parts += [node.items] * (count - len(parts))
        return [self._value(part, inside, sparing=sparing) for part in parts]

    def _object(self, node: Object, inside: frozenset[str], *, sparing: bool) -> dict[str, Any]:
        members = [member for member in node.members if member.required]
        options = [member for member in node.members if not member.required]
        most = math.inf if node.members_max is None else node.members_max
        for option in options:
            if len(members) < (node.members_min if sparing else most):
                members.append(option)
        listed = [member for member in node.members if member in members]
        made = {member.name: self._value(member.node, inside, sparing=sparing) for member in listed}
        number = 0
        while node.others is not None and len(made) < node.members_min:
            number += 1
            made.setdefault(f"name{number}", self._value(node.others, inside, sparing=sparing))
        return made

    def _plain(self, node: AnyValue | Null | Boolean | Choice | Number | String) -> Any:
        if isinstance(node, Choice):
            return node.values[0]
        if isinstance(node, Number):
            return _number(node)
        if isinstance(node, String):
            return self._string(node)
        return {AnyValue: {}, Null: None, Boolean: False}[type(node)]

    def _string(self, node: String) -> str:
        if node.format is not None:
            return _FORMATS[node.format]
        if node.pattern is not None:
            self._grow(max(node.pattern.lengths()[0], node.characters_min))
            return node.pattern.plainest(node.characters_min)
        self._grow(node.characters_min)
        return _WORD.ljust(node.characters_min, "x")[: node.characters_max]

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > limits.SPECIMEN_SIZE_MAX:
            raise self._too_long()

    def _too_long(self) -> RequestFailed:
        message = f"{self._form.field}: even the shortest answer of this form is too long."
        return RequestFailed(message, code=Code.INVALID_ARGUMENT)


def _number(node: Number) -> int | float:
    """Find a number within the bounds: 0 if it is, else one close to a bound."""
    low = node.above if node.at_least is None else node.at_least
    high = node.below if node.at_most is None else node.at_most
    tried: list[int | float] = [0, 1]
    for bound in (node.at_least, node.at_most, node.above, node.below):
        if bound is not None:
            tried += [bound, math.floor(bound), math.ceil(bound)]
            tried += [math.floor(bound) + 1, math.ceil(bound) - 1]
    if low is not None and high is not None:
        tried.append((low + high) / 2)
    if (step := node.multiple_of) is not None:
        tried += [step * (math.ceil(bound / step) + more) for bound in tried for more in (-1, 0, 1)]
    return next((value for value in tried if node.allows(value)), tried[0])


def _ranks(schema: Schema) -> dict[str, int]:
    """Count for each definition how many references deep its plainest value goes."""
    ranks: dict[str, int] = {}
    named = {ROOT: schema.root, **schema.definitions}
    for depth in range(len(named)):
        for name, node in named.items():
            if name not in ranks and _rank(node, ranks) <= depth:
                ranks[name] = depth + 1
    return ranks


def _rank(node: Node, ranks: dict[str, int]) -> float:
    """Count how many references deep the plainest value of a node goes."""
    needed: list[Node] = []
    if isinstance(node, Reference):
        return ranks.get(node.name, math.inf)
    if isinstance(node, Union):
        return min(_rank(part, ranks) for part in node.alternatives)
    if isinstance(node, Object):
        needed = [member.node for member in node.members if member.required]
        needed += [node.others] if node.others is not None and node.members_min else []
    if isinstance(node, Array):
        needed = list(node.first[: node.items_min])
        needed += [node.items] if node.items is not None and node.items_min > len(needed) else []
    return max((_rank(part, ranks) for part in needed), default=0)
