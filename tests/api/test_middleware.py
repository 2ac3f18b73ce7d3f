"""What is refused before routing, what becomes of errors, and what the log says and does not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import StringIO

import msgspec
import pytest

from nightrate import limits, telemetry
from tests.api.doors import Doors

CANARY = "canary-4711"


class Log(StringIO):
    """The log as lines of JSON."""

    def lines(self) -> list[dict[str, object]]:
        return [msgspec.json.decode(line) for line in self.getvalue().splitlines()]

    def requests(self) -> list[dict[str, object]]:
        return [line for line in self.lines() if line["event"] == "request"]


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    handler = logging.StreamHandler(log)
    handler.setFormatter(telemetry.JsonLines())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield log
    root.removeHandler(handler)
    root.setLevel(level)


def request(doors: Doors, *lines: str, first: str = "GET /livez HTTP/1.1") -> bytes:
    head = [first, f"Host: {doors.host}", "Connection: close", *lines]
    return doors.raw("\r\n".join([*head, "", ""]).encode())


# before routing --------------------------------------------------------------------------------


def test_a_hundred_headers_pass_and_one_more_does_not(doors: Doors) -> None:
    fill = [f"X-{number}: x" for number in range(limits.HEADERS_MAX - 2)]
    assert request(doors, *fill).startswith(b"HTTP/1.1 200")
    assert request(doors, *fill, "X-More: x").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST /upload/v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ],
)
def test_what_is_hardly_http_is_refused_by_a_document(doors: Doors, data: bytes) -> None:
    head, _, body = doors.raw(data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"content-type: application/json" in head
    assert b"x-goog-upload-status: final" in head
    assert msgspec.json.decode(body)["error"]["status"] == "INVALID_ARGUMENT"


def test_long_headers_are_refused(doors: Doors) -> None:
    assert request(doors, "X: " + "x" * 30_000).startswith(b"HTTP/1.1 200")
    assert request(doors, "X: " + "x" * limits.HEADER_BYTES_MAX).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "text",
    [
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST /livez HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        (
            "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
    ],
)
def test_a_request_with_two_meanings_is_refused_and_the_connection_ends(
    doors: Doors, text: str
) -> None:
    assert doors.raw(text.encode()).startswith(b"HTTP/1.1 400")


# errors ----------------------------------------------------------------------------------------


def test_our_own_mistake_is_answered_and_logged_without_its_words(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    def mistaken(name: str) -> object:
        raise KeyError(f"{CANARY} {name}")

    monkeypatch.setattr(doors.models, "resolve", mistaken)
    answer = doors.ask("GET", f"/v1/models/gemini?key={CANARY}")
    assert answer.error[:2] == (500, "INTERNAL")
    (line,) = [line for line in log.lines() if line["event"] == "request failed"]
    assert str(line["reference"]) in answer.error[2]
    trace = line["trace"]
    assert isinstance(trace, list)
    assert trace[0] == "KeyError"
    assert any("test_middleware.py" in place and "mistaken" in place for place in trace)
    assert CANARY not in log.getvalue() + answer.body.decode()


def test_errors_on_upload_urls_carry_the_upload_status_even_when_they_are_ours(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = doors.start()

    async def mistaken(upload_id: str) -> object:
        raise KeyError(upload_id)

    monkeypatch.setattr(doors.files, "query", mistaken)
    answer = doors.ask("POST", url, b"", {"X-Goog-Upload-Command": "query"})
    assert answer.error[:2] == (500, "INTERNAL")
    assert answer.headers["x-goog-upload-status"] == "final"
    wrong = doors.ask("GET", url)
    assert wrong.headers["x-goog-upload-status"] == "final"


# the log ---------------------------------------------------------------------------------------


def test_each_request_is_one_line(doors: Doors, log: Log) -> None:
    doors.ask("GET", "/v1/models/nobody-tts")
    doors.ask("POST", "/v1/models/gemini:generateContent", b"{")
    doors.eventually(lambda: len(log.requests()) == 2)
    first, second = log.requests()
    assert (first["method"], first["path"]) == ("GET", "/v1/models/nobody-tts")
    assert (first["status"], second["status"]) == (404, 400)
    assert isinstance(first["seconds"], float)
    assert isinstance(first["sent_bytes"], int)
    assert first["sent_bytes"] > 0


def test_nothing_that_a_client_says_in_confidence_is_logged(doors: Doors, log: Log) -> None:
    headers = {"x-goog-api-key": CANARY, "Authorization": f"Bearer {CANARY}", "Cookie": CANARY}
    body = msgspec.json.encode({"contents": [{"parts": [{"text": CANARY}]}]})
    before = len(log.requests())
    paths = [
        "/v1/models/gemini-2.5-flash:generateContent",
        "/v1/models/gemini-2.5-flash:batchGenerateContent",
        "/v1/models/gemini-2.5-flash:streamGenerateContent",
        "/v1/models/gemini-2.5-flash:countTokens",
        "/upload/v1/files",
        "/v1/nowhere",
    ]
    for path in paths:
        doors.ask("POST", f"{path}?key={CANARY}", body, headers)
    url = doors.start()
    doors.send(url, "upload, finalize", 0, body, headers)
    doors.eventually(lambda: len(log.requests()) == before + len(paths) + 2)
    assert CANARY not in log.getvalue()
    assert url.split("upload_id=")[1][:20] not in log.getvalue()


def test_a_client_that_left_is_logged_as_gone(doors: Doors, log: Log) -> None:
    with doors.connect() as connection:
        head = f"POST /v1/models/g:generateContent HTTP/1.1\r\nHost: {doors.host}\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    doors.eventually(lambda: bool(log.requests()))
    assert log.requests()[0]["status"] == 499
