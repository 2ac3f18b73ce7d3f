"""Answers to lines of batch files and to inline items."""

from __future__ import annotations

from typing import Final

from msgspec import Raw, Struct, json

from nightrate.clock import Instant
from nightrate.dialects.ascii import escaped
from nightrate.dialects.gemini_answer_shapes import GenerateContentResponse
from nightrate.dialects.gemini_embedding_shapes import EmbeddedContent
from nightrate.dialects.gemini_items import MARK, are_strings
from nightrate.dialects.gemini_plain_results import plain_response
from nightrate.dialects.gemini_replies import response_of
from nightrate.dialects.gemini_shapes import Status
from nightrate.dialects.gemini_vectors import embedded_content
from nightrate.dialects.row import Echo, OutcomeOfRow
from nightrate.domain.batch import BatchForm
from nightrate.domain.embedding import Embedding
from nightrate.domain.generation import Failure, Reply

_encode = json.Encoder().encode
_FILE: Final = BatchForm.FILE


class _OutputLine(Struct, omit_defaults=True, gc=False):
    """The answer to a line or an item; what the client wants back is JSON text already."""

    response: GenerateContentResponse | EmbeddedContent | None = None
    error: Status | None = None
    key: Raw | None = None
    metadata: Raw | None = None


def render_line(
    echo: Echo, outcome: OutcomeOfRow, form: BatchForm, response_id: str, _now: Instant = 0
) -> bytes:
    """Write the answer to one line or inline item: ASCII, compact, without a line end.

    Args:
        echo: what the client wants back.
        outcome: how the request ended.
        form: a line of a result file, or an inline item, which is marked if an `ItemJoiner` has to
            make strings of its metadata.
        response_id: an opaque id, used when there is a reply.
    """
    if (
        isinstance(outcome, Reply)
        and form is _FILE
        and echo.metadata is None
        and not echo.extras
        and (response := plain_response(outcome, response_id)) is not None
    ):
        key = echo.key
        return escaped(response + (b"}" if key is None else b',"key":' + key + b"}"))
    return render_line_in_full(echo, outcome, form, response_id)


def render_line_in_full(
    echo: Echo, outcome: OutcomeOfRow, form: BatchForm, response_id: str
) -> bytes:
    """Write an answer as `render_line` does, without the short way that plain ones go."""
    if isinstance(outcome, Reply):
        line = _OutputLine(response_of(outcome, response_id, ascii_only=True))
    elif isinstance(outcome, Embedding):
        line = _OutputLine(embedded_content(outcome))
    else:
        assert isinstance(outcome, Failure), "a row of this dialect asks one thing"
        name = outcome.code.name if form is _FILE else None
        line = _OutputLine(error=Status(int(outcome.code), outcome.message, name))
    if echo.metadata is not None:
        line.metadata = Raw(echo.metadata)
    if form is _FILE:
        if echo.key is not None:
            line.key = Raw(echo.key)
        text = _encode(line)
        if echo.extras:
            members = (_encode(name) + b":" + value for name, value in echo.extras.items())
            text = b",".join((text[:-1], *members)) + b"}"
    else:
        text = _encode(line)
        if echo.metadata is not None and not are_strings(echo.metadata):
            text = MARK + text
    return escaped(text)
