"""The older resumable protocol: pieces with a ``Content-Range``, answered by 308 until the end."""

from __future__ import annotations

import pytest

from nightrate.api.content_range import ContentRange, parse_content_range
from nightrate.errors import BadRequest
from tests.api.doors import Answer, Doors

START = "/upload/v1beta/files?uploadType=resumable"
BODY = b"0123456789"


def begin(doors: Doors, path: str = START) -> str:
    """Begin a session; give the path of its URL."""
    headers = {
        "Content-Type": "application/json",
        "X-Upload-Content-Type": "jsonl",
        "X-Upload-Content-Length": str(len(BODY)),
    }
    answer = doors.ask("POST", path, b'{"file": {"displayName": "input"}}', headers)
    assert (answer.status, answer.body) == (200, b"")
    return answer.headers["location"].removeprefix(doors.url)


def put(doors: Doors, url: str, content_range: str | None, body: bytes = b"") -> Answer:
    headers = {} if content_range is None else {"Content-Range": content_range}
    return doors.ask("PUT", url, body, headers)


def check_finished(doors: Doors, answer: Answer) -> None:
    assert answer.status == 200, answer.body
    file = answer.json["file"]
    assert (file["displayName"], file["mimeType"], file["sizeBytes"]) == ("input", "jsonl", "10")
    assert doors.ask("GET", f"/v1/{file['name']}:download").body == BODY


def test_pieces_are_taken_until_the_last_byte_has_come(doors: Doors) -> None:
    url = begin(doors)
    first = put(doors, url, "bytes 0-3/10", BODY[:4])
    assert (first.status, first.body, first.headers["range"]) == (308, b"", "bytes=0-3")
    second = put(doors, url, "bytes 4-8/*", BODY[4:9])
    assert (second.status, second.headers["range"]) == (308, "bytes=0-8")
    check_finished(doors, put(doors, url, "bytes 9-9/10", BODY[9:]))


def test_a_body_without_a_range_is_the_whole_file(doors: Doors) -> None:
    check_finished(doors, put(doors, begin(doors), None, BODY))


@pytest.mark.parametrize("path", ["/v1beta/upload/v1beta/files?uploadType=resumable", START])
def test_a_client_that_lost_an_answer_asks_where_to_go_on(doors: Doors, path: str) -> None:
    url = begin(doors, path)
    nothing = put(doors, url, "bytes */10")
    assert nothing.status == 308
    assert "range" not in nothing.headers
    put(doors, url, "bytes 0-3/10", BODY[:4])
    for total in ("10", "*"):
        held = put(doors, url, f"bytes */{total}")
        assert (held.status, held.headers["range"]) == (308, "bytes=0-3")
    assert put(doors, url, "bytes 2-9/10", BODY[2:]).status == 200
    check_finished(doors, put(doors, url, "bytes */10"))
    check_finished(doors, put(doors, url, "bytes 4-9/10", BODY[4:]))


def test_a_session_ends_by_asking_when_its_length_turns_out_to_be_known(doors: Doors) -> None:
    url = begin(doors)
    assert put(doors, url, "bytes 0-9/*", BODY).status == 308
    check_finished(doors, put(doors, url, "bytes */10"))


def test_an_empty_file_is_made_of_nothing(doors: Doors) -> None:
    answer = put(doors, begin(doors), "bytes */0")
    assert answer.json["file"]["sizeBytes"] == "0"


@pytest.mark.parametrize(
    ("content_range", "body", "status"),
    [
        ("bytes 5-9/10", BODY[5:], "OUT_OF_RANGE"),
        ("bytes 0-4/5", BODY, "INVALID_ARGUMENT"),
        ("bytes 0-8/9", BODY, "INVALID_ARGUMENT"),
        ("bytes 0-9", BODY, "INVALID_ARGUMENT"),
    ],
)
def test_a_range_that_cannot_be_is_refused(
    doors: Doors, content_range: str, body: bytes, status: str
) -> None:
    url = begin(doors)
    assert put(doors, url, content_range, body).error[:2] == (400, status)
    check_finished(doors, put(doors, url, "bytes 0-9/10", BODY))


def test_a_length_that_was_passed_already_is_refused(doors: Doors) -> None:
    url = begin(doors)
    put(doors, url, "bytes 0-8/*", BODY[:9])
    answer = put(doors, url, "bytes */5")
    assert answer.error[:2] == (400, "INVALID_ARGUMENT")
    assert "5 bytes in all, but 9" in answer.error[2]


def test_an_unknown_session_is_not_found(doors: Doors) -> None:
    answer = put(doors, f"{START}&upload_id=nobody", "bytes 0-9/10", BODY)
    assert answer.error[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes 0-0/1", ContentRange(first_byte=0, length=1, total_bytes=1)),
        ("bytes 7-9/*", ContentRange(first_byte=7, length=3, total_bytes=None)),
        (" bytes */0 ", ContentRange(first_byte=None, total_bytes=0)),
        ("bytes */*", ContentRange(first_byte=None, total_bytes=None)),
        (None, ContentRange(first_byte=0, total_bytes=None, is_whole=True)),
    ],
)
def test_a_content_range_is_read(header: str | None, wanted: ContentRange) -> None:
    assert parse_content_range(header) == wanted


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "items 0-1/2",
        "bytes 0-/2",
        "bytes -1/2",
        "bytes 3-2/9",
        "bytes 0-2/2",
        "bytes \u0661-2/3",
        f"bytes 0-1/{'9' * 30}",
    ],
)
def test_a_malformed_content_range_is_refused(header: str) -> None:
    with pytest.raises(BadRequest, match="Content-Range"):
        parse_content_range(header)
