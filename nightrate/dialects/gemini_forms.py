"""Which form Gemini's generation settings demand of an answer's text."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from nightrate.dialects.gemini_options import names_below, refusal_of
from nightrate.dialects.gemini_schemas import json_schema_from
from nightrate.dialects.gemini_shapes import GenerationConfig
from nightrate.dialects.gemini_values import name_in, object_in
from nightrate.dialects.json_schema import schema_of_client
from nightrate.dialects.refusals import members_of, within, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.schema import AnyValue, Choice, ChoiceForm, Form, JSONForm, Schema
from nightrate.errors import Refused

_TEXT: Final = "text/plain"
_JSON: Final = "application/json"
_ENUM: Final = "text/x.enum"
_MIME_TYPES: Final = {"": _TEXT, _TEXT: _TEXT, _JSON: _JSON, _ENUM: _ENUM}
_FORMATS: Final = {
    "": _TEXT,
    _TEXT.upper(): _TEXT,
    _JSON.upper(): _JSON,
    "TEXT_PLAIN": _TEXT,
    "APPLICATION_JSON": _JSON,
    "MIME_TYPE_UNSPECIFIED": _TEXT,
}
_NO_SCHEMA: Final = Schema(AnyValue())
_PLACE: Final = "generationConfig"
_asked = attrgetter(
    *("response_mime_type", "response_schema", "response_json_schema"),
    *("_response_json_schema", "response_format"),
)
_NOTHING: Final = (None,) * 5
_OF_FORMAT: Final = names_below(f"{_PLACE}.responseFormat")
_OF_TEXT: Final = names_below(f"{_PLACE}.responseFormat.text")


def form_of(config: GenerationConfig) -> Form | None:
    """Find the form of the answer; None when it is free text.

    Raises:
        BadRequest: a setting is unknown or wrong, or two of them contradict each other.
        NotSupported: a schema says what cannot be honoured, or the answer is no text.
    """
    asked = _asked(config)
    if asked == _NOTHING:
        return None
    if config.response_format not in (None, {}):
        return _of_format(config.response_format, beside=asked[:-1])
    name = config.response_mime_type or ""
    mime_type = _MIME_TYPES.get(name)
    if mime_type is None:
        raise wrong("responseMimeType", f'"{quoted(name)}" is not known.')
    written = {
        name: tree
        for name, tree in (
            ("responseSchema", asked[1]),
            ("responseJsonSchema", asked[2]),
            ("_responseJsonSchema", asked[3]),
        )
        if tree not in (None, {})
    }
    if not written:
        if mime_type == _ENUM:
            raise wrong("responseMimeType", f'"{_ENUM}" needs a "responseSchema" with an enum.')
        return None if mime_type == _TEXT else JSONForm(_NO_SCHEMA, f"{_PLACE}.responseMimeType")
    (name, tree), *more = written.items()
    if more:
        raise wrong(more[0][0], f'there is a "{name}" already.')
    if mime_type == _TEXT:
        raise wrong(name, f'it needs a "responseMimeType" of "{_JSON}" or "{_ENUM}".')
    schema = _schema(tree, name)
    return _choices(schema, name) if mime_type == _ENUM else JSONForm(schema, f"{_PLACE}.{name}")


def _of_format(tree: object, beside: tuple[object, ...]) -> Form | None:
    """Read the newer way to say it: ``{"text": {"mimeType", "schema"}}``."""
    field = "responseFormat"
    members = members_of(tree, field, _OF_FORMAT)
    for name in ("image", "audio"):
        if members.get(name) not in (None, {}):
            raise refusal_of(f"{_PLACE}.{field}.{name}", f"{field}.{name}")
    if any(one not in (None, "", {}) for one in beside):
        raise wrong(field, "the form of the answer is set beside it as well.")
    text = object_in(members, "text", field, _OF_TEXT)
    field = f"{field}.text"
    mime_type = _FORMATS[name_in(text, "mimeType", field, _FORMATS)]
    field = f"{field}.schema"
    if text.get("schema") in (None, {}):
        place = f"{_PLACE}.responseFormat.text.mimeType"
        return None if mime_type == _TEXT else JSONForm(_NO_SCHEMA, place)
    if mime_type == _TEXT:
        raise wrong(field, 'it needs a "mimeType" of "APPLICATION_JSON".')
    return JSONForm(_schema(text["schema"], field), f"{_PLACE}.{field}")


def _schema(tree: object, name: str) -> Schema:
    try:
        return schema_of_client(tree, json_schema_from if name == "responseSchema" else None)
    except Refused as error:
        raise within(error, name) from error


def _choices(schema: Schema, name: str) -> ChoiceForm:
    node = schema.root
    values = node.values if isinstance(node, Choice) else ()
    choices = tuple(value for value in values if isinstance(value, str) and value)
    if not choices or len(choices) < len(values):
        raise wrong(name, f'for "{_ENUM}" it must be an enum of texts that are not empty.')
    return ChoiceForm(choices, f"{_PLACE}.{name}")
