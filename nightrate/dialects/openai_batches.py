"""Batches as OpenAI's clients create and see them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct, json

from nightrate import limits
from nightrate.clock import Instant
from nightrate.dialects.gemini_files import file_id
from nightrate.dialects.openai_endpoints import ENDPOINTS, SPELLED, method_of
from nightrate.dialects.openai_files import check_expiry
from nightrate.dialects.openai_reading import Reader
from nightrate.dialects.openai_replies import seconds
from nightrate.dialects.openai_shapes import BatchBody
from nightrate.dialects.refusals import wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.batch import Batch, BatchForm, Dialect, Order, PartialResults
from nightrate.domain.file import ResultPart, result_file_id
from nightrate.domain.states import BatchState

_HOUR_SECONDS = 3_600
_WINDOW = re.compile(r"([0-9]{1,4})h")
_HOURS = range(1, limits.BATCH_LIFETIME_SECONDS // _HOUR_SECONDS + 1)

_READER: Final = Reader(
    BatchBody,
    {
        "input_file": 'Use "input_file_id".',
        "model": 'The model stands in each line of the file, in its "body".',
        "requests": 'Upload a file of requests and give its "input_file_id".',
    },
)


class Terms(Struct):
    """What the document of a batch shows of its order, kept as it came."""

    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None


def parse_batch_order(body: bytes) -> Order:
    """Read the body that creates a batch. Its model stands in the first line of its file.

    Raises:
        BadRequest: it is malformed or a value is wrong.
    """
    asked = _READER.read(body)
    method = method_of(asked.endpoint)
    if method is None:
        served = " or ".join(f'"{SPELLED[method]}"' for method in ENDPOINTS.values())
        raise wrong("endpoint", f'"{quoted(asked.endpoint)}" is not {served}.')
    results_seconds = None
    if asked.output_expires_after is not None:
        kept = asked.output_expires_after
        results_seconds = check_expiry(kept.anchor, kept.seconds, "output_expires_after")
    _check_metadata(asked.metadata)
    return Order(
        display_name=None,
        priority=0,
        file_name=file_id(asked.input_file_id, "input_file_id"),
        inline=None,
        method=method,
        dialect=Dialect.OPENAI,
        lifetime_seconds=_lifetime_seconds(asked.completion_window),
        results_seconds=results_seconds,
        terms=json.encode(Terms(asked.endpoint, asked.completion_window, asked.metadata)),
    )


def _lifetime_seconds(window: str) -> int:
    found = _WINDOW.fullmatch(window)
    if found is None or int(found[1]) not in _HOURS:
        why = f'"{quoted(window)}" is not "{_HOURS[0]}h" to "{_HOURS[-1]}h", such as "24h".'
        raise wrong("completion_window", why)
    return int(found[1]) * _HOUR_SECONDS


def _check_metadata(metadata: dict[str, str] | None) -> None:
    if metadata is None:
        return
    if len(metadata) > limits.METADATA_PAIRS_MAX:
        why = f"there are {len(metadata)} pairs, at most {limits.METADATA_PAIRS_MAX} are allowed."
        raise wrong("metadata", why)
    for name, value in metadata.items():
        for text, what, most in (
            (name, "name", limits.METADATA_KEY_CHARACTERS_MAX),
            (value, "value", limits.METADATA_VALUE_CHARACTERS_MAX),
        ):
            if len(text) > most:
                why = f"the {what} has {len(text)} characters, at most {most} are allowed."
                raise wrong(f"metadata.{quoted(name)}", why)


class _Fault(Struct):
    code: str
    message: str
    line: int | None
    param: str | None


class _Faults(Struct):
    data: list[_Fault]
    object: Literal["list"] = "list"


class _Counts(Struct):
    total: int
    completed: int
    failed: int


class _InputDetails(Struct):
    cached_tokens: int


class _OutputDetails(Struct):
    reasoning_tokens: int


class _Usage(Struct):
    input_tokens: int
    input_tokens_details: _InputDetails
    output_tokens: int
    output_tokens_details: _OutputDetails
    total_tokens: int


class _Batch(Struct, kw_only=True):
    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str
    errors: _Faults | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: None = None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: _Counts
    usage: _Usage
    metadata: dict[str, str] | None


class _Batches(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[_Batch]
    first_id: str | None
    last_id: str | None
    has_more: bool


def render_batch(batch: Batch) -> bytes:
    """Write the document of a batch, whichever dialect its requests are written in."""
    return json.encode(_document(batch))


def render_batches(batches: Sequence[Batch], *, has_more: bool) -> bytes:
    """Write one page of batches."""
    data = [_document(batch) for batch in batches]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json.encode(_Batches(data=data, first_id=first, last_id=last, has_more=has_more))


def _document(batch: Batch) -> _Batch:
    terms = _terms(batch)
    status = _status(batch)
    ended_at = None if batch.ended_at is None else seconds(batch.ended_at)

    def at(*statuses: str) -> int | None:
        return ended_at if status in statuses else None

    return _Batch(
        id=f"batches/{batch.batch_id}",
        endpoint=terms.endpoint,
        model=batch.model,
        errors=_errors(batch),
        input_file_id=f"files/{batch.input_file_id}" if batch.input_file_id else "",
        completion_window=terms.completion_window,
        status=status,
        output_file_id=_result(batch, ResultPart.OUTPUT),
        error_file_id=_result(batch, ResultPart.ERRORS),
        created_at=seconds(batch.created_at),
        in_progress_at=None if batch.started_at is None else seconds(batch.started_at),
        expires_at=seconds(batch.expires_at),
        completed_at=at("completed"),
        failed_at=at("failed"),
        expired_at=at("expired"),
        cancelling_at=at("cancelling", "cancelled"),
        cancelled_at=at("cancelled"),
        request_counts=_Counts(batch.request_count or 0, batch.tally.succeeded, batch.tally.failed),
        usage=_usage(batch),
        metadata=terms.metadata,
    )


def _status(batch: Batch) -> str:
    """Name the state.

    Clients poll while it is ``in_progress`` and take any other word for the end, so that is what a
    batch is called from the first answer on, and while the results of an expired one are completed.
    """
    due = batch.partial is PartialResults.DUE
    if batch.state is BatchState.SUCCEEDED:
        return "completed"
    if batch.state is BatchState.FAILED:
        return "failed"
    if batch.state is BatchState.CANCELLED:
        return "cancelling" if due else "cancelled"
    return "expired" if batch.state is BatchState.EXPIRED and not due else "in_progress"


def _terms(batch: Batch) -> Terms:
    if batch.terms is not None:
        return json.decode(batch.terms, type=Terms)
    hours = (batch.expires_at - batch.created_at) // _microseconds(_HOUR_SECONDS)
    return Terms(SPELLED[batch.kind.method], f"{hours}h", None)


def _microseconds(whole_seconds: int) -> Instant:
    return whole_seconds * 1_000_000


def _result(batch: Batch, part: ResultPart) -> str | None:
    """Name a file of results, if it has a line."""
    lines = batch.tally.succeeded
    if not batch.kind.parts_failures:
        lines += batch.tally.failed
    if part is ResultPart.ERRORS:
        lines = batch.tally.failed if batch.kind.parts_failures else 0
    if not (lines and batch.has_results and batch.form is BatchForm.FILE):
        return None
    return f"files/{result_file_id(batch.batch_id, part)}"


def _errors(batch: Batch) -> _Faults | None:
    if batch.state is not BatchState.FAILED:
        return None
    if batch.faults:
        return _Faults([_Fault(f.code, f.message, f.line, f.field) for f in batch.faults])
    assert batch.failure is not None, "a failed batch says why"
    failure = batch.failure
    return _Faults([_Fault(failure.code.name.lower(), failure.message, None, failure.field)])


def _usage(batch: Batch) -> _Usage:
    tally = batch.tally
    return _Usage(
        tally.prompt_tokens,
        _InputDetails(tally.cached_tokens),
        tally.output_tokens,
        _OutputDetails(tally.thought_tokens),
        tally.prompt_tokens + tally.output_tokens,
    )
