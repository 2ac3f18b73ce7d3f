"""The forms that Gemini's settings demand, in all the ways of saying them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightrate import limits
from nightrate.dialects import json_schema
from nightrate.dialects.gemini import parse_prompt
from nightrate.domain.schema import (
    AnyValue,
    Array,
    Choice,
    ChoiceForm,
    Form,
    JSONForm,
    Member,
    Node,
    Null,
    Number,
    Object,
    Schema,
    String,
    Union,
)
from nightrate.errors import BadRequest, NotSupported, Refused

JSON = {"responseMimeType": "application/json"}
ENUM = {"responseMimeType": "text/x.enum"}


def form(config: dict[str, Any], *, spelled: str = "generationConfig") -> Form | None:
    body = {"contents": "hi", spelled: config}
    return parse_prompt(msgspec.json.encode(body), "m").form


def node(schema: object) -> Node:
    found = form({**JSON, "responseSchema": schema})
    assert isinstance(found, JSONForm)
    assert found.field == "generationConfig.responseSchema"
    return found.schema.root


def refusal(config: dict[str, Any]) -> Refused:
    with pytest.raises(Refused) as refused:
        form(config)
    return refused.value


RECIPES = Array(
    items=Object(
        members=(
            Member("recipe_name", String(), required=True),
            Member("ingredients", Array(items=String()), required=True),
        )
    )
)


def test_the_schema_of_the_python_client_is_understood() -> None:
    names = ["recipe_name", "ingredients"]
    schema = {
        "type": "ARRAY",
        "title": "Placeholder",
        "items": {
            "type": "OBJECT",
            "title": "Recipe",
            "properties": {
                "ingredients": {
                    "type": "ARRAY",
                    "items": {"type": "STRING"},
                    "title": "Ingredients",
                },
                "recipe_name": {"type": "STRING", "title": "Recipe Name"},
            },
            "required": names,
            "property_ordering": names,
        },
    }
    assert node(schema) == RECIPES
    config = {"response_mime_type": "application/json", "response_schema": schema}
    spelled = form(config, spelled="generation_config")
    assert isinstance(spelled, JSONForm)
    assert spelled.schema.root == RECIPES


def test_the_schema_of_the_javascript_client_is_understood() -> None:
    text = {"type": "STRING", "description": "Name of the recipe", "nullable": False}
    properties = {"recipeName": text, "ingredients": {"type": "ARRAY", "items": text}}
    schema = {
        "type": "ARRAY",
        "items": {"type": "OBJECT", "properties": properties, "required": ["recipeName"]},
    }
    kept = String(description="Name of the recipe")
    members = (
        Member("recipeName", kept, required=True),
        Member("ingredients", Array(items=kept), required=False),
    )
    assert node(schema) == Array(items=Object(members=members))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, String()),
        ({"type": "TYPE_UNSPECIFIED", "title": None}, AnyValue()),
        ({"type": ["STRING", "null"]}, Union(alternatives=(String(), Null()), listed=False)),
        ({"type": "STRING", "nullable": True},
         Union(alternatives=(String(), Null()), listed=False)),
        ({"nullable": True}, AnyValue()),
        ({"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True},
         Choice(values=("a", None))),
        ({"type": "INTEGER", "enum": ["1", "2"]}, Choice(values=(1, 2))),
        ({"type": "NUMBER", "enum": ["1.5", 2]}, Choice(values=(1.5, 2))),
        ({"type": "STRING", "enum": ["1"]}, Choice(values=("1",))),
        ({"any_of": [{"type": "STRING"}], "nullable": True},
         Union(alternatives=(String(), Null()))),
        ({"type": "ARRAY", "items": {"type": "NULL"}, "minItems": "1", "max_items": 2},
         Array(items=Null(), items_min=1, items_max=2)),
        ({"type": "NUMBER", "minimum": "0.5", "maximum": 2}, Number(at_least=0.5, at_most=2)),
        ({"type": "INTEGER", "format": "int64", "minimum": "3"}, Number(whole=True, at_least=3)),
    ],
)  # fmt: skip
def test_a_schema_of_gemini_is_read_into_a_form(schema: object, expected: Node) -> None:
    assert node(schema) == expected


@pytest.mark.parametrize(
    ("schema", "field", "why"),
    [
        ("STRING", "", "it is not a schema."),
        ({"type": "TEXT"}, ".type", '"TEXT" is not known.'),
        ({"type": [1]}, ".type", '"1" is not known.'),
        ({"nullable": "yes"}, ".nullable", "it is neither true nor false."),
        ({"nullable": True, "anyOf": 1}, ".anyOf", "it is not a list of schemas."),
        ({"items": 1}, ".items", "it is not a schema."),
        ({"properties": 1}, ".properties", "it is not an object."),
        ({"minimum": "few"}, ".minimum", '"few" is not a number.'),
        ({"type": "INTEGER", "enum": ["x"]}, ".enum[0]", '"x" is not a number.'),
        ({"minItems": "few"}, ".minItems", "it is not a whole number from 0 on."),
        ({"minItems": "9" * 5_000}, ".minItems", "it is not a whole number from 0 on."),
        ({"minimum": "1e999"}, ".minimum", '"1e999" is not a number.'),
        ({"maximum": "nan"}, ".maximum", '"nan" is not a number.'),
        ({"properties": {"a": {"$ref": "#"}}}, ".properties.a.$ref",
         ('there is no such field in a schema. Use "responseJsonSchema" for what only JSON'
          " Schema has.")),
    ],
)  # fmt: skip
def test_a_fault_of_a_schema_is_told_by_its_path(schema: object, field: str, why: str) -> None:
    error = refusal({**JSON, "responseSchema": schema})
    assert isinstance(error, BadRequest)
    assert error.field == f"generationConfig.responseSchema{field}"
    assert error.message == f"{error.field}: {why}"


def test_a_pattern_that_is_not_served_is_refused_by_its_path() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "pattern": "(?!a)"}}}
    error = refusal({**JSON, "responseSchema": schema})
    assert isinstance(error, NotSupported)
    assert error.field == "generationConfig.responseSchema.properties.a.pattern"


def test_a_path_is_told_as_the_client_spelled_it() -> None:
    body = {"contents": "hi", "generation_config": {**JSON, "response_schema": {"min_items": -1}}}
    with pytest.raises(BadRequest) as refused:
        parse_prompt(msgspec.json.encode(body), "m")
    assert refused.value.field == "generation_config.response_schema.min_items"


def test_a_schema_of_gemini_is_not_nested_without_end() -> None:
    deep: dict[str, Any] = {}
    for _ in range(limits.SCHEMA_DEPTH_MAX + 1):
        deep = {"items": deep}
    assert "nested deeper" in refusal({**JSON, "responseSchema": deep}).message


SCHEMA = {"type": "array", "items": {"type": "string"}}
TEXTS = Schema(Array(items=String()))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"responseMimeType": "text/plain", "responseSchema": {}}, None),
        ({"responseMimeType": ""}, None),
        (JSON, JSONForm(Schema(AnyValue()), "generationConfig.responseMimeType")),
        ({**JSON, "responseSchema": {}},
         JSONForm(Schema(AnyValue()), "generationConfig.responseMimeType")),
        ({**JSON, "responseJsonSchema": SCHEMA},
         JSONForm(TEXTS, "generationConfig.responseJsonSchema")),
        ({**JSON, "_responseJsonSchema": SCHEMA},
         JSONForm(TEXTS, "generationConfig._responseJsonSchema")),
        ({**ENUM, "responseSchema": {"type": "STRING", "enum": ["a", "b c"]}},
         ChoiceForm(("a", "b c"), "generationConfig.responseSchema")),
        ({**ENUM, "responseJsonSchema": {"enum": ["a"]}},
         ChoiceForm(("a",), "generationConfig.responseJsonSchema")),
        ({"responseFormat": {"text": {"mime_type": "APPLICATION_JSON", "schema": SCHEMA}}},
         JSONForm(TEXTS, "generationConfig.responseFormat.text.schema")),
        ({"responseFormat": {"text": {"mimeType": "application/json"}}},
         JSONForm(Schema(AnyValue()), "generationConfig.responseFormat.text.mimeType")),
        ({"responseFormat": {"text": {"mimeType": "TEXT_PLAIN"}, "image": {}}}, None),
        ({"responseFormat": {"text": None}}, None),
    ],
)  # fmt: skip
def test_the_form_can_be_said_in_several_ways(config: dict[str, Any], expected: object) -> None:
    assert form(config) == expected


@pytest.mark.parametrize(
    ("config", "field", "kind"),
    [
        ({"responseMimeType": "text/html"}, "responseMimeType", BadRequest),
        (ENUM, "responseMimeType", BadRequest),
        ({"responseSchema": {"type": "STRING"}}, "responseSchema", BadRequest),
        ({"responseMimeType": "text/plain", "responseJsonSchema": SCHEMA}, "responseJsonSchema",
         BadRequest),
        ({**JSON, "responseSchema": {"type": "STRING"}, "responseJsonSchema": SCHEMA},
         "responseJsonSchema", BadRequest),
        ({**ENUM, "responseSchema": {"type": "STRING"}}, "responseSchema", BadRequest),
        ({**ENUM, "responseSchema": {"enum": ["a", ""]}}, "responseSchema", BadRequest),
        ({**ENUM, "responseSchema": {"type": "INTEGER", "enum": ["1"]}}, "responseSchema",
         BadRequest),
        ({"responseFormat": "json"}, "responseFormat", BadRequest),
        ({"responseFormat": []}, "responseFormat", BadRequest),
        ({"responseFormat": {"text": []}}, "responseFormat.text", BadRequest),
        ({"responseFormat": {"text": {"mimeType": 0}}}, "responseFormat.text.mimeType", BadRequest),
        ({"responseFormat": {"picture": {}}}, "responseFormat.picture", BadRequest),
        ({"responseFormat": {"image": {"a": 1}}}, "responseFormat.image", NotSupported),
        ({**JSON, "responseFormat": {"text": {}}}, "responseFormat", BadRequest),
        ({"responseFormat": {"text": "json"}}, "responseFormat.text", BadRequest),
        ({"responseFormat": {"text": {"mimeType": "text/x.enum"}}}, "responseFormat.text.mimeType",
         BadRequest),
        ({"responseFormat": {"text": {"schema": SCHEMA}}}, "responseFormat.text.schema",
         BadRequest),
        ({"responseFormat": {"text": {"mimeType": "APPLICATION_JSON", "schema": {"items": 1}}}},
         "responseFormat.text.schema.items", BadRequest),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(
    config: dict[str, Any], field: str, kind: type[Refused]
) -> None:
    error = refusal(config)
    assert type(error) is kind
    assert error.field == f"generationConfig.{field}"
    assert error.message.startswith(f"{error.field}: ")


def test_the_same_schema_again_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"type": "OBJECT", "properties": {"once": {"type": "STRING"}}}
    first = node(schema)

    def reads(_tree: object) -> Schema:
        raise AssertionError("it is remembered")

    with monkeypatch.context() as patch:
        patch.setattr(json_schema, "read_schema", reads)
        assert node(schema) is first
        with pytest.raises(AssertionError, match="remembered"):
            node({**schema, "required": ["once"]})
    assert form({**JSON, "responseJsonSchema": {"type": "object", "properties": {}}}) is not None
    assert refusal({**JSON, "responseJsonSchema": schema}).field is not None  # another language
    assert refusal({**JSON, "responseJsonSchema": schema}).field is not None


def test_a_stop_sequence_may_not_cut_a_choice() -> None:
    choices = {**ENUM, "responseSchema": {"type": "STRING", "enum": ["left", "right"]}}
    error = refusal({**choices, "stopSequences": ["x", "ef"]})
    assert error.field == "generationConfig.stopSequences[1]"
    body = {"contents": "hi", "generationConfig": {**choices, "stopSequences": ["x", "."]}}
    assert parse_prompt(msgspec.json.encode(body), "m").sampling.stop == ()


def test_a_keyword_of_a_schema_in_both_spellings_is_refused() -> None:
    schema = {"type": "ARRAY", "items": {"type": "STRING"}, "maxItems": 3, "max_items": 2}
    error = refusal({**JSON, "responseSchema": schema})
    assert error.field == "generationConfig.responseSchema.max_items"
    assert "other spelling" in error.message
