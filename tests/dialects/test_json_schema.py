"""JSON Schema read into forms: every keyword is honoured, a comment, or refused by its path."""

from __future__ import annotations

from typing import Any

import pytest

from nightrate import limits
from nightrate.dialects.json_schema import COMMENTS, read_schema, schema_of_client
from nightrate.dialects.patterns import read_pattern
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
    Schema,
    String,
    StringFormat,
    Union,
    is_loose,
)
from nightrate.errors import BadRequest, NotSupported, Refused

TEXT = {"type": "string"}


def refusal(tree: object) -> Refused:
    with pytest.raises(Refused) as refused:
        read_schema(tree)
    return refused.value


@pytest.mark.parametrize(
    ("tree", "node"),
    [
        (True, AnyValue()),
        ({}, AnyValue()),
        ({"description": "free", "x-note": 1}, AnyValue(description="free")),
        ({"type": "null"}, Null()),
        ({"type": "boolean"}, Boolean()),
        ({"type": "integer", "minimum": 1, "maximum": None}, Number(whole=True, at_least=1)),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, Number(above=0, below=1)),
        ({"type": "number", "format": "double", "maximum": 0.5}, Number(at_most=0.5)),
        (
            {"type": "integer", "format": "int32"},
            Number(whole=True, at_least=-(2**31), at_most=2**31 - 1),
        ),
        (
            {"type": "integer", "format": "int32", "minimum": 3, "maximum": 1e12},
            Number(whole=True, at_least=3, at_most=2**31 - 1),
        ),
        ({"type": "number", "format": "int32"}, Number()),
        ({"type": "number", "minimum": 1, "maximum": 1}, Number(at_least=1, at_most=1)),
        ({"type": "string", "format": "enum"}, String()),
        ({"maxLength": 3.0}, String(characters_max=3)),
        ({"type": "string", "minLength": 2}, String(characters_min=2)),
        ({"format": "date-time"}, String(format=StringFormat.DATE_TIME)),
        (
            {"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083},
            String(format=StringFormat.URI, characters_max=2083),
        ),
        ({"format": "date", "minLength": 9, "maxLength": 10}, String(format=StringFormat.DATE)),
        (
            {"pattern": "[a-z]+", "minLength": 3, "maxLength": 10},
            String(pattern=read_pattern("[a-z]{3,10}")),
        ),
        (
            {"pattern": "a?b+", "maxLength": 3},
            String(pattern=read_pattern("a?b{1,3}"), characters_max=3),
        ),
        ({"format": "unheard-of"}, AnyValue()),
        ({"type": "string", "minimum": 4}, String()),
        ({"enum": ["a", 1, None, True]}, Choice(values=("a", 1, None, True))),
        ({"enum": ["a", 1, True], "type": "integer"}, Choice(values=(1,))),
        ({"enum": ["a", "long"], "maxLength": 1}, Choice(values=("a",))),
        ({"enum": ["a", None], "type": ["string", "null"]}, Choice(values=("a", None))),
        (
            {"enum": [1, 2, 3, 4, 5.5, 9], "type": "integer", "minimum": 2, "exclusiveMaximum": 9},
            Choice(values=(2, 3, 4)),
        ),
        ({"enum": [1, 2, 3], "exclusiveMinimum": 1, "maximum": 2}, Choice(values=(2,))),
        ({"enum": [True, "no"], "type": "boolean"}, Choice(values=(True,))),
        ({"const": "a"}, Choice(values=("a",))),
        ({"const": "a", "enum": ["a", "b"]}, Choice(values=("a",))),
        (
            {"type": ["string", "null", "string"]},
            Union(alternatives=(String(), Null()), listed=False),
        ),
        (
            {"minimum": 0, "minLength": 1},
            Union(alternatives=(String(characters_min=1), Number(at_least=0)), listed=False),
        ),
        (
            {"anyOf": [TEXT, {"type": "null"}], "title": "T", "description": "d"},
            Union(alternatives=(String(), Null()), description="d"),
        ),
        ({"oneOf": [TEXT], "discriminator": {"propertyName": "x"}}, String()),
        ({"oneOf": [TEXT], "description": "d"}, Union(alternatives=(String(),), description="d")),
        ({"allOf": [TEXT]}, String()),
        (
            {"type": "string", "anyOf": [{"minLength": 1}, {"type": "string"}, True]},
            Union(alternatives=(String(characters_min=1), String(), AnyValue())),
        ),
        ({"type": "array"}, Array(items=AnyValue())),
        (
            {"items": TEXT, "minItems": 1, "maxItems": 2},
            Array(items=String(), items_min=1, items_max=2),
        ),
        (
            {"prefixItems": [TEXT, True], "items": False, "uniqueItems": False},
            Array(items=None, first=(String(), AnyValue())),
        ),
        ({"type": "object"}, Object(others=AnyValue())),
        ({"type": "object", "additionalProperties": False}, Object()),
        (
            {"additionalProperties": TEXT, "minProperties": 1},
            Object(others=String(), members_min=1),
        ),
        (
            {
                "properties": {"a_b": TEXT, "cD": {"type": "null"}},
                "required": ["cD"],
                "propertyOrdering": ["cD"],
                "maxProperties": 2,
            },
            Object(
                members=(
                    Member("cD", Null(), required=True),
                    Member("a_b", String(), required=False),
                ),
                members_max=2,
            ),
        ),
        ({"properties": {}, "additionalProperties": True}, Object(others=AnyValue())),
        (
            {"properties": {"next": {"$ref": "#", "description": "d"}}},
            Object(
                members=(Member("next", Reference(name=ROOT, description="d"), required=False),)
            ),
        ),
    ],
)
def test_a_schema_is_read_into_a_form(tree: object, node: Node) -> None:
    assert read_schema(tree) == Schema(node, {}, is_loose(node))


def test_definitions_are_read_where_they_are_used() -> None:
    tree = {
        "$defs": {"A/b": {"items": {"$ref": "#/$defs/A~1b"}}, "unused": {"pattern": "x"}},
        "definitions": {"c d": TEXT},
        "prefixItems": [{"$ref": "#/$defs/A~1b"}, {"$ref": "#/definitions/c%20d"}],
    }
    assert read_schema(tree) == Schema(
        Array(items=AnyValue(), first=(Reference(name="A/b"), Reference(name="c d"))),
        {"A/b": Array(items=Reference(name="A/b")), "c d": String()},
    )


def test_comments_change_nothing() -> None:
    tree = dict.fromkeys(COMMENTS - {"description"}, "x")
    assert read_schema({**tree, **TEXT}) == Schema(String())


@pytest.mark.parametrize(
    ("tree", "field", "why"),
    [
        ("string", "", "it is not a schema."),
        ({"items": [TEXT]}, "items", "it is not a schema."),
        ({"properties": {"a": False}}, "properties.a", "it is not a schema."),
        ({"properties": []}, "properties", "it is not an object."),
        ({"$defs": 1}, "$defs", "it is not an object."),
        ({"type": "text"}, "type", '"text" is not known.'),
        ({"type": [1]}, "type", '"1" is not known.'),
        ({"type": []}, "type", "it lists no type."),
        ({"type": "string", "format": 1}, "format", "it is not a text."),
        ({"description": {}}, "description", "it is not a text."),
        ({"minimum": "1"}, "minimum", "it is not a number."),
        ({"minimum": True}, "minimum", "it is not a number."),
        ({"type": "number", "minimum": 2, "maximum": 1}, "", "no number lies between its bounds."),
        ({"type": "number", "minimum": 1, "exclusiveMaximum": 1}, "",
         "no number lies between its bounds."),
        ({"items": {"type": "integer", "minimum": 0.1, "maximum": 0.9}}, "items",
         "no number lies between its bounds."),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "",
         "no number lies between its bounds."),
        ({"minLength": -1}, "minLength", "it is not a whole number from 0 on."),
        ({"maxItems": 1.5}, "maxItems", "it is not a whole number from 0 on."),
        ({"maxItems": True}, "maxItems", "it is not a whole number from 0 on."),
        ({"minLength": 3, "maxLength": 2}, "minLength", "it is more than maxLength."),
        ({"pattern": "a{3}", "minLength": 4}, "minLength",
         "no text of the pattern beside it is as long."),
        ({"format": "date", "minLength": 11}, "minLength",
         "no text of the format beside it is as long."),
        ({"format": "uuid", "maxLength": 35}, "maxLength",
         "no text of the format beside it is as short."),
        ({"pattern": "a{3}", "maxLength": 2}, "maxLength",
         "no text of the pattern beside it is as short."),
        ({"enum": []}, "enum", "it is not a list of values."),
        ({"enum": "a"}, "enum", "it is not a list of values."),
        ({"enum": ["a"], "type": "integer"}, "enum",
         "none of its values has the type and the bounds beside it."),
        ({"enum": ["a"], "type": "object"}, "enum",
         "none of its values has the type and the bounds beside it."),
        ({"const": "c", "enum": ["a"]}, "const",
         "none of its values has the type and the bounds beside it."),
        ({"anyOf": []}, "anyOf", "it is not a list of schemas."),
        ({"allOf": {}}, "allOf", "it is not a list of schemas."),
        ({"prefixItems": {}}, "prefixItems", "it is not a list of schemas."),
        ({"anyOf": [{"type": "null"}], "type": "string"}, "anyOf[0].type",
         "it differs from the type outside."),
        ({"anyOf": [TEXT, {"items": 1}]}, "anyOf[1].items", "it is not a schema."),
        ({"prefixItems": [TEXT, 1]}, "prefixItems[1]", "it is not a schema."),
        ({"prefixItems": [TEXT], "items": False, "minItems": 2}, "minItems",
         "there are no items beyond those listed."),
        ({"$ref": "#/$defs/A"}, "$ref",
         '"#/$defs/A" is not "#", nor one of the definitions under "$defs".'),
        ({"$ref": 1}, "$ref", '"1" is not "#", nor one of the definitions under "$defs".'),
        ({"required": "a"}, "required", "it is not a list of names."),
        ({"multipleOf": 0}, "multipleOf", "it is not a number above 0."),
        ({"multipleOf": True}, "multipleOf", "it is not a number above 0."),
        ({"items": {"uniqueItems": 1}}, "items.uniqueItems", "it is neither true nor false."),
        ({"properties": {"a": TEXT}, "required": ["a", "b"]}, "required[1]",
         '"b" is not one of the properties.'),
        ({"properties": {"a": TEXT}, "propertyOrdering": [1]}, "propertyOrdering[0]",
         '"1" is not one of the properties.'),
        ({"properties": {"a": TEXT}, "required": ["a"], "maxProperties": 0}, "maxProperties",
         "it does not agree with the properties beside it."),
        ({"properties": {"a": TEXT}, "minProperties": 2}, "minProperties",
         "it does not agree with the properties beside it."),
        ({"$ref": "#"}, "", "no finite value fits it: it must hold another of its own kind."),
        ({"$defs": {"a": {"properties": {"b": {"$ref": "#/$defs/a"}}, "required": ["b"]}},
          "items": {"$ref": "#/$defs/a"}}, "$defs.a",
         "no finite value fits it: it must hold another of its own kind."),
    ],
)  # fmt: skip
def test_a_fault_is_told_by_its_path(tree: object, field: str, why: str) -> None:
    error = refusal(tree)
    assert isinstance(error, BadRequest)
    assert error.field == field
    assert error.message == f"{field}: {why}"


@pytest.mark.parametrize(
    ("tree", "field"),
    [
        ({"type": "string", "pattern": "(?=a)"}, "pattern"),
        ({"pattern": "a", "format": "date"}, "pattern"),
        ({"nullable": True}, "nullable"),
        ({"not": {}}, "not"),
        ({"if": {}}, "if"),
        ({"made-up": 1}, "made-up"),
        ({"type": "string", "format": "duration"}, "format"),
        ({"type": "integer", "format": "uint8"}, "format"),
        ({"enum": [[1]]}, "enum"),
        ({"allOf": [TEXT, TEXT]}, "allOf"),
        ({"anyOf": [TEXT], "minLength": 1}, "minLength"),
        ({"$ref": "#", "minLength": 1}, "minLength"),
        ({"items": {"$defs": {}}}, "items.$defs"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_path(tree: object, field: str) -> None:
    error = refusal(tree)
    assert isinstance(error, NotSupported)
    assert error.field == field
    assert error.message.startswith(f"{field}: this server does not support it yet. ")


def test_a_schema_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(limits.SCHEMA_DEPTH_MAX + 1):
        deep = {"items": deep}
    assert "nested deeper" in refusal(deep).message
    assert isinstance(read_schema(deep["items"]).root, Array)
    wide = {"prefixItems": [True] * (limits.SCHEMA_NODES_MAX - 1), "items": False}
    assert isinstance(read_schema(wide).root, Array)
    assert "more than" in refusal({**wide, "items": True}).message
    assert "64 KiB" in refusal({"description": "x" * limits.SCHEMA_BYTES_MAX}).message


def test_a_schema_that_comes_again_is_the_same_value() -> None:
    tree = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert schema_of_client(dict(tree)) is schema_of_client(dict(tree))


def test_a_schema_that_is_too_long_is_refused_and_not_remembered() -> None:
    tree = {"type": "string", "description": "x" * limits.SCHEMA_BYTES_MAX}
    with pytest.raises(BadRequest, match="longer than 64 KiB"):
        schema_of_client(tree)
