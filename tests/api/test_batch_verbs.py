"""Batches are cancelled, deleted and changed at the doors, and seen in two profiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import errors, types

from nightrate import clock
from nightrate.domain.batch import Batch, BatchForm, Kind, PartialResults
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Tally
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.errors import Code
from tests.api.doors import Doors

CREATE = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"


@pytest.fixture(scope="module", params=["", "/exact"])
def client(doors: Doors, request: pytest.FixtureRequest) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=doors.url + request.param)
    with genai.Client(api_key="any", http_options=options) as client:
        yield client


# Google's own client ------------------------------------------------------------------------------


def test_a_cancelled_job_shows_so_at_once(client: genai.Client, doors: Doors) -> None:
    name = f"batches/{doors.submit_inline()}"
    client.batches.cancel(name=name)
    job = client.batches.get(name=name)
    assert job.state is types.JobState.JOB_STATE_CANCELLED
    assert job.done
    assert job.end_time is not None
    client.batches.cancel(name=name)
    assert client.batches.get(name=name) == job


def test_a_deleted_job_is_gone_from_get_and_list(client: genai.Client, doors: Doors) -> None:
    name = f"batches/{doors.submit_inline()}"
    assert name in {job.name for job in client.batches.list()}
    client.batches.delete(name=name)
    with pytest.raises(errors.ClientError) as gone:
        client.batches.get(name=name)
    assert (gone.value.code, gone.value.status) == (404, "NOT_FOUND")
    assert name not in {job.name for job in client.batches.list()}


def _batch(state: BatchState, form: BatchForm, partial: PartialResults | None) -> Batch:
    now = clock.now()
    return Batch(
        tenant="default",
        batch_id="b1",
        model="gemini-2.5-flash",
        display_name="golden",
        kind=Kind(form),
        state=state,
        input_blob="i",
        input_file_id="f1" if form is BatchForm.FILE else None,
        input_bytes=10,
        priority=3,
        request_count=2,
        tally=Tally(1, 1),
        created_at=now,
        updated_at=now,
        ended_at=now if state in FINAL_STATES else None,
        expires_at=now,
        failure=Failure(Code.INTERNAL, "no") if state is BatchState.FAILED else None,
        partial=partial,
    )


ENDED_EARLY = {BatchState.CANCELLED, BatchState.EXPIRED}
GOLDEN = [(state, None) for state in BatchState] + [
    (state, partial) for state in sorted(ENDED_EARLY) for partial in PartialResults
]


@pytest.mark.parametrize("form", BatchForm)
@pytest.mark.parametrize(("state", "partial"), GOLDEN)
def test_no_document_raises_in_the_client(
    client: genai.Client,
    doors: Doors,
    monkeypatch: pytest.MonkeyPatch,
    state: BatchState,
    form: BatchForm,
    partial: PartialResults | None,
) -> None:
    batch = _batch(state, form, partial)

    async def get(*_: str) -> Batch:
        return batch

    async def verified(_: Batch) -> None:
        """Find nothing wrong."""

    async def items(_: Batch) -> Any:
        yield b'{"response":{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}}'
        yield b',{"error":{"code":1,"message":"m"},"metadata":{"key":"k"}}'

    async def listed(*_: object) -> tuple[list[Batch], None]:
        return [batch], None

    monkeypatch.setattr(doors.batches, "get", get)
    monkeypatch.setattr(doors.batches, "list", listed)
    monkeypatch.setattr(doors.results, "verify", verified)
    monkeypatch.setattr(doors.results, "items", items)
    job = client.batches.get(name="batches/b1")
    assert job.state is not None
    (seen,) = client.batches.list()
    assert seen.state is job.state
    if not batch.has_results:
        assert job.dest is None
        return
    assert job.dest is not None
    if form is BatchForm.FILE:
        assert job.dest.file_name == "files/batch-b1"
        return
    assert job.dest.inlined_responses is not None
    first, second = job.dest.inlined_responses
    assert first.response is not None
    assert first.response.text == "a"
    assert second.error is not None
    assert (second.error.code, second.metadata) == (1, {"key": "k"})


# the verbs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("colon", [":", "%3A"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_cancelling_by_any_method_is_answered_by_an_empty_document(
    doors: Doors, method: str, version: str, colon: str
) -> None:
    path = f"/{version}/batches/{doors.submit_inline()}"
    for _ in range(2):
        answer = doors.ask(method, f"{path}{colon}cancel", b"{}")
        assert (answer.status, answer.json) == (200, {})
        assert answer.headers["cache-control"] == "no-store"
    assert doors.ask("GET", path).json["metadata"]["state"] == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize(
    ("method", "verb"), [("DELETE", ""), ("GET", ":delete"), ("POST", ":delete")]
)
def test_deleting_by_any_method_removes_the_batch(doors: Doors, method: str, verb: str) -> None:
    path = f"/v1beta/batches/{doors.submit_inline()}"
    answer = doors.ask(method, path + verb)
    assert (answer.status, answer.json) == (200, {})
    assert answer.headers["cache-control"] == "no-store"
    assert doors.ask("GET", path).error[:2] == (404, "NOT_FOUND")
    assert doors.ask(method, path + verb).error[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "verb"),
    [("POST", ":cancel"), ("DELETE", ""), ("PATCH", ":updateGenerateContentBatch")],
)
def test_verbs_on_what_does_not_exist_find_nothing(doors: Doors, method: str, verb: str) -> None:
    answer = doors.ask(method, f"/v1/batches/none{verb}", b'{"priority":1}')
    assert answer.error[:2] == (404, "NOT_FOUND")


def test_the_results_of_a_deleted_batch_can_still_be_downloaded(doors: Doors) -> None:
    batch_id = doors.submit_file(doors.upload(b"{}\n"))
    doors.plan(batch_id, 1)
    doors.seal(batch_id, b'{"response":{}}\n')
    doors.ask("DELETE", f"/v1/batches/{batch_id}")
    download = doors.ask("GET", f"/v1/files/batch-{batch_id}:download")
    assert download.body == b'{"response":{}}\n'


@pytest.mark.parametrize("query", ["", "?updateMask=displayName,priority", "?update_mask=*"])
def test_a_change_is_answered_by_the_batch_itself(doors: Doors, query: str) -> None:
    batch_id = doors.submit_inline()
    path = f"/v1beta/batches/{batch_id}:updateGenerateContentBatch{query}"
    shown = doors.ask("PATCH", path, b"{'display_name': 'new', 'priority': '7'}").json
    assert shown["name"] == f"batches/{batch_id}"
    assert (shown["displayName"], shown["priority"]) == ("new", "7")
    assert "metadata" not in shown
    assert "@type" not in shown
    found = doors.ask("GET", f"/v1beta/batches/{batch_id}").json["metadata"]
    assert {key: value for key, value in found.items() if key != "@type"} == shown


@pytest.mark.parametrize("verb", [":cancel", ":delete"])
def test_asking_for_the_headers_changes_nothing(doors: Doors, verb: str) -> None:
    path = f"/v1beta/batches/{doors.submit_inline()}"
    assert doors.ask("HEAD", path + verb).status == 404
    assert doors.ask("GET", path).json["state"] == "JOB_STATE_PENDING"


# profiles -----------------------------------------------------------------------------------------


def test_the_exact_profile_has_no_extensions_and_no_zeros(doors: Doors) -> None:
    batch_id = doors.submit_file(doors.upload(b"{}\n{}\n"))
    doors.plan(batch_id, 2)
    doors.seal(batch_id, b'{"response":{}}\n')
    path = f"/v1beta/batches/{batch_id}"
    shown = doors.ask("GET", f"/exact{path}").json
    assert set(shown) == {"name", "done", "metadata"}
    assert shown["metadata"]["state"] == "BATCH_STATE_RUNNING"
    assert "batchState" not in shown["metadata"]
    assert shown["metadata"]["batchStats"] == {
        "requestCount": "2",
        "pendingRequestCount": "1",
        "successfulRequestCount": "1",
    }
    doors.seal(batch_id, b'{"response":{}}\n')
    shown = doors.ask("GET", f"/exact{path}").json
    assert set(shown) == {"name", "done", "metadata", "response"}
    (listed,) = (
        one
        for one in doors.ask("GET", "/exact/v1/batches?pageSize=1000").json["operations"]
        if one["name"] == shown["name"]
    )
    assert listed == shown
    assert doors.ask("GET", path).json["state"] == "JOB_STATE_SUCCEEDED"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files/nobody"),
        ("DELETE", "/v1beta/files/nobody"),
        ("GET", "/v1/files/nobody:download"),
        ("GET", "/download/v1/files/nobody:download"),
        ("POST", CREATE),
    ],
)
def test_a_missing_file_is_forbidden_in_the_exact_profile(
    doors: Doors, method: str, path: str
) -> None:
    body = b'{"batch":{"inputConfig":{"fileName":"files/nobody"}}}'
    assert doors.ask(method, path, body).error[:2] == (404, "NOT_FOUND")
    code, status, message = doors.ask(method, f"/exact{path}", body).error
    assert (code, status) == (403, "PERMISSION_DENIED")
    assert message == "You do not have permission to access the File nobody or it may not exist."


def test_the_prefix_of_a_profile_is_kept_in_addresses(doors: Doors) -> None:
    fixed = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    started = doors.ask("POST", "/exact/upload/v1beta/files", b"", fixed)
    url = started.headers["x-goog-upload-url"]
    assert url.startswith(f"{doors.url}/exact/upload/v1beta/files?upload_id=")
    file = doors.send(url.removeprefix(doors.url), "upload, finalize", 0, b"x").json["file"]
    assert file["uri"] == f"{doors.url}/exact/v1beta/{file['name']}"
    proxied = {**fixed, "X-Forwarded-Prefix": "/ai"}
    started = doors.ask("POST", "/exact/upload/v1beta/files", b"", proxied)
    assert started.headers["x-goog-upload-url"].startswith(f"{doors.url}/ai/exact/upload/")


@pytest.mark.parametrize(
    "path", ["/exact", "/exact/", "/exact/v1/models/", "/exact/exact/v1/models"]
)
def test_nothing_else_lies_under_the_prefix(doors: Doors, path: str) -> None:
    assert doors.ask("GET", path).error[:2] == (404, "NOT_FOUND")


def test_both_profiles_see_the_same_things(doors: Doors) -> None:
    body = msgspec.json.encode({"batch": {"inputConfig": {"requests": {"requests": [{}]}}}})
    created = doors.ask("POST", f"/exact{CREATE}", body).json
    assert created["metadata"]["state"] == "BATCH_STATE_PENDING"
    assert doors.ask("GET", f"/v1/{created['name']}").json["state"] == "JOB_STATE_PENDING"
