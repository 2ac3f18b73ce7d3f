"""Members of objects in the order of their schema."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.json_schema import read_schema
from nightrate.domain.ordering import ordered
from nightrate.domain.schema import Object, Schema
from nightrate.engines.specimens import specimen_of
from tests.domain.test_fitting import TREE
from tests.engines.forms import form_of, schemas

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "number"}},
    "propertyOrdering": ["age", "name"],
}
NUMBERED = {"type": "object", "properties": {"n": {"type": "number"}, "of": PERSON}}


@pytest.mark.parametrize(
    ("tree", "text", "wanted"),
    [
        (PERSON, '{"name":"a","age":1}', '{"age":1,"name":"a"}'),
        (PERSON, '{"name":"a"}', '{"name":"a"}'),
        (PERSON, '{"name":"\\u00e9\\/","age":1e2}', '{"age":1e2,"name":"\\u00e9\\/"}'),
        (
            PERSON | {"properties": {"age": {}, "name": {}}},
            '{"name":0.10,"age":123456789012345678901234567890}',
            '{"age":123456789012345678901234567890,"name":0.10}',
        ),
        (NUMBERED, '{"of":{"name":"a","age":1},"n":2}', '{"n":2,"of":{"age":1,"name":"a"}}'),
        (
            {"prefixItems": [{"const": 1}, PERSON], "items": NUMBERED},
            '[1,{"name":"a","age":1},{"of":{},"n":1}]',
            '[1,{"age":1,"name":"a"},{"n":1,"of":{}}]',
        ),
        (
            {"anyOf": [NUMBERED | {"required": ["n"]}, PERSON]},
            '{"name":"a","age":1}',
            '{"age":1,"name":"a"}',
        ),
        (
            {"type": "object", "additionalProperties": PERSON},
            '{"z":{"name":"a","age":1},"b":{}}',
            '{"z":{"age":1,"name":"a"},"b":{}}',
        ),
        ({}, '{"b":1,"a":2}', '{"b":1,"a":2}'),
    ],
)
def test_members_stand_in_the_order_of_the_schema(tree: Any, text: str, wanted: str) -> None:
    assert ordered(text, read_schema(tree)) == wanted


def test_members_that_are_not_listed_follow_as_they_came() -> None:
    schema = read_schema({"properties": {"a": {}}})
    assert isinstance(schema.root, Object)
    loose = Schema(msgspec.structs.replace(schema.root, others=read_schema(PERSON).root))
    text = '{"z":{"name":"n","age":1},"b":{},"a":3}'
    assert ordered(text, loose) == '{"a":3,"z":{"age":1,"name":"n"},"b":{}}'


@pytest.mark.parametrize("text", ['"x"', "[]", '[["x",[]],"y"]'])
def test_a_form_that_refers_to_itself_comes_to_an_end(text: str) -> None:
    assert ordered(text, TREE) == text


def turned(value: Any) -> Any:
    """Turn the members of all objects around."""
    if isinstance(value, dict):
        return {name: turned(inner) for name, inner in reversed(value.items())}
    return [turned(inner) for inner in value] if isinstance(value, list) else value


@given(schemas, st.booleans())
def test_the_plainest_answer_of_a_form_is_in_order_however_it_was(tree: Any, turn: bool) -> None:  # noqa: FBT001
    form = form_of(tree)
    value = msgspec.json.decode(specimen_of(form))
    written = msgspec.json.encode(turned(value) if turn else value).decode()
    assert msgspec.json.decode(ordered(written, form.schema)) == value
    assert ordered(written, form.schema) == ordered(ordered(written, form.schema), form.schema)
