"""Google's own Python client at the doors, unmodified, told only where they are."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from google import genai
from google.genai import errors, types

from nightrate import limits
from tests.api.doors import Doors

PIECE_BYTES = 8 * limits.MIB


@pytest.fixture(scope="module")
def client(doors: Doors) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=doors.url)
    with genai.Client(api_key="any", http_options=options) as client:
        yield client


@pytest.mark.parametrize("size", [0, 100, PIECE_BYTES, PIECE_BYTES + 1])
def test_a_file_goes_up_and_is_found_listed_and_deleted(
    client: genai.Client, doors: Doors, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"x" * size)
    config = types.UploadFileConfig(display_name="my-input", mime_type="jsonl")
    file = client.files.upload(file=path, config=config)
    assert file.name is not None
    assert (file.display_name, file.mime_type, file.size_bytes) == ("my-input", "jsonl", size)
    assert file.uri == f"{doors.url}/v1beta/{file.name}"
    assert file.state is types.FileState.ACTIVE
    assert client.files.get(name=file.name) == file
    assert file.name in {found.name for found in client.files.list()}
    assert doors.ask("GET", f"/v1/{file.name}:download").body == path.read_bytes()
    client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError) as gone:
        client.files.get(name=file.name)
    assert (gone.value.code, gone.value.status) == (404, "NOT_FOUND")


def test_every_file_is_listed_once_over_many_pages(client: genai.Client, doors: Doors) -> None:
    made = {f"files/{doors.upload(b'x')}" for _ in range(7)}
    listed = [file.name for file in client.files.list(config={"page_size": 3})]
    assert made <= set(listed)
    assert len(listed) == len(set(listed))


def test_a_refused_upload_raises_at_once(
    client: genai.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FILE_BYTES_MAX", 10)
    config = types.UploadFileConfig(mime_type="jsonl")
    with pytest.raises(errors.ClientError, match="at most 10 bytes"):
        client.files.upload(file=io.BytesIO(b"x" * 11), config=config)


def test_a_prompt_is_answered(client: genai.Client) -> None:
    reply = client.models.generate_content(model="gemini-2.5-flash", contents="hello")
    assert reply.text == "hello"
    assert "models/gemini-2.5-flash" in {model.name for model in client.models.list()}


def test_tokens_are_counted(client: genai.Client) -> None:
    count = client.models.count_tokens(model="gemini-2.5-flash", contents="hello you")
    assert count.total_tokens == 3


def test_a_file_batch_is_created_polled_and_downloaded(client: genai.Client, doors: Doors) -> None:
    file_id = doors.upload(b"{}\n")
    job = client.batches.create(model="gemini-2.5-flash", src=f"files/{file_id}")
    assert job.name is not None
    assert job.state is types.JobState.JOB_STATE_PENDING
    batch_id = job.name.removeprefix("batches/")
    doors.plan(batch_id, 1)
    doors.seal(batch_id, b'{"response":{}}\n')
    job = client.batches.get(name=job.name)
    assert job.state is types.JobState.JOB_STATE_SUCCEEDED
    assert job.dest is not None
    assert job.dest.file_name == f"files/batch-{batch_id}"
    assert client.files.download(file=job.dest.file_name) == b'{"response":{}}\n'
    assert job.name in {found.name for found in client.batches.list()}


def test_an_inline_batch_gives_its_responses(client: genai.Client, doors: Doors) -> None:
    contents = [types.InlinedRequest(contents=text) for text in ("a", "b")]
    job = client.batches.create(model="gemini-2.5-flash", src=contents)
    assert job.name is not None
    doors.plan(job.name.removeprefix("batches/"), 1)
    texts = [
        {"response": {"candidates": [{"content": {"parts": [{"text": text}]}}]}} for text in "ab"
    ]
    lines = b"".join(msgspec.json.encode(text) + b"\n" for text in texts)
    doors.seal(job.name.removeprefix("batches/"), lines)
    job = client.batches.get(name=job.name)
    assert job.dest is not None
    assert job.dest.inlined_responses is not None
    answers = [item.response.text for item in job.dest.inlined_responses if item.response]
    assert answers == ["a", "b"]
