"""The members of objects in the order that a schema gives them, in JSON of those who may not care.

All else stays as it was written: numbers above all, which would change if they were read.
"""

from __future__ import annotations

from msgspec import Raw, json

from nightrate.domain.fitting import has_form
from nightrate.domain.schema import AnyValue, Array, Node, Object, Reference, Schema, Union

_ANY = AnyValue()


def ordered(text: str, schema: Schema) -> str:
    """Put members of objects in order; those that the schema does not list follow as they came.

    Args:
        text: a JSON value of the form of the schema.
        schema: gives the order.
    """
    return _ordered(text.encode(), schema.root, schema).decode()


def _ordered(written: bytes, node: Node, schema: Schema) -> bytes:
    """Put one value in order. One step into a function for each level of the value."""
    node = _meant(written, node, schema)
    if isinstance(node, Object):
        members = json.decode(written, type=dict[str, Raw])
        forms = {member.name: member.node for member in node.members}
        names = [name for name in forms if name in members]
        names += [name for name in members if name not in forms]
        pieces = []
        for name in names:
            form = forms.get(name, node.others)
            inner = bytes(members[name])
            inner = inner if form is None else _ordered(inner, form, schema)
            pieces.append(json.encode(name) + b":" + inner)
        return b"{" + b",".join(pieces) + b"}"
    if isinstance(node, Array):
        pieces = []
        for place, item in enumerate(json.decode(written, type=list[Raw])):
            form = node.first[place] if place < len(node.first) else node.items
            inner = bytes(item)
            pieces.append(inner if form is None else _ordered(inner, form, schema))
        return b"[" + b",".join(pieces) + b"]"
    return written


def _meant(written: bytes, node: Node, schema: Schema) -> Node:
    """Follow references, and of several forms take the first that the value has."""
    behind: frozenset[str] = frozenset()
    while isinstance(node, Reference | Union):
        if isinstance(node, Reference):
            behind |= {node.name}
            node = schema.named(node.name)
            continue
        value = json.decode(written)
        fitting = (part for part in node.alternatives if has_form(value, part, schema, behind))
        node = next(fitting, _ANY)
    return node
