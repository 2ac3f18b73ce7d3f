"""The one document that shows a batch, in every state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Raw, Struct, field, json

from nightrate.clock import rfc3339
from nightrate.dialects.gemini_answer_shapes import UsageMetadata
from nightrate.dialects.gemini_profiles import Profile
from nightrate.dialects.gemini_shapes import Status
from nightrate.dialects.receipts import ReceiptDocument, receipt_document
from nightrate.domain.batch import Batch, BatchForm, Method
from nightrate.domain.file import result_file_id
from nightrate.domain.outlook import Outlook
from nightrate.domain.receipt import receipt_of
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

_TYPES: Final = {
    Method.GENERATE: "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
    Method.EMBED: "type.googleapis.com/google.ai.generativelanguage.v1main.EmbedContentBatch",
}

WIRE_STATES: Final = {
    BatchState.SUBMITTED: "PENDING",
    BatchState.PLANNED: "PENDING",
    BatchState.RUNNING: "RUNNING",
    BatchState.SUCCEEDED: "SUCCEEDED",
    BatchState.FAILED: "FAILED",
    BatchState.CANCELLED: "CANCELLED",
    BatchState.EXPIRED: "EXPIRED",
}
"""What follows ``BATCH_STATE_`` and ``JOB_STATE_``."""


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
    inlined_embed_content_responses: Raw | None = None


class _Destination(Struct, rename="camel", omit_defaults=True):
    inlined_responses: Raw | None = None
    inlined_embed_content_responses: Raw | None = None
    file_name: str | None = None


class _Range(Struct):
    low: int
    high: int


class _Nightrate(Struct, omit_defaults=True, kw_only=True):
    """What the original does not tell."""

    reason: str | None = None
    """Why it is where it is; of one that has ended, what is still done about it."""
    queue_position: int | None = field(name="queuePosition", default=None)
    """How many batches of its engine come before it."""
    eta_seconds: _Range | None = field(name="etaSeconds", default=None)
    """Until its last answer, as things are going."""
    deadline: str
    """When the batch expires if it has not ended."""
    usage: UsageMetadata
    """Of the answers so far, added up."""
    receipt: ReceiptDocument | None = None


class _Metadata(Struct, rename="camel", omit_defaults=True, kw_only=True):
    type: str | None = field(name="@type", default=None)
    model: str
    display_name: str
    input_config: _Input | None = None
    create_time: str
    update_time: str
    end_time: str | None = None
    batch_stats: _Stats
    state: str
    batch_state: str | None = None
    priority: str | None = None
    name: str
    output: _Output | None = None
    nightrate: _Nightrate | None = None


class _Document(Struct, omit_defaults=True, kw_only=True):
    name: str
    done: bool
    state: str | None = None
    metadata: _Metadata
    error: Status | None = None
    response: _Output | None = None
    dest: _Destination | None = None


class _Page(Struct, rename="camel", omit_defaults=True):
    operations: list[_Document] = []
    next_page_token: str | None = None


def render_batch(
    batch: Batch,
    *,
    listed: bool = False,
    profile: Profile = Profile.DOCUMENTED,
    outlook: Outlook | None = None,
) -> list[bytes | Items]:
    """Write the document of a batch.

    Args:
        batch: in any state.
        listed: whether it stands in a list, where inline results are left out.
        profile: which reading of the protocol the client follows.
        outlook: where it stands; None if there is nothing to say.

    Returns:
        pieces to send one after the other, with `ITEMS` wherever the inline items go: up to three
        times for an inline batch with results, else never.
    """
    document = _document(batch, outlook, listed=listed, profile=profile)
    text = json.format(json.encode(document), indent=2)
    pieces: list[bytes | Items] = []
    for piece in text.split(_PLACE):
        pieces += (piece, ITEMS)
    return pieces[:-1]


def render_batches(
    batches: Iterable[tuple[Batch, Outlook | None]],
    next_token: str | None,
    profile: Profile = Profile.DOCUMENTED,
) -> bytes:
    """Write one page of batches, each with where it stands.

    Pass no token with the last page: clients would never end.
    """
    documents = [
        _document(batch, outlook, listed=True, profile=profile) for batch, outlook in batches
    ]
    return json.format(json.encode(_Page(documents, next_token)), indent=2)


def render_batch_resource(
    batch: Batch, profile: Profile = Profile.DOCUMENTED, outlook: Outlook | None = None
) -> bytes:
    """Write the batch itself, which answers a change of it; inline results are left out."""
    resource = _document(batch, outlook, listed=True, profile=profile).metadata
    resource.type = None
    return json.format(json.encode(resource), indent=2)


def _document(
    batch: Batch, outlook: Outlook | None, *, listed: bool, profile: Profile
) -> _Document:
    name = f"batches/{batch.batch_id}"
    exact = profile is Profile.EXACT
    wire_state = f"BATCH_STATE_{WIRE_STATES[batch.state]}"
    state = wire_state if exact else f"JOB_STATE_{WIRE_STATES[batch.state]}"
    response, destination = _results(batch, listed=listed)
    input_file = f"files/{batch.input_file_id}" if batch.input_file_id else None
    return _Document(
        name=name,
        done=batch.state in FINAL_STATES,
        state=None if exact else state,
        metadata=_Metadata(
            type=_TYPES[batch.kind.method],
            model=f"models/{batch.model}",
            display_name=batch.display_name,
            input_config=_Input(input_file) if input_file else None,
            create_time=rfc3339(batch.created_at),
            update_time=rfc3339(batch.updated_at),
            end_time=None if batch.ended_at is None else rfc3339(batch.ended_at),
            batch_stats=_stats(batch, zeros=not exact),
            state=state,
            batch_state=None if exact else wire_state,
            priority=str(batch.priority) if batch.priority else None,
            name=name,
            output=_output(batch, response),
            nightrate=None if exact else _nightrate(batch, outlook),
        ),
        error=_error(batch),
        # An operation has either an error or a response; partial results stand in the metadata.
        response=response if batch.state is BatchState.SUCCEEDED else None,
        dest=None if exact else destination,
    )


def _nightrate(batch: Batch, outlook: Outlook | None) -> _Nightrate:
    tally, receipt = batch.tally, receipt_of(batch)
    eta_seconds = None if outlook is None else outlook.eta_seconds
    return _Nightrate(
        reason=None if outlook is None else outlook.reason,
        queue_position=None if outlook is None else outlook.queue_position,
        eta_seconds=None if eta_seconds is None else _Range(*eta_seconds),
        deadline=rfc3339(batch.expires_at),
        usage=UsageMetadata(
            tally.prompt_tokens,
            tally.output_tokens - tally.thought_tokens,
            tally.prompt_tokens + tally.output_tokens,
            tally.cached_tokens,
            thoughts_token_count=tally.thought_tokens,
        ),
        receipt=None if receipt is None else receipt_document(receipt),
    )


def _stats(batch: Batch, *, zeros: bool) -> _Stats:
    """Count the requests; the original leaves out what is zero."""

    def shown(count: int) -> str | None:
        return str(count) if count or zeros else None

    tally = batch.tally
    stats = _Stats(
        successful_request_count=shown(tally.succeeded), failed_request_count=shown(tally.failed)
    )
    if batch.request_count is not None:
        stats.request_count = shown(batch.request_count)
        stats.pending_request_count = shown(batch.request_count - tally.succeeded - tally.failed)
    return stats


def _results(batch: Batch, *, listed: bool) -> tuple[_Output | None, _Destination | None]:
    """Give ``response`` and ``dest``, if the batch has results."""
    if not batch.has_results:
        return None, None
    kind = f"{_TYPES[batch.kind.method]}Output"
    if batch.form is BatchForm.FILE:
        name = f"files/{result_file_id(batch.batch_id)}"
        return _Output(kind, None, name), _Destination(file_name=name)
    if listed:
        return _Output(kind), None
    items = b"[" + _PLACE + b"]"
    nested = Raw(b'{"inlinedResponses":' + items + b"}")
    if batch.kind.method is Method.EMBED:
        return _Output(kind, nested), _Destination(inlined_embed_content_responses=Raw(items))
    return _Output(kind, nested), _Destination(Raw(items))


def _output(batch: Batch, response: _Output | None) -> _Output | None:
    """Give ``metadata.output``, which the official clients read, if there is something in it.

    They tell vectors from texts by the first vector that they see. Where every request of an
    embedding batch failed there is none, so the member itself has to say what the items are.
    """
    if response is None:
        return None
    if response.responses_file:
        return _Output(None, None, response.responses_file)
    items = response.inlined_responses
    if items is None:
        return None
    if batch.kind.method is Method.EMBED and not batch.tally.succeeded:
        return _Output(inlined_embed_content_responses=items)
    return _Output(None, items)


def _error(batch: Batch) -> Status | None:
    if batch.state is BatchState.CANCELLED:
        return Status(int(Code.CANCELLED), "The batch was cancelled.")
    if batch.state is BatchState.EXPIRED:
        return Status(int(Code.DEADLINE_EXCEEDED), "The batch expired before it was finished.")
    if batch.state is BatchState.FAILED:
        assert batch.failure is not None, "a failed batch says why"
        return Status(int(batch.failure.code), batch.failure.message)
    return None
