"""The one document that shows a batch, in every state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Raw, Struct, field, json

from nightrate.clock import rfc3339
from nightrate.dialects.gemini_shapes import Status
from nightrate.domain.batch import Batch, BatchForm
from nightrate.domain.file import result_file_id
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.errors import Code


class Items:
    """Marks where the inline items go, joined by commas."""

    def __repr__(self) -> str:
        """Name the marker."""
        return "ITEMS"


ITEMS: Final = Items()

_PLACE = b'"\\u0049TEMS"'
"""Stands for the items while a document is written. No encoder escapes an ``I``, so no client's
text can look like it."""

_TYPES = "type.googleapis.com/google.ai.generativelanguage.v1main."

_WIRE_STATES: Final = {
    BatchState.SUBMITTED: "PENDING",
    BatchState.PLANNED: "PENDING",
    BatchState.RUNNING: "RUNNING",
    BatchState.SUCCEEDED: "SUCCEEDED",
    BatchState.FAILED: "FAILED",
    BatchState.CANCELLED: "CANCELLED",
    BatchState.EXPIRED: "EXPIRED",
}


class _Input(Struct, rename="camel"):
    file_name: str


class _Stats(Struct, rename="camel", omit_defaults=True):
    request_count: str | None = None
    pending_request_count: str | None = None
    successful_request_count: str | None = None
    failed_request_count: str | None = None


class _Output(Struct, rename="camel", omit_defaults=True):
    type: str | None = field(name="@type", default=None)
    inlined_responses: Raw | None = None
    responses_file: str | None = None


class _Destination(Struct, rename="camel", omit_defaults=True):
    inlined_responses: Raw | None = None
    file_name: str | None = None


class _Metadata(Struct, rename="camel", omit_defaults=True, kw_only=True):
    type: str = field(name="@type")
    model: str
    display_name: str
    input_config: _Input | None = None
    create_time: str
    update_time: str
    end_time: str | None = None
    batch_stats: _Stats
    state: str
    batch_state: str
    priority: str | None = None
    name: str
    output: _Output | None = None


class _Document(Struct, omit_defaults=True, kw_only=True):
    name: str
    done: bool
    state: str
    metadata: _Metadata
    error: Status | None = None
    response: _Output | None = None
    dest: _Destination | None = None


class _Page(Struct, rename="camel", omit_defaults=True):
    operations: list[_Document] = []
    next_page_token: str | None = None


def render_batch(batch: Batch, *, listed: bool = False) -> list[bytes | Items]:
    """Write the document of a batch.

    Args:
        batch: in any state.
        listed: whether it stands in a list, where inline results are left out.

    Returns:
        pieces to send one after the other, with `ITEMS` wherever the inline items go: three times
        for an inline batch that succeeded, else never.
    """
    text = json.format(json.encode(_document(batch, listed=listed)), indent=2)
    pieces: list[bytes | Items] = []
    for piece in text.split(_PLACE):
        pieces += (piece, ITEMS)
    return pieces[:-1]


def render_batches(batches: Iterable[Batch], next_token: str | None) -> bytes:
    """Write one page of batches. Pass no token with the last page: clients would never end."""
    page = _Page([_document(batch, listed=True) for batch in batches], next_token)
    return json.format(json.encode(page), indent=2)


def _document(batch: Batch, *, listed: bool) -> _Document:
    name = f"batches/{batch.batch_id}"
    state = _WIRE_STATES[batch.state]
    response, destination = _results(batch, listed=listed)
    output = None
    if response is not None and (response.inlined_responses or response.responses_file):
        output = _Output(None, response.inlined_responses, response.responses_file)
    input_file = f"files/{batch.input_file_id}" if batch.input_file_id else None
    return _Document(
        name=name,
        done=batch.state in FINAL_STATES,
        state=f"JOB_STATE_{state}",
        metadata=_Metadata(
            type=f"{_TYPES}GenerateContentBatch",
            model=f"models/{batch.model}",
            display_name=batch.display_name,
            input_config=_Input(input_file) if input_file else None,
            create_time=rfc3339(batch.created_at),
            update_time=rfc3339(batch.updated_at),
            end_time=None if batch.ended_at is None else rfc3339(batch.ended_at),
            batch_stats=_stats(batch),
            state=f"JOB_STATE_{state}",
            batch_state=f"BATCH_STATE_{state}",
            priority=str(batch.priority) if batch.priority else None,
            name=name,
            output=output,
        ),
        error=_error(batch),
        response=response,
        dest=destination,
    )


def _stats(batch: Batch) -> _Stats:
    tally = batch.tally
    stats = _Stats(
        successful_request_count=str(tally.succeeded), failed_request_count=str(tally.failed)
    )
    if batch.request_count is not None:
        pending = batch.request_count - tally.succeeded - tally.failed
        stats.request_count = str(batch.request_count)
        stats.pending_request_count = str(pending)
    return stats


def _results(batch: Batch, *, listed: bool) -> tuple[_Output | None, _Destination | None]:
    """Give ``response`` and ``dest``; only a batch that succeeded has results."""
    if batch.state is not BatchState.SUCCEEDED:
        return None, None
    kind = f"{_TYPES}GenerateContentBatchOutput"
    if batch.form is BatchForm.FILE:
        name = f"files/{result_file_id(batch.batch_id)}"
        return _Output(kind, None, name), _Destination(None, name)
    if listed:
        return _Output(kind), None
    items = b"[" + _PLACE + b"]"
    nested = Raw(b'{"inlinedResponses":' + items + b"}")
    return _Output(kind, nested), _Destination(Raw(items))


def _error(batch: Batch) -> Status | None:
    if batch.state is BatchState.CANCELLED:
        return Status(int(Code.CANCELLED), "The batch was cancelled.")
    if batch.state is BatchState.EXPIRED:
        return Status(int(Code.DEADLINE_EXCEEDED), "The batch expired before it was finished.")
    if batch.state is BatchState.FAILED:
        assert batch.failure is not None, "a failed batch says why"
        return Status(int(batch.failure.code), batch.failure.message)
    return None
