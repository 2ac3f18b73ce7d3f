"""Answers to lines of OpenAI's batch files."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, Struct, json

from nightrate.clock import Instant
from nightrate.dialects.ascii import escaped
from nightrate.dialects.openai_embeddings import PACKED, embeddings_of
from nightrate.dialects.openai_errors import error_of
from nightrate.dialects.openai_replies import completion_of
from nightrate.dialects.row import Echo, OutcomeOfRow
from nightrate.domain.batch import BatchForm
from nightrate.domain.generation import Failure, Reply
from nightrate.errors import Code

_OK = 200
_NO_ID = b"null"

_NEVER_RUN: Final = {
    Code.CANCELLED: "batch_cancelled",
    Code.DEADLINE_EXCEEDED: "batch_expired",
}
"""What a batch that ended before the request was run says of it."""


class _Response(Struct):
    status_code: int
    request_id: str
    body: Any


class _Reason(Struct):
    code: str
    message: str


class _Row(Struct):
    id: str
    custom_id: Raw
    response: _Response | None
    error: _Reason | None


def render_openai_line(
    echo: Echo, outcome: OutcomeOfRow, form: BatchForm, response_id: str, now: Instant
) -> bytes:
    """Write the answer to one line: ASCII, compact, without a line end.

    What the client would have got from a live call, an error too, is the ``body``.
    """
    assert form is BatchForm.FILE, "OpenAI has no inline batches"
    status, body = _body(echo, outcome, response_id, now)
    return _line(echo, response_id, _Response(status, response_id, body), None)


def _body(echo: Echo, outcome: OutcomeOfRow, response_id: str, now: Instant) -> tuple[int, Any]:
    if isinstance(outcome, Failure):
        return error_of(outcome)
    if isinstance(outcome, Reply):
        return _OK, completion_of(outcome, response_id, now)
    assert isinstance(outcome, tuple), (
        "rows of this dialect ask for several vectors, or one of them"
    )
    return _OK, embeddings_of(outcome, packed=PACKED in echo.extras)


def render_unasked_line(echo: Echo, why: Failure, form: BatchForm, response_id: str) -> bytes:
    """Write why a line was never run."""
    assert form is BatchForm.FILE, "OpenAI has no inline batches"
    return _line(echo, response_id, None, _Reason(_NEVER_RUN[why.code], why.message))


def _line(echo: Echo, response_id: str, response: _Response | None, error: _Reason | None) -> bytes:
    key = Raw(echo.key if echo.key is not None else _NO_ID)
    return escaped(json.encode(_Row(f"batch_req_{response_id}", key, response, error)))
