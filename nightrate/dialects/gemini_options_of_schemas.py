"""The rows of the table of options that are about the members of schemas, in both of their kinds.

Gemini's own schemas and JSON Schema say most things with the same words; what the words of both do
is the same, so each stands here once.
"""

from __future__ import annotations

from typing import Final

from nightrate.dialects.gemini_option import Option, Treatment
from nightrate.dialects.plain_schemas import REMEDY
from nightrate.domain.generation import Capability

OWN: Final = "generationConfig.responseSchema"
JSON: Final = "generationConfig.responseJsonSchema"

_COMMENT: Final = "A comment."
_LENGTH: Final = (
    "Kept; on `openvino` and `llama_cpp` the grammar counts up to 120 characters, all different"
    " bounds of a schema and the counts of its patterns together; beyond that afterwards."
)
_ITEMS: Final = (
    "Kept; on `openvino` and `llama_cpp` the grammar counts up to 1,000, and of all in a schema up"
    " to 10,000; beyond that afterwards."
)
_MEMBERS: Final = (
    "Kept; on `openvino` and `llama_cpp` afterwards, but where the listed properties, or a most for"
    " unlisted ones, settle them."
)
_BOUND: Final = (
    "Kept; on `openvino` and `llama_cpp` numbers have up to 15 digits, and beside a bound as many"
    " decimals as it has, two at least and six at most."
)
_DEFINITIONS: Final = "Kept, of the outermost schema."

_KEPT_BY_BOTH: Final = {
    "type": "Kept, also as a list of types. Without it, keywords of one type mean that type.",
    "format": (
        "Kept: `date`, `time`, `date-time`, `uuid`, `email`, `ipv4` and `uri` of a text (lengths"
        " beside it afterwards), `int32` of a number; `int64`, `float` and `double` hold by"
        " themselves. Others are refused."
    ),
    "description": "The model is told it.",
    "enum": "Kept; its values are plain ones.",
    "items": "Kept.",
    "minItems": _ITEMS,
    "maxItems": _ITEMS,
    "properties": "Kept; an object that lists properties has no others. Names stay as written.",
    "required": "Kept; all of them are listed as properties.",
    "minProperties": _MEMBERS,
    "maxProperties": _MEMBERS,
    "propertyOrdering": "The order of the properties in the answer.",
    "minimum": _BOUND,
    "maximum": _BOUND,
    "minLength": _LENGTH,
    "maxLength": _LENGTH,
    "pattern": (
        r"Kept: characters, classes (`[a-z]`, `\d`, `\w`, `\s`, `.`), groups, alternatives and"
        " repetitions, of the whole text with or without `^` and `$`. Refused: looking ahead or"
        r" behind, back references, `\b`, `\p` and anchors in the middle. `minLength` and"
        " `maxLength` beside it are moved into its own counts; what these cannot say is kept"
        " afterwards, and so is on `openvino` and `llama_cpp` what makes a pattern costly: its"
        " counts as of `minLength`, and more than 24 repetitions without an end (`+`, `*`) in all"
        " patterns of a schema."
    ),
    "anyOf": "Kept; a `type` beside it belongs to each alternative.",
}
_KEPT_BY_OWN: Final = {"nullable": "Kept: the value may be null."}
_KEPT_BY_JSON: Final = {
    "const": "Kept; a plain value.",
    "prefixItems": "Kept.",
    "uniqueItems": "Kept afterwards.",
    "additionalProperties": (
        "Kept for an object without listed properties; beside listed ones no others are made,"
        " which is allowed."
    ),
    "exclusiveMinimum": _BOUND,
    "exclusiveMaximum": _BOUND,
    "multipleOf": "Kept afterwards.",
    "oneOf": "Read as `anyOf`.",
    "allOf": "Kept with one schema in it; refused with more.",
    "$ref": (
        "Kept: definitions of the schema itself, and `#`; a form may hold another of its own kind"
        " if it can also end."
    ),
    "$defs": _DEFINITIONS,
    "definitions": _DEFINITIONS,
}
_COMMENTS_OF_BOTH: Final = ("title", "default", "example")
_COMMENTS_OF_JSON: Final = (
    *("examples", "$schema", "$id", "$comment", "$anchor", "deprecated", "readOnly", "writeOnly"),
    *("discriminator", "x-..."),
)
_REFUSED_BY_JSON: Final = {
    "nullable": 'Use "type": [..., "null"].',
    "not": "Say what is allowed.",
    **dict.fromkeys(
        (
            *("if", "then", "else", "contains", "minContains", "maxContains", "patternProperties"),
            *("propertyNames", "dependentRequired", "dependentSchemas", "unevaluatedItems"),
            *("unevaluatedProperties", "contentEncoding", "contentMediaType", "$dynamicRef"),
        ),
        REMEDY,
    ),
}


def _rows(at: str, said: dict[str, str], treatment: Treatment) -> tuple[Option, ...]:
    needs = None if treatment is Treatment.REFUSED else Capability.SCHEMA
    return tuple(Option(f"{at}.{name}", treatment, says, needs) for name, says in said.items())


SCHEMAS: Final = (
    *_rows(OWN, {**_KEPT_BY_BOTH, **_KEPT_BY_OWN}, Treatment.HONOURED),
    *_rows(OWN, dict.fromkeys(_COMMENTS_OF_BOTH, _COMMENT), Treatment.CHECKED),
    *_rows(JSON, {**_KEPT_BY_BOTH, **_KEPT_BY_JSON}, Treatment.HONOURED),
    *_rows(
        JSON, dict.fromkeys((*_COMMENTS_OF_BOTH, *_COMMENTS_OF_JSON), _COMMENT), Treatment.CHECKED
    ),
    *_rows(JSON, _REFUSED_BY_JSON, Treatment.REFUSED),
)
