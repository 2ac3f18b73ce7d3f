"""Google's JavaScript client at the doors, unmodified, told only where they are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.acceptance.server import Server
from tests.clients.javascript import JavaScript

# One worker installs the client, and runs each script once.
pytestmark = pytest.mark.xdist_group("javascript")

TEXTS = ["Tell me a one-sentence joke.", "Why is the sky blue?"]


@pytest.fixture(scope="session")
def said(javascript: JavaScript, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("javascript")
    server = Server(folder / "data", "--engine", "echo")
    try:
        return javascript.run("doors.mjs", server.start().base_url, folder)
    finally:
        server.close()


def gave(said: dict[str, Any], scenario: str) -> Any:
    assert "threw" not in said[scenario], said[scenario]
    return said[scenario]["gave"]


def text_of(item: Any) -> str:
    text: str = item["response"]["candidates"][0]["content"]["parts"][0]["text"]
    return text


def test_an_inline_batch_is_created_and_answered_in_order(said: dict[str, Any]) -> None:
    jobs = gave(said, "inline")
    assert jobs["created"]["name"].startswith("batches/")
    assert jobs["created"]["displayName"] == "inlined-requests-job-1"
    assert jobs["created"]["state"] == "JOB_STATE_PENDING"
    assert jobs["finished"]["state"] == "JOB_STATE_SUCCEEDED"
    assert [text_of(item) for item in jobs["finished"]["dest"]["inlinedResponses"]] == TEXTS


def test_a_client_made_with_a_key_gives_system_instructions(said: dict[str, Any]) -> None:
    job = gave(said, "instructed")
    assert [text_of(item) for item in job["dest"]["inlinedResponses"]] == TEXTS


def test_embeddings_of_a_file_and_of_inline_texts_are_made(said: dict[str, Any]) -> None:
    found = gave(said, "embeddings")
    assert found["file"]["displayName"] == "Input embeddings batch"
    assert found["file"]["dest"]["fileName"].startswith("files/batch-")
    lines = [msgspec.json.decode(line) for line in found["results"].splitlines()]
    assert [line["key"] for line in lines] == ["request-1", "request-2"]
    assert {len(line["response"]["embedding"]["values"]) for line in lines} == {64}
    items = found["inline"]["dest"]["inlinedEmbedContentResponses"]
    vectors = [item["response"]["embedding"]["values"] for item in items]
    assert [len(vector) for vector in vectors] == [768, 768]
    assert vectors == [embedding["values"] for embedding in found["live"]]


def test_a_file_is_uploaded_run_and_downloaded(said: dict[str, Any]) -> None:
    found = gave(said, "file")
    assert found["uploaded"]["mimeType"] == "jsonl"
    assert found["uploaded"]["displayName"] == "my-requests"
    assert found["job"]["state"] == "JOB_STATE_SUCCEEDED"
    assert found["job"]["dest"]["fileName"].startswith("files/batch-")
    lines = [msgspec.json.decode(line) for line in found["results"].splitlines()]
    assert [line["key"] for line in lines] == ["request-1", "request-2"]
    assert [text_of(line) for line in lines] == TEXTS


def test_a_file_of_more_than_one_piece_goes_up(said: dict[str, Any]) -> None:
    found = gave(said, "pieces")
    assert found["uploaded"]["sizeBytes"] == str(found["size"])


def test_an_upload_with_http_options_of_its_own_reaches_us(said: dict[str, Any]) -> None:
    found = gave(said, "ownHttpOptions")
    assert found["name"].startswith("files/")
    assert found["mimeType"] == "jsonl"


def test_files_are_listed_page_by_page_found_and_deleted(said: dict[str, Any]) -> None:
    found = gave(said, "files")
    names = [file["name"] for file in found["made"]]
    assert found["got"] == found["made"][0]
    assert [name for name in found["listed"] if name in names] == names[::-1]
    assert len(found["listed"]) == len(set(found["listed"]))
    assert found["left"] == [name for name in found["listed"] if name != names[0]]


@pytest.mark.parametrize("scenario", ["missingFile", "missingBatch", "missingCache"])
def test_what_does_not_exist_is_not_found(said: dict[str, Any], scenario: str) -> None:
    threw = said[scenario]["threw"]
    assert (threw["name"], threw["status"]) == ("ApiError", 404)
    assert "NOT_FOUND" in threw["message"]


def test_batches_are_listed_page_by_page_newest_first(said: dict[str, Any]) -> None:
    found = gave(said, "list")
    assert found["listed"][:5] == found["made"][::-1]
    assert len(found["listed"]) == len(set(found["listed"]))


@pytest.mark.parametrize(
    ("scenario", "wanted"), [("cancel", "JOB_STATE_CANCELLED"), ("delete", False)]
)
def test_batches_are_cancelled_and_deleted(
    said: dict[str, Any], scenario: str, wanted: object
) -> None:
    assert gave(said, scenario) == wanted


def test_a_webhook_is_made_with_its_name_and_a_secret(said: dict[str, Any]) -> None:
    webhook = gave(said, "webhook")
    assert webhook["name"] == "MyBatchWebhook"
    assert webhook["new_signing_secret"].startswith("whsec_")


def test_a_cached_content_is_made_found_changed_used_and_deleted(said: dict[str, Any]) -> None:
    found = gave(said, "caches")
    made, changed = found["made"], found["changed"]
    assert (made["displayName"], made["model"]) == ("book", "models/gemini-3.5-flash")
    assert made["usageMetadata"] == {"totalTokenCount": 250 + 3}
    assert found["got"] == [made, made]
    assert changed["name"] == made["name"]
    assert changed["expireTime"] > made["expireTime"]
    assert made["name"] in found["listed"]
    assert made["name"] not in found["left"]
    assert found["live"]["cachedContentTokenCount"] == 250 + 3
    with_it, without = [
        item["response"]["usageMetadata"] for item in found["job"]["dest"]["inlinedResponses"]
    ]
    assert with_it["cachedContentTokenCount"] == 250 + 3
    assert with_it["promptTokenCount"] == 250 + 3 + 1
    assert "cachedContentTokenCount" not in without


def test_the_states_of_the_exact_profile_are_understood(said: dict[str, Any]) -> None:
    assert gave(said, "exact") == "JOB_STATE_SUCCEEDED"


def test_an_item_that_failed_stands_beside_one_that_did_not(said: dict[str, Any]) -> None:
    job = gave(said, "failingItem")
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    well, badly = job["dest"]["inlinedResponses"]
    assert text_of(well) == "well"
    assert badly["error"]["code"] == 3
    assert "response" not in badly


def test_a_live_request_is_answered(said: dict[str, Any]) -> None:
    assert gave(said, "live") == {"text": TEXTS[1], "version": "echo"}


def test_models_are_listed_and_found(said: dict[str, Any]) -> None:
    found = gave(said, "models")
    assert found["got"] == "models/gemini-3.5-flash"
    assert found["got"] in found["listed"]
