"""What clients are told when a tenant has all that it may have."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from google import genai
from google.genai import errors, types
from openai import OpenAI

from nightrate import limits
from nightrate.service.quotas import TokenQuotas
from tests.api.doors import Answer, Doors, opened

MOST = 100
RAW = {"x-goog-upload-protocol": "raw", "content-type": "jsonl"}
LINE = b'{"request": {"contents": [{"parts": [{"text": "x"}]}]}}\n'


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Give a server whose tenants may store 100 bytes, and have one batch of 50 tokens."""
    with opened(tmp_path_factory.mktemp("data")) as doors:
        doors.files._stored_max = MOST
        doors.batches._live_max = 2
        doors.batches._token_quotas = TokenQuotas({"gemini-*-flash": 20})
        yield doors


@pytest.fixture
def client(doors: Doors) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=doors.url)
    with genai.Client(api_key="any", http_options=options) as client:
        yield client


@pytest.fixture(autouse=True)
def emptied(doors: Doors) -> Iterator[None]:
    """Leave nothing to the next test."""
    yield
    for collection in ("files", "batches"):
        listed = doors.ask("GET", f"/v1/{collection}?pageSize=100").json
        for thing in listed.get(collection, listed.get("operations", [])):
            doors.ask("DELETE", f"/v1/{thing['name']}")
    assert doors.ask("GET", "/v1/files").json == {}


def refused(answer: Answer, quota: str, most: int) -> str:
    """Check that an answer says which quota is used up, and give its message."""
    code, status, message = answer.error
    assert (code, status) == (429, "RESOURCE_EXHAUSTED")
    assert "exceeded your current quota" in message
    failure = answer.json["error"]["details"][0]
    assert failure["@type"] == "type.googleapis.com/google.rpc.QuotaFailure"
    (violation,) = failure["violations"]
    assert violation["quotaId"] == quota
    assert violation["quotaValue"] == str(most)
    assert violation["description"] == message
    assert answer.headers["x-should-retry"] == "false"
    return message


def retry_seconds(answer: Answer) -> int:
    """Give when to come again, which the header and the detail must agree about."""
    seconds = int(answer.headers["retry-after"])
    assert answer.json["error"]["details"][1] == {
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": f"{seconds}s",
    }
    assert f"{seconds} seconds" in answer.error[2]
    return seconds


def test_a_file_that_does_not_fit_is_refused_when_it_is_announced(doors: Doors) -> None:
    name = doors.upload(b"x" * 60)
    headers = {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": "41",
    }
    answer = doors.ask("POST", "/upload/v1beta/files", b"", headers)
    message = refused(answer, "file_storage_bytes_max", MOST)
    assert "41 more bytes of files were asked for, 60 of 100 are stored, 40 are free" in message
    assert retry_seconds(answer) == pytest.approx(limits.FILE_LIFETIME_SECONDS, abs=60)
    assert answer.headers["x-goog-upload-status"] == "final"
    assert "x-goog-upload-url" not in answer.headers
    doors.ask("DELETE", f"/v1/files/{name}")
    assert doors.ask("POST", "/upload/v1beta/files", b"", headers).status == 200


def test_a_file_that_does_not_fit_is_refused_while_it_arrives(doors: Doors) -> None:
    url = doors.start()
    assert doors.send(url, "upload", 0, b"x" * 60).status == 200
    doors.upload(b"x" * 10)
    answer = doors.send(url, "upload, finalize", 60, b"x" * 31)
    message = refused(answer, "file_storage_bytes_max", MOST)
    assert "91 more bytes of files were asked for, 10 of 100 are stored, 90 are free" in message
    assert answer.headers["x-goog-upload-status"] == "final"
    assert doors.send(url, "query").headers["x-goog-upload-status"] == "cancelled"
    doors.upload(b"x" * 90)


@pytest.mark.parametrize("size", [MOST + 1, 3 * limits.MIB])
def test_a_file_in_one_call_that_does_not_fit_leaves_nothing(doors: Doors, size: int) -> None:
    announced = doors.ask("POST", "/upload/v1/files", b"x" * size, RAW)
    assert "never fit" in refused(announced, "file_storage_bytes_max", MOST)
    assert "retry-after" not in announced.headers
    chunks = (b"x" * 1000 for _ in range(size // 1000 + 1))
    unannounced = doors.ask("POST", "/upload/v1/files", chunks, RAW)
    refused(unannounced, "file_storage_bytes_max", MOST)
    doors.upload(b"x" * MOST)


def test_googles_client_raises_at_once(client: genai.Client, doors: Doors, tmp_path: Path) -> None:
    doors.upload(b"x" * 60)
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"x" * 41)
    config = types.UploadFileConfig(mime_type="jsonl")
    with pytest.raises(errors.ClientError, match="41 more bytes") as caught:
        client.files.upload(file=path, config=config)
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


def test_openais_client_does_not_try_again(doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    doors.upload(b"x" * MOST)
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    with (
        caplog.at_level(logging.INFO, "nightrate"),
        OpenAI(api_key="any", base_url=f"{doors.url}/upload/v1", max_retries=2) as client,
        pytest.raises(openai.RateLimitError, match="0 are free"),
    ):
        client.post("/files", cast_to=object, body={}, options={"headers": start})
    doors.eventually(lambda: bool(caplog.records))
    assert [record.message for record in caplog.records] == ["request"]


def test_a_batch_too_many_is_told_when_to_come_again(doors: Doors) -> None:
    path = "/v1/models/gemini-x:batchGenerateContent"
    body = b'{"batch": {"inputConfig": {"requests": {"requests": [{"request": {}}]}}}}'
    for _ in range(2):
        assert doors.ask("POST", path, body).status == 200
    answer = doors.ask("POST", path, body)
    message = refused(answer, "concurrent_batches_max", 2)
    assert "1 more batch was asked for, 2 of 2 are pending or running" in message
    assert retry_seconds(answer) == limits.QUOTA_RETRY_SECONDS


def test_tokens_too_many_are_told_what_is_free(doors: Doors) -> None:
    file_id = doors.upload(LINE)
    first = doors.submit_file(file_id)
    path = "/v1/models/gemini-2.5-flash:batchGenerateContent"
    body = b'{"batch": {"inputConfig": {"fileName": "files/%s"}}}' % file_id.encode()
    answer = doors.ask("POST", path, body)
    message = refused(answer, "enqueued_tokens_max", 20)
    assert "about 14 input tokens were asked for, 14 of 20" in message
    assert "6 are free" in message
    assert retry_seconds(answer) == limits.QUOTA_RETRY_SECONDS
    other = doors.ask("POST", path.replace("gemini-2.5-flash", "gemini-x"), body)
    assert other.status == 200
    doors.ask("POST", f"/v1/batches/{first}:cancel")
    assert doors.ask("POST", path, body).status == 200
