"""Lines of batch files and inline items, read into prompts and passages.

Four forms of a line are read: ``{"key", "request"}``, the bare request, the request with
``metadata`` that holds the key, and any of these with further members, which are echoed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Raw, Struct, json, structs

from nightrate import limits
from nightrate.dialects import tolerant
from nightrate.dialects.gemini_embedding_shapes import EmbedContentConfig, EmbedContentRequest
from nightrate.dialects.gemini_passages import passage_from_tree, passage_of
from nightrate.dialects.gemini_plain import PlainRequest, plain_prompt
from nightrate.dialects.gemini_plain_passages import PlainPassageRequest, plain_passage
from nightrate.dialects.gemini_prompts import bare_model, prompt_from_tree, prompt_of
from nightrate.dialects.gemini_shapes import (
    GenerateContentRequest,
    GenerationConfig,
    InlineItem,
    Line,
)
from nightrate.dialects.refusals import located, wrong
from nightrate.dialects.row import Echo, ParsedLine
from nightrate.dialects.spelling import camel, quoted, unknown_name
from nightrate.domain.batch import BatchForm
from nightrate.domain.generation import Asked, Failure
from nightrate.errors import BadRequest, Refused

_NO_ECHO: Final = Echo()
_FILE: Final = BatchForm.FILE  # looking it up each time takes longer than the comparison

_decode_members = json.Decoder(dict[str, Raw]).decode
_decode = json.Decoder().decode

_WHERE: Final = {BatchForm.FILE: "Error on line", BatchForm.INLINE: "Error in request"}
_OURS: Final = ("response", "error")
"""Members of an output line, which no client may occupy."""
_NO_EXTRAS: Final = ("key", "metadata", "request", *_OURS)

_HARMLESS: Final = ("model", "labels", "store", "serviceTier", "continuationToken")
_KEY_INLINE = 'Use "metadata": {"key": ...}.'
_INTO_REQUEST = 'Move it inside "request".'
_INTO_CONFIG = 'Put the settings inside "request", as "generationConfig".'
_INTO_EMBEDDING = 'Put the settings inside "request", as "taskType" and the like.'


def _members_of(shape: type[Struct], *, but: tuple[str, ...] = ()) -> list[str]:
    """Name the members of a shape as the wire has them."""
    return [member.encode_name for member in structs.fields(shape) if member.encode_name not in but]


class _Reading(Struct, frozen=True):
    """How the requests of one method stand in lines and items."""

    decode_plain_line: Callable[[bytes], Line[Any]]
    decode_plain_item: Callable[[bytes], InlineItem[Any]]
    asked_plainly: Callable[[Any, str], Asked]
    decode_line: Callable[[bytes], Line[Any]]
    decode_item: Callable[[bytes], InlineItem[Any]]
    asked_of: Callable[[Any, str], Asked]
    asked_from_tree: Callable[[object, str, str], Asked]
    main_member: str
    bare: frozenset[str]
    """Members that tell a bare request, in either spelling."""
    misplaced: Mapping[str, str]
    """Members that would be dropped in silence if they were echoed beside ``request``."""
    inline_remedies: Mapping[str, str]


def _bare(shape: type[Struct]) -> frozenset[str]:
    return frozenset(
        name
        for member in structs.fields(shape)
        if member.encode_name != "model"
        for name in (member.name, member.encode_name)
    )


_GENERATION: Final = _Reading(
    decode_plain_line=json.Decoder(Line[PlainRequest]).decode,
    decode_plain_item=json.Decoder(InlineItem[PlainRequest]).decode,
    asked_plainly=plain_prompt,
    decode_line=json.Decoder(Line[GenerateContentRequest]).decode,
    decode_item=json.Decoder(InlineItem[GenerateContentRequest]).decode,
    asked_of=prompt_of,
    asked_from_tree=prompt_from_tree,
    main_member="contents",
    bare=_bare(GenerateContentRequest),
    misplaced={
        **dict.fromkeys(
            _members_of(GenerationConfig), 'Move it inside "request", into "generationConfig".'
        ),
        **dict.fromkeys(_members_of(GenerateContentRequest, but=_HARMLESS), _INTO_REQUEST),
        "config": _INTO_CONFIG,
        "systemInstructions": 'Move it inside "request", as "systemInstruction".',
    },
    inline_remedies={
        "key": _KEY_INLINE,
        "config": _INTO_CONFIG,
        **dict.fromkeys(_members_of(GenerateContentRequest), _INTO_REQUEST),
    },
)
_EMBEDDING: Final = _Reading(
    decode_plain_line=json.Decoder(Line[PlainPassageRequest]).decode,
    decode_plain_item=json.Decoder(InlineItem[PlainPassageRequest]).decode,
    asked_plainly=plain_passage,
    decode_line=json.Decoder(Line[EmbedContentRequest]).decode,
    decode_item=json.Decoder(InlineItem[EmbedContentRequest]).decode,
    asked_of=passage_of,
    asked_from_tree=passage_from_tree,
    main_member="content",
    bare=_bare(EmbedContentRequest),
    misplaced={
        **dict.fromkeys(
            _members_of(EmbedContentConfig), 'Move it inside "request", into "embedContentConfig".'
        ),
        **dict.fromkeys(_members_of(EmbedContentRequest, but=("model",)), _INTO_REQUEST),
        "config": _INTO_EMBEDDING,
    },
    inline_remedies={
        "key": _KEY_INLINE,
        "config": _INTO_EMBEDDING,
        **dict.fromkeys(_members_of(EmbedContentRequest), _INTO_REQUEST),
    },
)

_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\."
)
"""Half a character, which many writers let slip into a text: no UTF-8 can say it. The line fails,
but its key shall be known."""


def parse_line(line: bytes | None, number: int, form: BatchForm, model: str) -> ParsedLine:
    """Read one line or inline item that asks for text; what is wrong with it becomes its failure.

    Args:
        line: the JSON text; None for a line beyond `limits.LINE_BYTES_MAX`.
        number: the number in messages, from 1.
        form: a line of a file, or an inline item.
        model: the model of the batch, without ``models/``.
    """
    return _read(line, number, form, model, _GENERATION)


def parse_line_in_full(line: bytes | None, number: int, form: BatchForm, model: str) -> ParsedLine:
    """Read a line as `parse_line` does, without the short way that plain ones go."""
    return _parse(line, number, form, model, _GENERATION)


def parse_embedding_line(
    line: bytes | None, number: int, form: BatchForm, model: str
) -> ParsedLine:
    """Read one line or inline item that asks for a vector; otherwise as `parse_line`."""
    return _read(line, number, form, model, _EMBEDDING)


def parse_embedding_line_in_full(
    line: bytes | None, number: int, form: BatchForm, model: str
) -> ParsedLine:
    """Read a line as `parse_embedding_line` does, without the short way."""
    return _parse(line, number, form, model, _EMBEDDING)


def _read(
    line: bytes | None, number: int, form: BatchForm, model: str, reading: _Reading
) -> ParsedLine:
    if line is not None:
        found = _plainly(line, form, model, reading)
        if found is not None:
            return found
    return _parse(line, number, form, model, reading)


def _plainly(line: bytes, form: BatchForm, model: str, reading: _Reading) -> ParsedLine | None:
    """Read a plain line, which almost all are, in one go; None for any other."""
    row: Line[Any] | InlineItem[Any]
    try:
        if form is _FILE:
            row = reading.decode_plain_line(line)
            echo = _plain_echo(row, line)
        else:
            row = reading.decode_plain_item(line)
            echo = _NO_ECHO
            if row.metadata:
                tolerant.check_depth_of(line)
                echo = Echo(None, _metadata(row.metadata))
    except (ValueError, RecursionError, Refused):
        return None
    return ParsedLine(echo, reading.asked_plainly(row.request, model))


def _plain_echo(row: Line[Any], line: bytes) -> Echo:
    """Take what a plain line wants back; only that can be nested too deep in it."""
    key = row.key
    if row.metadata:
        tolerant.check_depth_of(line)
        return _echo_of(key, row.metadata)
    if not key:
        return _NO_ECHO
    if type(_decode(key)) is str:
        return Echo(bytes(key))
    tolerant.check_depth_of(line)
    return Echo(_value(key))


def _parse(
    line: bytes | None, number: int, form: BatchForm, model: str, reading: _Reading
) -> ParsedLine:
    if line is None:
        most = limits.LINE_BYTES_MAX // limits.MIB
        error = BadRequest(f"it is longer than {most} MiB.")
        return _refused(_NO_ECHO, error, number, form)
    try:
        tolerant.check_depth_of(line)
        row: Line[Any] | InlineItem[Any]
        if form is BatchForm.FILE:
            row = reading.decode_line(line)
            echo = _echo_of(row.key, row.metadata)
        else:
            row = reading.decode_item(line)
            echo = Echo(None, _metadata(row.metadata)) if row.metadata else _NO_ECHO
    except (ValueError, RecursionError, Refused):
        return _parse_slowly(line, number, form, model, reading)
    try:
        return ParsedLine(echo, reading.asked_of(row.request, model))
    except Refused:  # Its path is to be spelled as it stands there.
        return _parse_slowly(line, number, form, model, reading)


def _refused(echo: Echo, error: Refused, number: int, form: BatchForm) -> ParsedLine:
    failure = Failure(error.code, f"{_WHERE[form]} {number}: {error.message}")
    return ParsedLine(echo, failure, field=error.field)


def placed(failure: Failure, line: bytes | None, number: int, form: BatchForm) -> Failure:
    """Say of a failure that showed later than at reading which row it is of, and spell its path so.

    Args:
        failure: names a field.
        line: the row, which was read well.
        number: the number in messages, from 1.
        form: a line of a file, or an inline item.
    """
    assert line is not None, "a row that was read is there"
    tree = _tree(line)
    request = tree.get("request")
    at, request = ("", tree) if request is None else ("request", request)
    error = located(BadRequest(failure.message, field=failure.field), request, at)
    return Failure(failure.code, f"{_WHERE[form]} {number}: {error.message}")


def _echo_of(key: Raw, metadata: Raw) -> Echo:
    """Take what a line of a file wants back; without a key of its own, the key in its metadata."""
    if not metadata:
        return Echo(_value(key)) if key else _NO_ECHO
    kept = _metadata(metadata)
    own = _value(key) if key else None
    if own is None and kept is not None:
        inner = _decode_members(kept).get("key")
        own = None if inner is None else _value(inner)
    return Echo(own, kept)


def _value(raw: Raw) -> bytes | None:
    """Check a raw value, which msgspec has only skipped over; null is absent."""
    value = _decode(raw)
    if value is None:
        return None
    if isinstance(value, dict | list):
        tolerant.check_depth(value)
    return tolerant.on_one_line(bytes(raw))


def _metadata(raw: Raw) -> bytes | None:
    kept = _value(raw)
    if kept is not None and not kept.startswith(b"{"):
        raise wrong("metadata", "it is not a JSON object.")
    return kept


def _parse_slowly(
    line: bytes, number: int, form: BatchForm, model: str, reading: _Reading
) -> ParsedLine:
    """Read a line that is not in the normal form, or find out what is wrong with it."""
    echo, errors = _salvage(line, form)
    try:
        tree = _tree(line)
        if errors:
            raise errors[0]
        request, at = _request(tree, form, model, reading)
        return ParsedLine(echo, reading.asked_from_tree(request, model, at))
    except Refused as error:
        return _refused(echo, error, number, form)


def _tree(line: bytes) -> dict[str, object]:
    """Decode a line fully."""
    try:
        tree = _decode(line)
    except (ValueError, RecursionError) as error:
        byte = tolerant.position(error, len(line))
        place = ""
        if byte is not None:
            place = f" near column {len(line[:byte].decode(errors='replace')) + 1}"
        raise BadRequest(f"Invalid JSON{place}: {tolerant.reason(error)}.") from error
    if not isinstance(tree, dict):
        raise BadRequest("it is not a JSON object.")
    tolerant.check_depth(tree)
    return tree


def _salvage(line: bytes, form: BatchForm) -> tuple[Echo, list[Refused]]:
    """Take what a line wants back, as far as it is sound, and say what is not."""
    members = _members(line)
    if members is None:
        return _NO_ECHO, []
    errors: list[Refused] = []
    key = _sound(members, "key", errors) if form is BatchForm.FILE else None
    metadata = _sound(members, "metadata", errors)
    if form is BatchForm.INLINE:
        return Echo(None, metadata), errors
    if key is None and metadata is not None:
        inner = _decode_members(metadata).get("key")
        key = None if inner is None else _value(inner)
    extras: dict[str, bytes] = {}
    if bytes(members.get("request", b"null")) != b"null":
        for name in members:
            if name in _NO_EXTRAS:
                continue
            value = _sound(members, name, errors)
            if value is not None:
                extras[name] = value
    return Echo(key, metadata, extras), errors


def _members(line: bytes) -> dict[str, Raw] | None:
    """Cut a line into its members, if it has the form of JSON at all."""
    for text in (line, _SURROGATE.sub(_mended, line)):
        try:
            return _decode_members(text)
        except (ValueError, RecursionError):
            continue
    return None


def _mended(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape["lone"] is None else b"\\ufffd"


def _sound(members: dict[str, Raw], name: str, errors: list[Refused]) -> bytes | None:
    raw = members.get(name)
    if raw is None:
        return None
    try:
        return _metadata(raw) if name == "metadata" else _value(raw)
    except Refused as error:
        errors.append(error)
    except (ValueError, RecursionError) as error:
        errors.append(wrong(quoted(name), f"{tolerant.reason(error)}."))
    return None


def _request(
    tree: dict[str, object], form: BatchForm, model: str, reading: _Reading
) -> tuple[object, str]:
    """Find the request in a line, and its path; refuse members that are in the wrong place."""
    request = tree.get("request")
    if form is BatchForm.INLINE:
        for name in tree:
            if name not in ("request", "metadata"):
                raise unknown_name(name, "", reading.inline_remedies)
        if request is None:
            raise BadRequest('it has no "request".')
    elif request is None:
        names = tree.keys() - {"key", "metadata", "request"}
        if not names & reading.bare:
            raise BadRequest(f'it has neither "request" nor "{reading.main_member}".')
        return {name: value for name, value in tree.items() if name in names}, ""
    else:
        _refuse_misplaced(tree, model, reading.misplaced)
    return request, "request"


def _refuse_misplaced(tree: dict[str, object], model: str, misplaced: Mapping[str, str]) -> None:
    """Refuse members beside the request that would do something inside it."""
    for name, value in tree.items():
        if name in _OURS:
            raise wrong(name, "the name is reserved for the answer.")
        if name == "model" and isinstance(value, str) and bare_model(value) != model:
            raise wrong(name, f'"{quoted(value)}" is not the model of this call, "{model}".')
        if camel(name) in misplaced:
            raise unknown_name(name, "", misplaced)
