"""The resumable protocol as clients really speak it, and as networks really break it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from nightrate import limits
from tests.api.doors import Doors, opened

PIECE_BYTES = 8 * limits.MIB
"""What both SDKs send at once."""


def received(doors: Doors, url: str) -> int:
    return int(doors.send(url, "query").headers["x-goog-upload-size-received"])


def stored(doors: Doors, file_id: str) -> bytes:
    answer = doors.ask("GET", f"/v1beta/files/{file_id}:download?alt=media")
    assert answer.status == 200
    return answer.body


# the ordinary way ------------------------------------------------------------------------------


def test_a_start_answers_with_the_url_for_the_bytes(doors: Doors) -> None:
    answer = doors.ask(
        "POST",
        "/upload/v1beta/files",
        b"{'file': {'display_name': 'BatchInput'}}",
        {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": "12",
            "X-Goog-Upload-Header-Content-Type": "jsonl",
            "Content-Type": "application/jsonl",
        },
    )
    assert (answer.status, answer.body) == (200, b"{}")
    url = answer.headers["x-goog-upload-url"]
    assert url.startswith(f"{doors.url}/upload/v1beta/files?upload_id=")
    assert url.endswith("&upload_protocol=resumable")
    assert answer.headers["x-goog-upload-control-url"] == url
    assert answer.headers["x-goog-upload-status"] == "active"
    assert answer.headers["x-goog-upload-chunk-granularity"] == "262144"
    final = doors.send(url, "upload, finalize", 0, b"hello, world")
    file = final.json["file"]
    assert final.headers["x-goog-upload-status"] == "final"
    assert (file["displayName"], file["mimeType"]) == ("BatchInput", "jsonl")
    assert file["sizeBytes"] == "12"
    hexadecimal = hashlib.sha256(b"hello, world").hexdigest().encode()
    assert base64.b64decode(file["sha256Hash"]) == hexadecimal
    assert file["uri"] == f"{doors.url}/v1beta/{file['name']}"
    assert doors.ask("GET", f"/v1/{file['name']}").json == file


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_a_file_of_any_size_comes_back_as_it_was(doors: Doors, size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    url = doors.start()
    for offset in range(0, max(size, 1), PIECE_BYTES):
        piece = body[offset : offset + PIECE_BYTES]
        last = offset + PIECE_BYTES >= size
        answer = doors.send(url, "upload, finalize" if last else "upload", offset, piece)
        assert answer.status == 200
        assert answer.headers["x-goog-upload-status"] == ("final" if last else "active")
        assert answer.headers["x-goog-upload-size-received"] == str(offset + len(piece))
    file = answer.json["file"]
    digest = base64.b64encode(hashlib.sha256(body).hexdigest().encode()).decode()
    assert (file["sizeBytes"], file["sha256Hash"]) == (str(size), digest)
    assert stored(doors, file["name"].removeprefix("files/")) == body


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("path", ["/upload/{}/files", "/{}/upload/{}/files"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_every_spelling_of_the_route_serves(
    doors: Doors, version: str, path: str, method: str
) -> None:
    start = {"X-Goog-Upload-Protocol": "Resumable", "X-Goog-Upload-Command": "Start"}
    answer = doors.ask("POST", path.format(version, version), b"", start)
    url = answer.headers["x-goog-upload-url"]
    assert url.startswith(f"{doors.url}/upload/{version}/files?")
    headers = {"X-Goog-Upload-Command": "upload,finalize", "X-Goog-Upload-Offset": "0"}
    assert doors.ask(method, url, b"x", headers).json["file"]["sizeBytes"] == "1"


def test_the_bytes_are_never_read_by_their_content_type(doors: Doors) -> None:
    url = doors.start()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = doors.send(url, "upload, finalize", 0, b"a=1&b={", headers)
    assert stored(doors, answer.json["file"]["name"].removeprefix("files/")) == b"a=1&b={"


def test_a_chunked_piece_is_taken(doors: Doors) -> None:
    def body() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    answer = doors.send(doors.start(), "upload, finalize", 0, body())
    assert stored(doors, answer.json["file"]["name"].removeprefix("files/")) == b"one two"


def test_finalize_may_come_alone(doors: Doors) -> None:
    url = doors.start()
    doors.send(url, "upload", 0, b"abc")
    assert doors.send(url, "finalize").json["file"]["sizeBytes"] == "3"


def test_finalize_alone_does_not_hide_that_bytes_are_missing(doors: Doors) -> None:
    url = doors.start()
    doors.send(url, "upload", 0, b"abc")
    answer = doors.send(url, "finalize", 6)
    assert answer.error[:2] == (400, "OUT_OF_RANGE")
    assert answer.headers["x-goog-upload-size-received"] == "3"


@pytest.mark.parametrize(
    ("body", "header", "wanted"),
    [
        (b'{"file":{"mimeType":"a/b"}}', "c/d", "a/b"),
        (b'{"file":{"mime_type":"a/b"}}', "c/d", "a/b"),
        (b"{}", "c/d", "c/d"),
        (b"", "", "application/octet-stream"),
    ],
)
def test_the_type_is_the_bodys_else_the_headers_else_plain_bytes(
    doors: Doors, body: bytes, header: str, wanted: str
) -> None:
    url = doors.start(body, {"X-Goog-Upload-Header-Content-Type": header} if header else {})
    assert doors.send(url, "upload, finalize", 0, b"x").json["file"]["mimeType"] == wanted


def test_the_announced_length_is_only_a_hint(doors: Doors) -> None:
    url = doors.start(headers={"X-Goog-Upload-Header-Content-Length": "0"})
    answer = doors.send(url, "upload, finalize", 0, b"more than nothing")
    assert answer.json["file"]["sizeBytes"] == "17"


# repeats, gaps and broken lines ----------------------------------------------------------------


def test_a_piece_whose_answer_was_lost_is_sent_again_without_harm(doors: Doors) -> None:
    url = doors.start()
    for _ in range(2):
        answer = doors.send(url, "upload", 0, b"abcd")
        assert answer.headers["x-goog-upload-size-received"] == "4"
    names = set()
    for _ in range(2):
        final = doors.send(url, "upload, finalize", 4, b"ef")
        assert final.headers["x-goog-upload-status"] == "final"
        names.add(final.json["file"]["name"])
    (name,) = names
    assert stored(doors, name.removeprefix("files/")) == b"abcdef"


def test_an_offset_ahead_is_refused_with_the_size_that_is_held(doors: Doors) -> None:
    url = doors.start()
    doors.send(url, "upload", 0, b"abcd")
    answer = doors.send(url, "upload, finalize", 8, b"x")
    assert answer.error[:2] == (400, "OUT_OF_RANGE")
    assert answer.headers["x-goog-upload-size-received"] == "4"
    assert answer.headers["x-goog-upload-status"] == "final"
    assert doors.send(url, "query").headers["x-goog-upload-status"] == "active"


def test_a_client_that_vanishes_in_the_middle_finds_its_bytes_again(doors: Doors) -> None:
    url = doors.start()
    body = b"0123456789" * 30_000
    half = body[:150_000]
    with doors.connect() as connection:
        head = f"POST {url} HTTP/1.1\r\nHost: {doors.host}\r\nContent-Length: {len(body)}\r\n"
        head += "X-Goog-Upload-Command: upload, finalize\r\nX-Goog-Upload-Offset: 0\r\n\r\n"
        connection.sendall(head.encode() + half)
    doors.eventually(lambda: received(doors, url) == len(half))
    answer = doors.send(url, "upload, finalize", len(half), body[len(half) :])
    assert stored(doors, answer.json["file"]["name"].removeprefix("files/")) == body


def test_two_senders_of_the_same_piece_make_one_file(doors: Doors) -> None:
    url = doors.start()
    body = b"ab" * (limits.MIB + 17)
    with ThreadPoolExecutor(2) as senders:
        answers = list(
            senders.map(lambda _: doors.send(url, "upload, finalize", 0, body), range(2))
        )
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    assert stored(doors, answers[0].json["file"]["name"].removeprefix("files/")) == body


def test_an_upload_goes_on_after_a_restart_with_a_torn_tail(tmp_path: Path) -> None:
    with opened(tmp_path) as doors:
        url = doors.start()
        doors.send(url, "upload", 0, b"counted")
    (blob,) = (tmp_path / "blobs" / "files" / "default").iterdir()
    with blob.open("ab") as torn:
        torn.write(b"and a tail that was never counted")
    with opened(tmp_path) as doors:
        assert received(doors, url) == 7
        answer = doors.send(url, "upload, finalize", 7, b", finished")
        file = answer.json["file"]
        assert stored(doors, file["name"].removeprefix("files/")) == b"counted, finished"
    with opened(tmp_path) as doors:
        again = doors.send(url, "upload, finalize", 7, b", finished").json["file"]
        assert {**again, "uri": ""} == {**file, "uri": ""}


def test_query_and_cancel_tell_where_the_upload_stands(doors: Doors) -> None:
    url = doors.start()
    doors.send(url, "upload", 0, b"abc")
    held = doors.send(url, "query")
    assert (held.status, held.headers["x-goog-upload-status"]) == (200, "active")
    assert held.headers["x-goog-upload-size-received"] == "3"
    for command in ("cancel", "cancel", "query"):
        assert doors.send(url, command).headers["x-goog-upload-status"] == "cancelled"
    assert doors.send(url, "upload", 3, b"d").error[:2] == (400, "FAILED_PRECONDITION")


def test_a_finished_upload_says_final_and_is_not_cancelled(doors: Doors) -> None:
    url = doors.start()
    name = doors.send(url, "upload, finalize", 0, b"abc").json["file"]["name"]
    assert doors.send(url, "query").headers["x-goog-upload-status"] == "final"
    assert doors.send(url, "cancel").error[:2] == (400, "FAILED_PRECONDITION")
    assert doors.ask("GET", f"/v1/{name}").status == 200


def test_a_client_that_waits_for_leave_to_send_gets_it(doors: Doors) -> None:
    url = doors.start()
    with doors.connect() as connection:
        head = f"POST {url} HTTP/1.1\r\nHost: {doors.host}\r\nContent-Length: 3\r\n"
        head += "Expect: 100-continue\r\nX-Goog-Upload-Command: upload\r\n"
        connection.sendall(f"{head}X-Goog-Upload-Offset: 0\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"abc")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert received(doors, url) == 3


# refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["upload", "upload, finalize", "finalize", "query", "cancel"])
def test_an_unknown_upload_is_not_found(doors: Doors, command: str) -> None:
    answer = doors.send("/upload/v1beta/files?upload_id=nobody", command, 0, b"")
    assert answer.error[:2] == (404, "NOT_FOUND")
    assert answer.headers["x-goog-upload-status"] == "final"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Goog-Upload-Protocol": "scotty"},
        {"X-Goog-Upload-Protocol": "resumable"},
        {"X-Goog-Upload-Command": "start"},
        {"Content-Type": "application/jsonl"},
    ],
)
def test_an_upload_of_no_known_form_is_told_how_it_is_done(
    doors: Doors, headers: dict[str, str]
) -> None:
    answer = doors.ask("POST", "/upload/v1beta/files", b"bytes", headers)
    code, status, message = answer.error
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert "X-Goog-Upload-Protocol: resumable" in message
    assert answer.headers["x-goog-upload-status"] == "final"


@pytest.mark.parametrize("command", ["", "start", "upload, cancel", "upload, finalize, query"])
def test_a_wrong_command_is_refused(doors: Doors, command: str) -> None:
    answer = doors.send(doors.start(), command, 0, b"x")
    assert answer.error[:2] == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("offset", ["", "-1", "1.5", "x", "9" * 30, "\u0661"])
def test_a_wrong_offset_is_refused(doors: Doors, offset: str) -> None:
    headers = {"X-Goog-Upload-Command": "upload"}
    raw = {"X-Goog-Upload-Offset": offset.encode().decode("latin-1")} if offset else {}
    answer = doors.ask("POST", doors.start(), b"x", {**headers, **raw})
    assert answer.error[:2] == (400, "INVALID_ARGUMENT")


def test_compressed_bytes_are_refused(doors: Doors) -> None:
    url = doors.start()
    answer = doors.send(url, "upload, finalize", 0, b"x", {"Content-Encoding": "gzip"})
    assert "Content-Encoding" in answer.error[2]
    assert received(doors, url) == 0


def test_a_file_over_the_bound_is_refused_before_and_while_it_arrives(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FILE_BYTES_MAX", 5)
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    long = {**start, "X-Goog-Upload-Header-Content-Length": "6"}
    assert "at most 5 bytes" in doors.ask("POST", "/upload/v1/files", b"", long).error[2]
    said = b'{"file": {"sizeBytes": "6"}}'
    assert doors.ask("POST", "/upload/v1/files", said, start).error[0] == 400
    answer = doors.send(doors.start(), "upload, finalize", 0, b"123456")
    assert "at most 5 bytes" in answer.error[2]


def test_a_nearly_full_disk_refuses_uploads_in_words(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = doors.start()
    monkeypatch.setattr(limits, "DISK_RESERVE_BYTES", 2**62)
    monkeypatch.setattr(limits, "DISK_RESERVE_SHARE", 1.0)
    answer = doors.send(url, "upload", 0, b"x")
    assert answer.error[:2] == (429, "RESOURCE_EXHAUSTED")
    assert "no room" in answer.error[2]


def test_a_wanted_name_is_given_once_and_never_one_of_ours(doors: Doors) -> None:
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}

    def wanted(name: str) -> dict[str, object]:
        return {"file": {"name": name}}

    url = doors.start(msgspec.json.encode(wanted("files/mine")))
    assert doors.send(url, "upload, finalize", 0, b"x").json["file"]["name"] == "files/mine"
    for name, code in [("files/mine", 409), ("files/batch-x", 400), ("files/No", 400)]:
        body = msgspec.json.encode(wanted(name))
        assert doors.ask("POST", "/upload/v1/files", body, start).error[0] == code


# addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({"Host": "example.test:81"}, "http://example.test:81"),
        (
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.test, b.test"},
            "https://a.test",
        ),
        (
            {"Host": "[::1]:8080", "X-Forwarded-Prefix": "/night/rate/"},
            "http://[::1]:8080/night/rate",
        ),
    ],
)
def test_the_upload_url_is_one_that_the_client_can_reach(
    doors: Doors, headers: dict[str, str], base: str
) -> None:
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    answer = doors.ask("POST", "/upload/v1/files", b"", {**start, **headers})
    assert answer.headers["x-goog-upload-url"].startswith(f"{base}/upload/v1/files?upload_id=")


@pytest.mark.parametrize(
    "headers", [{"Host": "a b"}, {"X-Forwarded-Proto": "ftp"}, {"X-Forwarded-Prefix": "/a b"}]
)
def test_headers_that_make_no_address_are_refused(doors: Doors, headers: dict[str, str]) -> None:
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    answer = doors.ask("POST", "/upload/v1/files", b"", {**start, **headers})
    assert answer.error[:2] == (400, "INVALID_ARGUMENT")


def test_a_configured_address_rules(tmp_path: Path) -> None:
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    with opened(tmp_path, "https://night.test/rate/") as doors:
        answer = doors.ask("POST", "/upload/v1/files", b"", {**start, "X-Forwarded-Host": "x.y"})
    url = answer.headers["x-goog-upload-url"]
    assert url.startswith("https://night.test/rate/upload/v1/files?upload_id=")
