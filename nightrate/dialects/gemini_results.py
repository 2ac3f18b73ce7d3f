"""Answers to lines of batch files and to inline items."""

from __future__ import annotations

import re

from msgspec import Raw, json

from nightrate.dialects.gemini_replies import response_of
from nightrate.dialects.gemini_shapes import Status
from nightrate.dialects.gemini_vectors import embedded_content
from nightrate.dialects.row import Echo
from nightrate.domain.batch import BatchForm
from nightrate.domain.embedding import Embedding
from nightrate.domain.generation import Outcome, Reply

_decode = json.Decoder().decode
_decode_members = json.Decoder(dict[str, Raw]).decode
_decode_strings = json.Decoder(dict[str, str]).decode
_encode = json.Encoder().encode


def render_line(echo: Echo, outcome: Outcome, form: BatchForm, response_id: str) -> bytes:
    """Write the answer to one line or inline item: ASCII, compact, without a line end.

    Args:
        echo: what the client wants back.
        outcome: how the request ended.
        form: a line of a result file, or an inline item, whose ``metadata`` become strings.
        response_id: an opaque id, used when there is a reply.
    """
    pieces: list[bytes] = []
    if isinstance(outcome, Reply):
        response = response_of(outcome, response_id, ascii_only=True)
        pieces += (b'{"response":', _encode(response))
    elif isinstance(outcome, Embedding):
        pieces += (b'{"response":', _encode(embedded_content(outcome)))
    else:
        name = outcome.code.name if form is BatchForm.FILE else None
        pieces += (b'{"error":', _encode(Status(int(outcome.code), outcome.message, name)))
    if form is BatchForm.FILE:
        if echo.key is not None:
            pieces += (b',"key":', echo.key)
        if echo.metadata is not None:
            pieces += (b',"metadata":', echo.metadata)
        for member, value in echo.extras.items():
            pieces += (b",", _encode(member), b":", value)
    elif echo.metadata is not None:
        pieces += (b',"metadata":', _strings(echo.metadata))
    pieces.append(b"}")
    line = b"".join(pieces)
    return escaped(line)


def _strings(metadata: bytes) -> bytes:
    """Make every value a string, as the official clients demand: else its JSON text."""
    try:
        _decode_strings(metadata)
    except ValueError:
        return _encode(
            {
                name: _decode(raw) if bytes(raw).startswith(b'"') else bytes(raw).decode()
                for name, raw in _decode_members(metadata).items()
            }
        )
    return metadata


_NOT_ASCII = re.compile("[^\x00-\x7f]+")


def escaped(text: bytes) -> bytes:
    """Escape what is not ASCII: readers that cut at U+2028 or U+0085 would break a line there."""
    if text.isascii():
        return text
    return _NOT_ASCII.sub(_escaped, text.decode()).encode("ascii")


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be").hex("-", 2)
    return "\\u" + units.replace("-", "\\u")
