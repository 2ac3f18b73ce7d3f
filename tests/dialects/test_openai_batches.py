"""Batches as OpenAI's client creates and reads them, in every state."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types import Batch as ReadBatch

from nightrate.dialects import openai as wire
from nightrate.domain.batch import (
    Batch,
    BatchForm,
    Dialect,
    InputFault,
    Kind,
    Method,
    Order,
    PartialResults,
)
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Tally
from nightrate.domain.states import BatchState
from nightrate.errors import BadRequest, Code

SECOND = 1_000_000
HOUR = 3600
ORDER: dict[str, Any] = {
    "input_file_id": "files/abc",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
}


def ordered(**members: Any) -> Order:
    return wire.parse_batch_order(msgspec.json.encode({**ORDER, **members}))


def make_batch(**changes: Any) -> Batch:
    whole: dict[str, Any] = {
        "tenant": "t",
        "batch_id": "b1",
        "model": "gemini-x",
        "display_name": "d",
        "kind": Kind(dialect=Dialect.OPENAI),
        "state": BatchState.SUBMITTED,
        "input_blob": "x",
        "input_file_id": "abc",
        "input_bytes": 9,
        "priority": 0,
        "request_count": None,
        "tally": Tally(),
        "created_at": 100 * SECOND,
        "updated_at": 100 * SECOND,
        "ended_at": None,
        "expires_at": (100 + 24 * HOUR) * SECOND,
        "failure": None,
        "terms": ordered(metadata={"a": "b"}).terms,
    }
    return Batch(**{**whole, **changes})


def document(batch: Batch) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(wire.render_batch(batch))
    assert ReadBatch.model_validate(found).id == "batches/b1"
    return found


def test_an_order_names_its_file_its_endpoint_and_its_time() -> None:
    order = ordered(metadata={"a": "b"})
    assert (order.file_name, order.inline, order.display_name) == ("abc", None, None)
    assert order.kind == Kind(BatchForm.FILE, Method.GENERATE, Dialect.OPENAI)
    assert (order.lifetime_seconds, order.results_seconds) == (24 * HOUR, None)
    assert order.terms is not None
    assert json.loads(order.terms) == {
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"a": "b"},
    }


def test_an_order_says_how_long_its_results_are_kept() -> None:
    kept = {"anchor": "created_at", "seconds": 7200}
    assert ordered(output_expires_after=kept, completion_window="48h").results_seconds == 7200


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"input_file_id": "batches/"}, "input_file_id"),
        ({"endpoint": "/v1/fine_tuning"}, "endpoint"),
        ({"completion_window": "0h"}, "completion_window"),
        ({"completion_window": "49h"}, "completion_window"),
        ({"completion_window": "1d"}, "completion_window"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": 5}}, "metadata[...]"),
        ({"metadata": {"k" * 65: ""}}, "metadata." + "k" * 65),
        ({"metadata": {"a": "v" * 513}}, "metadata.a"),
        ({"output_expires_after": {"anchor": "x", "seconds": 7200}}, "output_expires_after.anchor"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
            "output_expires_after.seconds",
        ),
        ({"model": "x"}, "model"),
    ],
)
def test_a_wrong_order_is_refused_by_its_path(members: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ordered(**members)
    assert caught.value.field == field


@pytest.mark.parametrize("state", [BatchState.SUBMITTED, BatchState.PLANNED, BatchState.RUNNING])
def test_a_batch_is_in_progress_from_the_first_answer_on(state: BatchState) -> None:
    found = document(make_batch(state=state))
    assert found["status"] == "in_progress"
    assert found == {
        "id": "batches/b1",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": "gemini-x",
        "errors": None,
        "input_file_id": "files/abc",
        "completion_window": "24h",
        "status": "in_progress",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": 100,
        "in_progress_at": None,
        "expires_at": 100 + 24 * HOUR,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
        "metadata": {"a": "b"},
    }


def test_a_batch_that_is_completed_names_its_files_and_what_it_used() -> None:
    found = document(
        make_batch(
            state=BatchState.SUCCEEDED,
            request_count=3,
            tally=Tally(2, 1, 10, 5, 4, 3),
            started_at=101 * SECOND,
            ended_at=105 * SECOND,
        )
    )
    assert (found["status"], found["in_progress_at"], found["completed_at"]) == (
        "completed",
        101,
        105,
    )
    assert found["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert found["output_file_id"] == "files/batch-b1"
    assert found["error_file_id"] == "files/batch-b1-errors"
    assert found["usage"]["input_tokens_details"] == {"cached_tokens": 4}
    assert found["usage"]["total_tokens"] == 15


@pytest.mark.parametrize(
    ("tally", "files"),
    [
        (Tally(2, 0), ("files/batch-b1", None)),
        (Tally(0, 2), (None, "files/batch-b1-errors")),
    ],
)
def test_a_file_without_a_line_has_no_id(tally: Tally, files: tuple[Any, Any]) -> None:
    found = document(make_batch(state=BatchState.SUCCEEDED, tally=tally, ended_at=1))
    assert (found["output_file_id"], found["error_file_id"]) == files


@pytest.mark.parametrize(
    ("state", "partial", "status", "at"),
    [
        (BatchState.CANCELLED, PartialResults.DUE, "cancelling", {"cancelling_at": 105}),
        (
            BatchState.CANCELLED,
            PartialResults.SHOWN,
            "cancelled",
            {"cancelling_at": 105, "cancelled_at": 105},
        ),
        (BatchState.EXPIRED, PartialResults.DUE, "in_progress", {}),
        (BatchState.EXPIRED, PartialResults.SHOWN, "expired", {"expired_at": 105}),
        (BatchState.EXPIRED, None, "expired", {"expired_at": 105}),
    ],
)
def test_a_batch_that_ended_early_shows_what_it_finished_when_that_is_complete(
    state: BatchState, partial: PartialResults | None, status: str, at: dict[str, int]
) -> None:
    found = document(
        make_batch(state=state, partial=partial, tally=Tally(1, 1), ended_at=105 * SECOND)
    )
    assert found["status"] == status
    times = ("completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")
    assert {name: found[name] for name in times if found[name] is not None} == at
    shown = partial is PartialResults.SHOWN
    assert (found["output_file_id"] is not None) is shown
    assert (found["error_file_id"] is not None) is shown


def test_an_input_that_was_refused_lists_its_faults() -> None:
    faults = (InputFault("empty_file", "Nothing."), InputFault("x", "Bad.", 3, "url"))
    found = document(
        make_batch(
            state=BatchState.FAILED,
            failure=Failure(Code.INVALID_ARGUMENT, "It was refused."),
            faults=faults,
            ended_at=105 * SECOND,
        )
    )
    assert (found["status"], found["failed_at"]) == ("failed", 105)
    assert found["errors"] == {
        "object": "list",
        "data": [
            {"code": "empty_file", "message": "Nothing.", "line": None, "param": None},
            {"code": "x", "message": "Bad.", "line": 3, "param": "url"},
        ],
    }


def test_a_batch_that_failed_otherwise_says_why() -> None:
    failure = Failure(Code.INTERNAL, "It broke.")
    found = document(make_batch(state=BatchState.FAILED, failure=failure, ended_at=1))
    assert found["errors"]["data"] == [
        {"code": "internal", "message": "It broke.", "line": None, "param": None}
    ]


def test_a_batch_of_geminis_is_shown_as_well() -> None:
    changes = {"terms": None, "state": BatchState.SUCCEEDED, "tally": Tally(1, 1), "ended_at": 1}
    found = document(make_batch(kind=Kind(), **changes))
    assert (found["endpoint"], found["completion_window"]) == ("/v1/chat/completions", "24h")
    assert found["metadata"] is None
    assert (found["output_file_id"], found["error_file_id"]) == ("files/batch-b1", None)
    embedding = make_batch(kind=Kind(method=Method.EMBED), **changes)
    assert document(embedding)["endpoint"] == "/v1/embeddings"


def test_inline_requests_of_geminis_have_no_files() -> None:
    kind = Kind(form=BatchForm.INLINE)
    changes = {"terms": None, "state": BatchState.SUCCEEDED, "tally": Tally(1), "ended_at": 1}
    found = document(make_batch(kind=kind, input_file_id=None, **changes))
    assert (found["input_file_id"], found["output_file_id"]) == ("", None)


def test_a_page_of_batches_always_says_whether_there_are_more() -> None:
    found = json.loads(wire.render_batches([make_batch()], has_more=True))
    assert (found["object"], found["has_more"]) == ("list", True)
    assert found["first_id"] == found["last_id"] == "batches/b1"
    empty = json.loads(wire.render_batches([], has_more=False))
    assert empty == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
