"""What clients do without meaning anything by it, and what they cannot bear."""

from __future__ import annotations

import re

import msgspec
import pytest

from nightrate import clock, limits
from tests.api.doors import Doors

CREATE = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
ITEM = {"request": {"contents": [{"parts": [{"text": "x"}]}]}}
ORDER = msgspec.json.encode({"batch": {"inputConfig": {"requests": {"requests": [ITEM]}}}})
HOOK = b'{"name": "n", "uri": "https://example.org/h", "subscribed_events": ["batch.succeeded"]}'


def test_every_success_is_exactly_200_with_a_body(doors: Doors) -> None:
    file_id = doors.upload(b'{"request": {"contents": "x"}}\n')
    name = doors.ask("POST", CREATE, ORDER).json["name"]
    webhook = doors.ask("POST", "/v1/webhooks", HOOK).json["id"]
    calls = [
        ("GET", "/v1/models", None),
        ("GET", "/v1/files", None),
        ("GET", f"/v1/files/{file_id}", None),
        ("GET", "/v1/batches", None),
        ("GET", f"/v1/{name}", None),
        ("PATCH", f"/v1/{name}:updateGenerateContentBatch", b'{"priority": 1}'),
        ("POST", f"/v1/{name}:cancel", None),
        ("DELETE", f"/v1/{name}", None),
        ("DELETE", f"/v1/files/{file_id}", None),
        ("GET", "/v1/webhooks", None),
        ("POST", f"/v1/webhooks/{webhook}:ping", None),
        ("DELETE", f"/v1/webhooks/{webhook}", None),
    ]
    for method, path, body in calls:
        answer = doors.ask(method, path, body)
        assert answer.status == 200, (method, path)
        assert isinstance(answer.json, dict), (method, path)


@pytest.mark.parametrize("body", [None, b"", b"{}"])
def test_bodies_where_none_is_meant_and_empty_cookies_are_passed_over(
    doors: Doors, body: bytes | None
) -> None:
    name = doors.ask("POST", CREATE, ORDER).json["name"]
    webhook = doors.ask("POST", "/v1/webhooks", HOOK, {"cookie": ""}).json["id"]
    calls = [
        ("GET", f"/v1/{name}"),
        ("POST", f"/v1/{name}:cancel"),
        ("DELETE", f"/v1/{name}"),
        ("POST", f"/v1/webhooks/{webhook}:ping"),
        ("DELETE", f"/v1/webhooks/{webhook}"),
    ]
    for method, path in calls:
        headers = {"cookie": "", "content-type": "application/json"}
        assert doors.ask(method, path, body, headers).status == 200, (method, path)


def test_no_client_cuts_the_name_of_an_uploaded_file_short(doors: Doors) -> None:
    assert re.fullmatch("[a-z0-9]+", doors.upload(b"x"))


def test_the_last_page_names_no_next_one_and_is_not_empty(doors: Doors) -> None:
    for _ in range(2):
        doors.ask("POST", CREATE, ORDER)
    path = "/v1/batches?pageSize=1"
    pages = [doors.ask("GET", path).json]
    while "nextPageToken" in pages[-1]:
        assert pages[-1]["nextPageToken"]
        pages.append(doors.ask("GET", f"{path}&pageToken={pages[-1]['nextPageToken']}").json)
    assert all(len(page["operations"]) == 1 for page in pages)


def test_a_batch_keeps_an_input_that_was_deleted(doors: Doors) -> None:
    content = b'{"request": {"contents": "x"}}\n'
    file_id = doors.upload(content)
    batch_id = doors.submit_file(file_id)
    batch = doors.call(doors.batches.get("default", batch_id))
    doors.ask("DELETE", f"/v1/files/{file_id}")
    later = clock.later(clock.now(), limits.FILE_LIFETIME_SECONDS + 1)
    assert batch.input_blob not in doors.call(doors.store.sweep(later, 0, 100))
    assert doors.blobs.path(batch.input_blob).read_bytes() == content
    doors.ask("POST", f"/v1/batches/{batch_id}:delete")
    assert batch.input_blob in doors.call(doors.store.sweep(later, 0, 100))
