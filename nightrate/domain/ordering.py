"""The members of objects in the order that a schema gives them, in JSON of those who may not care.

All else stays as it was written: numbers above all, which would change if they were read.
"""

from __future__ import annotations

from msgspec import Raw, json

from nightrate.domain.fitting import Fitting, Plain, alternatives_of
from nightrate.domain.schema import AnyValue, Array, Node, Object, Schema

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
    meant = _meant(written, node, schema)
    if isinstance(meant, Object):
        members = json.decode(written, type=dict[str, Raw])
        forms = {member.name: member.node for member in meant.members}
        names = [name for name in forms if name in members]
        names += [name for name in members if name not in forms]
        pieces = []
        for name in names:
            form = forms.get(name, meant.others)
            inner = bytes(members[name])
            inner = inner if form is None else _ordered(inner, form, schema)
            pieces.append(json.encode(name) + b":" + inner)
        return b"{" + b",".join(pieces) + b"}"
    if isinstance(meant, Array):
        pieces = []
        for place, item in enumerate(json.decode(written, type=list[Raw])):
            form = meant.form_at(place)
            inner = bytes(item)
            pieces.append(inner if form is None else _ordered(inner, form, schema))
        return b"[" + b",".join(pieces) + b"]"
    return written


def _meant(written: bytes, node: Node, schema: Schema) -> Plain:
    """Follow references, and of several forms take the first that the value has."""
    parts = list(alternatives_of(node, schema))
    if len(parts) == 1:
        return parts[0]
    value, fitting = json.decode(written), Fitting(schema)
    return next((part for part in parts if fitting.has_form(value, part)), _ANY)
