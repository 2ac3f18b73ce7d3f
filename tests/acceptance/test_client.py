"""The small client in five calls, against a real server."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from nightrate import client as genai
from nightrate import limits, remote
from tests.acceptance.server import Server, request_line, text_of, until

RUNNING = {"JOB_STATE_PENDING", "JOB_STATE_RUNNING"}
PROMPTS = {
    "request_1": "Explain tides in a few words",
    "request_2": "a\u2028line\u2029and\u0085another",
}


@pytest.fixture(autouse=True)
def at_the_server(echo: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the client at the server as its users do: by the environment."""
    monkeypatch.setattr(genai, "_configured", {})
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"{echo.base_url}/")
    monkeypatch.setenv("GEMINI_API_KEY", "any-key")


def written(folder: Path, content: bytes, name: str = "batch_requests.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def finished(job: genai.BatchJob) -> genai.BatchJob:
    def ended() -> genai.BatchJob | None:
        found = genai.get_batch_job(name=job.name)
        return None if found.state.name in RUNNING else found

    found: genai.BatchJob = until(ended, 60)
    return found


def test_a_file_is_uploaded_run_and_read_line_by_line(tmp_path: Path) -> None:
    content = b"".join(request_line(key, text) for key, text in PROMPTS.items())
    uploaded = genai.upload_file(path=str(written(tmp_path, content)))
    assert uploaded.name.startswith("files/")
    assert uploaded.mime_type == "application/jsonl"
    assert uploaded.display_name == "batch_requests.jsonl"
    assert uploaded.size_bytes == str(len(content))
    job = genai.create_batch_job(
        model="gemini-2.5-flash", requests=uploaded, config={"display_name": "MyFirstBatchJob-1"}
    )
    assert job.name.startswith("batches/")
    assert job.state.name == "JOB_STATE_PENDING"
    assert (job.display_name, job.result_file, job.error) == ("MyFirstBatchJob-1", None, None)
    job = finished(job)
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    assert job.result_file is not None
    text = genai.download_file(name=job.result_file.name).read().decode("utf-8")
    answers = [msgspec.json.decode(line) for line in text.splitlines()]
    assert {line["key"]: text_of(line) for line in answers} == PROMPTS


def test_a_job_that_failed_says_why(tmp_path: Path) -> None:
    # As much as is not looked at before the batch is made.
    uploaded = genai.upload_file(written(tmp_path, b"no json\n" * 200_000))
    job = finished(genai.create_batch_job(model="gemini-2.5-flash", requests=uploaded.name))
    assert job.state.name == "JOB_STATE_FAILED"
    assert job.result_file is None
    assert job.error is not None
    assert job.error.code == 3
    assert "line 1" in str(job.error)


def test_requests_may_be_given_themselves() -> None:
    body = {"contents": [{"parts": [{"text": "two"}]}]}
    job = genai.create_batch_job(
        model="models/gemini-2.5-flash",
        requests=["one", body, {"request": body, "metadata": {"key": "3"}}],
        config={"priority": 1},
    )
    responses = finished(job).responses
    assert responses is not None
    assert [text_of(item) for item in responses] == ["one", "two", "two"]
    assert responses[2]["metadata"] == {"key": "3"}


@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 2500])
def test_a_file_of_any_size_goes_up_in_pieces(
    echo: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(limits, "CLIENT_PIECE_BYTES", 1000)
    content = b"0123456789" * 250
    file = genai.upload_file(
        written(tmp_path, content[:size], "x.bin"), display_name="mine", mime_type="text/plain"
    )
    assert (file.display_name, file.mime_type) == ("mine", "text/plain")
    assert echo.download(file.name) == content[:size]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.NDJSON", "application/jsonl"),
        ("a.txt", "text/plain"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_type_is_told_by_the_ending(tmp_path: Path, name: str, kind: str) -> None:
    assert genai.upload_file(written(tmp_path, b"x", name)).mime_type == kind


def test_what_does_not_exist_raises_the_servers_words() -> None:
    with pytest.raises(genai.CallFailed, match="batches/never-made") as refused:
        genai.get_batch_job(name="batches/never-made")
    assert refused.value.code == 404
    with pytest.raises(genai.CallFailed, match="files/never-made"):
        genai.download_file(name="files/never-made")


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    genai.configure(base_url=f"http://127.0.0.1:{port}")
    with pytest.raises(genai.CallFailed, match=f"127.0.0.1:{port} did not answer") as failed:
        genai.get_batch_job(name="batches/any")
    assert failed.value.code is None


def test_what_is_configured_wins_over_the_environment(
    echo: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1")
    genai.configure(api_key="mine", base_url=echo.base_url)
    genai.configure()
    assert (genai._api_key(), genai._base_url()) == ("mine", echo.base_url)
    assert genai.create_batch_job(model="gemini-2.5-flash", requests=["x"]).name


@pytest.mark.parametrize("base_url", ["file:///etc", "127.0.0.1:8080", "ftp://a.test"])
def test_an_address_that_is_none_of_http_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        genai.configure(base_url=base_url)


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="config has dest"):
        genai.create_batch_job(model="gemini-2.5-flash", requests=["x"], config={"dest": "x"})


def test_an_answer_that_is_no_document_is_told_by_its_status() -> None:
    assert remote._complaint(b"<html>", 502) == "The call failed with HTTP status 502."
