"""A schema for every keyword, and what shows that an answer keeps it.

Whatever is kept afterwards only is bound to hold, so that no model has to be asked again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_TRUTH = {"type": "boolean"}
_WORD = {"type": "string"}
_DEFINED = {"$ref": "#/$defs/truth", "$defs": {"truth": _TRUTH}}


def _object(*names: str, required: tuple[str, ...], **keywords: Any) -> dict[str, Any]:
    properties = dict.fromkeys(names, _TRUTH)
    return {"type": "object", "properties": properties, "required": list(required), **keywords}


def _list(**keywords: Any) -> dict[str, Any]:
    return {"type": "array", "items": _TRUTH, **keywords}


_KEPT_BY_BOTH: dict[str, dict[str, Any]] = {
    "type": _TRUTH,
    "format": {**_WORD, "format": "date"},
    "description": {**_TRUTH, "description": "Whether it rains."},
    "enum": {**_WORD, "enum": ["left", "right"]},
    "items": _list(maxItems=2),
    "minItems": _list(minItems=3, maxItems=3),
    "maxItems": _list(maxItems=0),
    "properties": _object("nightTrain", required=("nightTrain",)),
    "required": _object("a", "b", required=("b",)),
    "minProperties": _object("a", "b", required=("a", "b"), minProperties=2),
    "maxProperties": _object("a", required=("a",), maxProperties=1),
    "propertyOrdering": _object("b", "a", required=("a", "b"), propertyOrdering=["a", "b"]),
    "minimum": {"type": "integer", "minimum": 40, "maximum": 50},
    "maximum": {"type": "integer", "minimum": -9, "maximum": -2},
    "minLength": {**_WORD, "minLength": 7, "maxLength": 9},
    "maxLength": {**_WORD, "maxLength": 2},
    "pattern": {**_WORD, "pattern": "^[a-c]{2,4}$"},
    "anyOf": {"anyOf": [{"type": "null"}, _TRUTH]},
}
_KEPT_BY_JSON: dict[str, dict[str, Any]] = {
    "const": {"const": "left"},
    "prefixItems": {"type": "array", "prefixItems": [_TRUTH], "items": False, "minItems": 1},
    "uniqueItems": _list(maxItems=1, uniqueItems=True),
    "additionalProperties": {"type": "object", "additionalProperties": False},
    "exclusiveMinimum": {"type": "integer", "exclusiveMinimum": 4, "maximum": 9},
    "exclusiveMaximum": {"type": "integer", "minimum": -9, "exclusiveMaximum": -3},
    "multipleOf": {"type": "integer", "minimum": 6, "maximum": 6, "multipleOf": 3},
    "oneOf": {"oneOf": [{"type": "null"}, _TRUTH]},
    "allOf": {"allOf": [_TRUTH]},
    "$ref": _DEFINED,
    "$defs": _DEFINED,
    "definitions": {"$ref": "#/definitions/truth", "definitions": {"truth": _TRUTH}},
}
_COMMENTS_OF_BOTH: dict[str, Any] = {"title": "Truth", "default": True, "example": True}
_COMMENTS_OF_JSON: dict[str, Any] = {
    "examples": [True],
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.com/truth",
    "$comment": "A truth.",
    "$anchor": "truth",
    "deprecated": True,
    "readOnly": True,
    "writeOnly": True,
    "discriminator": {"propertyName": "kind"},
}
_REFUSED_BY_JSON: dict[str, Any] = {
    "nullable": True,
    **dict.fromkeys(("not", "if", "then", "else", "contains", "propertyNames"), _TRUTH),
    **dict.fromkeys(("minContains", "maxContains"), 1),
    "patternProperties": {"a": _TRUTH},
    "dependentSchemas": {"a": _TRUTH},
    "dependentRequired": {"a": ["b"]},
    **dict.fromkeys(("unevaluatedItems", "unevaluatedProperties"), False),
    "contentEncoding": "base64",
    "contentMediaType": "image/png",
    "$dynamicRef": "#truth",
}


def _asking(member: str, schemas: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give a request for each schema, by the path of its keyword."""
    return {
        f"generationConfig.{member}.{name}": {
            "contents": [{"parts": [{"text": "Say hello."}]}],
            "generationConfig": {"responseMimeType": "application/json", member: schema},
        }
        for name, schema in schemas.items()
    }


def _marked(keywords: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {**_TRUTH, name: value} for name, value in keywords.items()}


SCHEMA_SAMPLES: dict[str, dict[str, Any]] = {
    **_asking("responseSchema", {**_KEPT_BY_BOTH, "nullable": {**_TRUTH, "nullable": True}}),
    **_asking("responseSchema", _marked(_COMMENTS_OF_BOTH)),
    **_asking("responseJsonSchema", {**_KEPT_BY_BOTH, **_KEPT_BY_JSON}),
    **_asking("responseJsonSchema", _marked({**_COMMENTS_OF_BOTH, **_COMMENTS_OF_JSON})),
    **_asking("responseJsonSchema", {"x-...": {**_TRUTH, "x-note": 1}}),
    **_asking("responseJsonSchema", _marked(_REFUSED_BY_JSON)),
}
"""By the path of the keyword."""


def _true_or_false(value: Any) -> bool:
    return isinstance(value, bool)


def _flags(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list) and least <= len(value) <= most and all(map(_true_or_false, value))
    )


def _within(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and low <= value <= high


def _word(pattern: str) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None
    )


def _named(*names: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and tuple(value) == names


def _null_or_truth(value: Any) -> bool:
    return value is None or isinstance(value, bool)


KEEPS: dict[str, Callable[[Any], bool]] = {
    "type": _true_or_false,
    "format": _word(r"\d{4}-\d\d-\d\d"),
    "description": _true_or_false,
    "nullable": _null_or_truth,
    "enum": _word("left|right"),
    "items": _flags(0, 2),
    "minItems": _flags(3, 3),
    "maxItems": _flags(0, 0),
    "properties": _named("nightTrain"),
    "required": lambda value: "b" in value and set(value) <= {"a", "b"},
    "minProperties": lambda value: set(value) == {"a", "b"},
    "maxProperties": _named("a"),
    "propertyOrdering": _named("a", "b"),
    "minimum": _within(40, 50),
    "maximum": _within(-9, -2),
    "minLength": _word(".{7,9}"),
    "maxLength": _word(".{0,2}"),
    "pattern": _word("[a-c]{2,4}"),
    "anyOf": _null_or_truth,
    "const": _word("left"),
    "prefixItems": _flags(1, 1),
    "uniqueItems": _flags(0, 1),
    "additionalProperties": _named(),
    "exclusiveMinimum": _within(5, 9),
    "exclusiveMaximum": _within(-9, -4),
    "multipleOf": _within(6, 6),
    "oneOf": _null_or_truth,
    "allOf": _true_or_false,
    "$ref": _true_or_false,
    "$defs": _true_or_false,
    "definitions": _true_or_false,
}
"""By keyword: whether a value is as the sample demands."""
