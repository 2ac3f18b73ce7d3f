"""Which form Gemini's generation settings demand of an answer's text."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from nightrate.dialects.gemini_schemas import json_schema_from
from nightrate.dialects.gemini_shapes import GenerationConfig
from nightrate.dialects.json_schema import schema_of_client
from nightrate.dialects.refusals import members_of, unserved, within, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.schema import AnyValue, Choice, ChoiceForm, Form, JSONForm, Schema
from nightrate.errors import Refused

_TEXT: Final = "text/plain"
_JSON: Final = "application/json"
_ENUM: Final = "text/x.enum"
_MIME_TYPES: Final = {"": _TEXT, _TEXT: _TEXT, _JSON: _JSON, _ENUM: _ENUM}
_FORMATS: Final = {
    **_MIME_TYPES,
    "TEXT_PLAIN": _TEXT,
    "APPLICATION_JSON": _JSON,
    "MIME_TYPE_UNSPECIFIED": _TEXT,
}
_NO_SCHEMA: Final = Schema(AnyValue())
_PLACE: Final = "generationConfig"
_asked = attrgetter(
    *("response_mime_type", "response_schema", "response_json_schema"),
    *("underscored_json_schema", "response_format"),
)
_NOTHING: Final = (None,) * 5


def form_of(config: GenerationConfig) -> Form | None:
    """Find the form of the answer; None when it is free text.

    Raises:
        BadRequest: a setting is unknown or wrong, or two of them contradict each other.
        NotSupported: a schema says what cannot be honoured, or the answer is no text.
    """
    if _asked(config) == _NOTHING:
        return None
    if config.response_format:
        return _of_format(config)
    name = config.response_mime_type or ""
    mime_type = _MIME_TYPES.get(name)
    if mime_type is None:
        raise wrong("responseMimeType", f'"{quoted(name)}" is not known.')
    written = {
        name: tree
        for name, tree in (
            ("responseSchema", config.response_schema),
            ("responseJsonSchema", config.response_json_schema),
            ("_responseJsonSchema", config.underscored_json_schema),
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


def _of_format(config: GenerationConfig) -> Form | None:
    """Read the newer way to say it: ``{"text": {"mimeType", "schema"}}``."""
    field = "responseFormat"
    members = members_of(config.response_format, field, ("text", "image", "audio"))
    for name in ("image", "audio"):
        if members.get(name):
            raise unserved(f"{field}.{name}", "Use the settings beside it.")
    others = (
        *(config.response_mime_type, config.response_schema),
        *(config.response_json_schema, config.underscored_json_schema),
    )
    if any(others):
        raise wrong(field, "the form of the answer is set beside it as well.")
    field = f"{field}.text"
    text = members_of(members.get("text") or {}, field, ("mimeType", "schema"))
    name = str(text.get("mimeType") or "")
    mime_type = _FORMATS.get(name)
    if mime_type is None or mime_type == _ENUM:
        raise wrong(f"{field}.mimeType", f'"{quoted(name)}" is not known.')
    field = f"{field}.schema"
    if not text.get("schema"):
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
