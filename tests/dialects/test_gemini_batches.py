"""The document of a batch, in every state."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from nightrate.dialects.gemini import (
    ITEMS,
    Profile,
    render_batch,
    render_batch_resource,
    render_batches,
)
from nightrate.domain.batch import Batch, BatchForm, Kind, Method, PartialResults
from nightrate.domain.generation import Failure
from nightrate.domain.outlook import Outlook
from nightrate.domain.shard import Tally
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.domain.tariff import Quote, TokenPrices
from nightrate.errors import Code

FILE, INLINE = BatchForm.FILE, BatchForm.INLINE
NOON = 1_769_083_200_000_000
TYPES = "type.googleapis.com/google.ai.generativelanguage.v1main."


def batch(state: BatchState, form: BatchForm = FILE, **changes: Any) -> Batch:
    ended = state in FINAL_STATES
    made = Batch(
        tenant="t",
        batch_id="b1",
        model="gemini-2.5-flash",
        display_name="my batch",
        kind=Kind(form),
        state=state,
        input_blob="i",
        input_file_id="f1" if form is FILE else None,
        input_bytes=10,
        priority=0,
        request_count=None if state is BatchState.SUBMITTED else 5,
        tally=Tally(2, 1),
        created_at=NOON,
        updated_at=NOON + 1_500_000,
        ended_at=NOON + 2_000_000 if ended else None,
        expires_at=NOON,
        failure=Failure(Code.INVALID_ARGUMENT, "no") if state is BatchState.FAILED else None,
    )
    return msgspec.structs.replace(made, **changes)


def text_of(made: Batch, items: bytes = b'{"n":1},{"n":2}', *, listed: bool = False) -> bytes:
    pieces = render_batch(made, listed=listed)
    return b"".join(piece if isinstance(piece, bytes) else items for piece in pieces)


def document(made: Batch, *, listed: bool = False) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(text_of(made, listed=listed))
    return read


WIRE = {
    BatchState.SUBMITTED: "PENDING",
    BatchState.PLANNED: "PENDING",
    BatchState.RUNNING: "RUNNING",
    BatchState.SUCCEEDED: "SUCCEEDED",
    BatchState.FAILED: "FAILED",
    BatchState.CANCELLED: "CANCELLED",
    BatchState.EXPIRED: "EXPIRED",
}


@pytest.mark.parametrize("state", BatchState)
@pytest.mark.parametrize("form", BatchForm)
def test_every_state_has_the_members_that_clients_read(state: BatchState, form: BatchForm) -> None:
    shown = document(batch(state, form))
    metadata = shown["metadata"]
    assert list(shown)[:4] == ["name", "done", "state", "metadata"]
    assert shown["name"] == metadata["name"] == "batches/b1"
    assert shown["done"] is (state in FINAL_STATES)
    assert shown["state"] == metadata["state"] == f"JOB_STATE_{WIRE[state]}"
    assert metadata["batchState"] == f"BATCH_STATE_{WIRE[state]}"
    assert metadata["@type"] == f"{TYPES}GenerateContentBatch"
    assert metadata["model"] == "models/gemini-2.5-flash"
    assert metadata["displayName"] == "my batch"
    assert metadata["createTime"] == "2026-01-22T12:00:00Z"
    assert metadata["updateTime"] == "2026-01-22T12:00:01.500000Z"
    assert metadata.get("endTime") == ("2026-01-22T12:00:02Z" if shown["done"] else None)
    assert metadata.get("inputConfig") == ({"fileName": "files/f1"} if form is FILE else None)
    assert "priority" not in metadata
    succeeded = state is BatchState.SUCCEEDED
    assert ("response" in shown) is ("dest" in shown) is ("output" in metadata) is succeeded


def test_the_document_is_printed_with_one_member_a_line_and_the_name_first() -> None:
    lines = text_of(batch(BatchState.RUNNING)).decode().split("\n")
    assert lines[:4] == [
        "{",
        '  "name": "batches/b1",',
        '  "done": false,',
        '  "state": "JOB_STATE_RUNNING",',
    ]


def test_counters_are_text_and_add_up() -> None:
    stats = document(batch(BatchState.RUNNING))["metadata"]["batchStats"]
    assert stats == {
        "requestCount": "5",
        "pendingRequestCount": "2",
        "successfulRequestCount": "2",
        "failedRequestCount": "1",
    }


def test_counters_that_are_not_known_yet_are_left_out() -> None:
    stats = document(batch(BatchState.SUBMITTED, tally=Tally()))["metadata"]["batchStats"]
    assert stats == {"successfulRequestCount": "0", "failedRequestCount": "0"}


def test_a_priority_is_shown_as_text_unless_it_is_zero() -> None:
    assert document(batch(BatchState.RUNNING, priority=-4))["metadata"]["priority"] == "-4"


def test_a_file_batch_that_succeeded_names_its_result_file_three_times() -> None:
    shown = document(batch(BatchState.SUCCEEDED))
    assert shown["metadata"]["output"] == {"responsesFile": "files/batch-b1"}
    assert shown["response"] == {
        "@type": f"{TYPES}GenerateContentBatchOutput",
        "responsesFile": "files/batch-b1",
    }
    assert shown["dest"] == {"fileName": "files/batch-b1"}
    assert document(batch(BatchState.SUCCEEDED), listed=True) == shown


def test_an_inline_batch_that_succeeded_has_its_items_in_three_places() -> None:
    made = batch(BatchState.SUCCEEDED, INLINE)
    assert render_batch(made).count(ITEMS) == 3
    assert repr(ITEMS) == "ITEMS"
    shown = document(made)
    items = [{"n": 1}, {"n": 2}]
    assert shown["metadata"]["output"] == {"inlinedResponses": {"inlinedResponses": items}}
    assert shown["response"] == {
        "@type": f"{TYPES}GenerateContentBatchOutput",
        "inlinedResponses": {"inlinedResponses": items},
    }
    assert shown["dest"] == {"inlinedResponses": items}


@pytest.mark.parametrize("state", [BatchState.CANCELLED, BatchState.EXPIRED])
def test_partial_results_stand_beside_the_error(state: BatchState) -> None:
    shown = document(batch(state, partial=PartialResults.SHOWN))
    assert shown["metadata"]["output"] == {"responsesFile": "files/batch-b1"}
    assert shown["dest"] == {"fileName": "files/batch-b1"}
    assert "response" not in shown
    assert "error" in shown
    items = [{"n": 1}, {"n": 2}]
    made = batch(state, INLINE, partial=PartialResults.SHOWN)
    assert render_batch(made).count(ITEMS) == 2
    shown = document(made)
    assert shown["metadata"]["output"] == {"inlinedResponses": {"inlinedResponses": items}}
    assert shown["dest"] == {"inlinedResponses": items}
    listed = document(made, listed=True)
    assert "output" not in listed["metadata"]
    assert "dest" not in listed


@pytest.mark.parametrize("form", BatchForm)
def test_results_that_are_not_complete_are_not_shown(form: BatchForm) -> None:
    shown = document(batch(BatchState.CANCELLED, form, partial=PartialResults.DUE))
    assert not {"dest", "response"} & shown.keys()
    assert "output" not in shown["metadata"]


@pytest.mark.parametrize("state", BatchState)
@pytest.mark.parametrize("form", BatchForm)
def test_the_exact_profile_is_the_document_without_what_we_add(
    state: BatchState, form: BatchForm
) -> None:
    made = batch(state, form)
    pieces = render_batch(made, profile=Profile.EXACT)
    assert pieces.count(ITEMS) == (2 if (state, form) == (BatchState.SUCCEEDED, INLINE) else 0)
    exact = json.loads(b"".join(p if isinstance(p, bytes) else b'{"n":1}' for p in pieces))
    shown = json.loads(text_of(made, b'{"n":1}'))
    assert exact["metadata"]["state"] == shown["metadata"].pop("batchState")
    for name in ("state", "dest"):
        shown.pop(name, None)
    assert shown["metadata"].pop("nightrate")
    shown["metadata"]["state"] = exact["metadata"]["state"]
    stats = shown["metadata"]["batchStats"]
    shown["metadata"]["batchStats"] = {name: n for name, n in stats.items() if n != "0"}
    assert exact == shown


QUOTE = Quote(
    currency="USD",
    batch_share=Decimal("0.5"),
    tokens=TokenPrices(input=Decimal(3), output=Decimal(8), cached=Decimal(1)),
    machine_price_per_hour=None,
)


def test_what_is_used_so_far_is_told_while_a_batch_runs() -> None:
    tally = Tally(2, 1, 10, 7, 4, 3, 5_000)
    told = document(batch(BatchState.RUNNING, tally=tally, quote=QUOTE))["metadata"]["nightrate"]
    assert told == {
        "deadline": "2026-01-22T12:00:00Z",
        "usage": {
            "promptTokenCount": 10,
            "candidatesTokenCount": 4,
            "totalTokenCount": 17,
            "cachedContentTokenCount": 4,
            "thoughtsTokenCount": 3,
        },
    }


@pytest.mark.parametrize("form", BatchForm)
def test_a_batch_that_has_ended_carries_its_receipt(form: BatchForm) -> None:
    made = batch(BatchState.SUCCEEDED, form, tally=Tally(2, 1, 10, 7, 4, 3, 5_000), quote=QUOTE)
    receipt = document(made)["metadata"]["nightrate"]["receipt"]
    assert [item["tokens"] for item in receipt["items"]] == [6, 4, 4, 3]
    assert (receipt["lines"], receipt["engineSeconds"]) == (3, "0.000005")
    assert (receipt["listPrice"], receipt["batchPrice"]) == ("0.000078", "0.000041")
    assert receipt["saved"] == "0.000037"
    assert "machinePrice" not in receipt
    resource = json.loads(render_batch_resource(made))
    assert resource["nightrate"]["receipt"] == receipt
    assert b"nightrate" not in render_batch_resource(made, Profile.EXACT)
    assert b"nightrate" not in render_batches([(made, None)], None, Profile.EXACT)


def test_the_exact_profile_leaves_out_zeros() -> None:
    made = batch(BatchState.RUNNING, tally=Tally(5))
    page = json.loads(render_batches([(made, None)], None, Profile.EXACT))
    stats = page["operations"][0]["metadata"]["batchStats"]
    assert stats == {"requestCount": "5", "successfulRequestCount": "5"}


def test_the_batch_itself_is_what_the_metadata_shows() -> None:
    made = batch(BatchState.SUCCEEDED, priority=2)
    resource = json.loads(render_batch_resource(made))
    assert {"@type": f"{TYPES}GenerateContentBatch", **resource} == document(made)["metadata"]
    exact = json.loads(render_batch_resource(made, Profile.EXACT))
    assert exact["state"] == "BATCH_STATE_SUCCEEDED"


def test_a_list_leaves_inline_results_out() -> None:
    made = batch(BatchState.SUCCEEDED, INLINE)
    shown = document(made, listed=True)
    assert "output" not in shown["metadata"]
    assert shown["response"] == {"@type": f"{TYPES}GenerateContentBatchOutput"}
    assert "dest" not in shown
    assert len(render_batch(made, listed=True)) == 1


@pytest.mark.parametrize(
    "name", ["ITEMS", '"\\u0049TEMS"', "\\u0049TEMS", '["\\u0049TEMS"]', "\x00"]
)
def test_no_display_name_looks_like_the_place_of_the_items(name: str) -> None:
    made = batch(BatchState.SUCCEEDED, INLINE, display_name=name)
    assert render_batch(made).count(ITEMS) == 3
    assert document(made)["metadata"]["displayName"] == name


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (BatchState.FAILED, {"code": 3, "message": "no"}),
        (BatchState.CANCELLED, {"code": 1, "message": "The batch was cancelled."}),
        (BatchState.EXPIRED, {"code": 4, "message": "The batch expired before it was finished."}),
        (BatchState.SUCCEEDED, None),
        (BatchState.RUNNING, None),
    ],
)
def test_the_error_tells_why_there_are_no_results(
    state: BatchState, error: dict[str, object] | None
) -> None:
    assert document(batch(state)).get("error") == error


def test_a_failed_batch_without_a_reason_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="says why"):
        render_batch(batch(BatchState.FAILED, failure=None))


def test_a_page_lists_documents_and_where_to_go_on() -> None:
    made = [batch(BatchState.SUCCEEDED, INLINE), batch(BatchState.RUNNING)]
    page = json.loads(render_batches([(one, None) for one in made], "next"))
    assert page == {
        "operations": [document(one, listed=True) for one in made],
        "nextPageToken": "next",
    }


def test_the_last_page_has_no_token_and_an_empty_list_nothing() -> None:
    assert "nextPageToken" not in json.loads(
        render_batches([(batch(BatchState.RUNNING), None)], None)
    )
    assert json.loads(render_batches([], None)) == {}


# embeddings -----------------------------------------------------------------------------------


def embedding(state: BatchState, form: BatchForm = INLINE, **changes: Any) -> Batch:
    return batch(state, form, kind=Kind(form, Method.EMBED), **changes)


@pytest.mark.parametrize("state", BatchState)
def test_an_embedding_batch_says_so_in_every_state(state: BatchState) -> None:
    found = document(embedding(state))
    assert found["metadata"]["@type"] == TYPES + "EmbedContentBatch"
    if "response" in found:
        assert found["response"]["@type"] == TYPES + "EmbedContentBatchOutput"


def test_vectors_stand_where_clients_look_for_them() -> None:
    found = document(embedding(BatchState.SUCCEEDED, tally=Tally(1, 1)))
    items = [{"n": 1}, {"n": 2}]
    assert found["metadata"]["output"] == {"inlinedResponses": {"inlinedResponses": items}}
    assert found["response"]["inlinedResponses"] == {"inlinedResponses": items}
    assert found["dest"] == {"inlinedEmbedContentResponses": items}


def test_where_all_failed_the_member_says_what_the_items_are() -> None:
    found = document(embedding(BatchState.SUCCEEDED, tally=Tally(0, 2)))
    items = [{"n": 1}, {"n": 2}]
    output = found["metadata"]["output"]
    assert output == {"inlinedEmbedContentResponses": {"inlinedResponses": items}}
    assert found["response"]["inlinedResponses"] == {"inlinedResponses": items}
    assert found["dest"] == {"inlinedEmbedContentResponses": items}


def test_partial_vectors_of_a_cancelled_batch_are_shown_alike() -> None:
    cancelled = embedding(BatchState.CANCELLED, partial=PartialResults.SHOWN, tally=Tally(0, 2))
    found = document(cancelled)
    assert "inlinedEmbedContentResponses" in found["metadata"]["output"]
    assert "response" not in found


def test_a_list_leaves_vectors_out() -> None:
    found = document(embedding(BatchState.SUCCEEDED), listed=True)
    assert "output" not in found["metadata"]
    assert found["response"] == {"@type": TYPES + "EmbedContentBatchOutput"}
    assert "dest" not in found


def test_vectors_of_a_file_batch_are_in_its_result_file() -> None:
    found = document(embedding(BatchState.SUCCEEDED, FILE))
    assert found["metadata"]["output"] == {"responsesFile": "files/batch-b1"}
    assert found["dest"] == {"fileName": "files/batch-b1"}


def test_where_a_batch_stands_is_told_beside_its_deadline() -> None:
    outlook = Outlook(reason="It is next.", queue_position=0, eta_seconds=(60, 90))
    made = batch(BatchState.PLANNED)
    ours = json.loads(render_batch_resource(made, outlook=outlook))["nightrate"]
    assert ours["reason"] == "It is next."
    assert ours["queuePosition"] == 0
    assert ours["etaSeconds"] == {"low": 60, "high": 90}
    (page,) = json.loads(render_batches([(made, outlook)], None))["operations"]
    assert page["metadata"]["nightrate"] == ours
    (piece,) = render_batch(made, outlook=Outlook(reason="Its engine is being loaded."))
    assert isinstance(piece, bytes)
    told = json.loads(piece)["metadata"]["nightrate"]
    assert told.keys() == {"reason", "deadline", "usage"}
    assert b"reason" not in render_batch_resource(made, Profile.EXACT, outlook)
