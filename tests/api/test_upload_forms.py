"""Uploads in a single call: raw bodies and bodies of two parts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightrate import limits
from tests.api.doors import Answer, Doors, opened

PATHS = "/upload/v1/files", "/upload/v1beta/files", "/v1beta/upload/v1beta/files"
RELATED = {"Content-Type": "multipart/related; boundary=cut"}
FORM = {"Content-Type": 'multipart/form-data; boundary="cut"'}
BYTES = b'{"key": 1}\r\n\r\n--cu\n'


def body_of(*parts: tuple[str, bytes]) -> bytes:
    """Write parts, each a head and a content."""
    pieces = [f"--cut\r\n{head}\r\n\r\n".encode() + content for head, content in parts]
    return b"\r\n".join([*pieces, b"--cut--\r\n"])


METADATA = "Content-Type: application/json; charset=UTF-8", b"{'file': {'display_name': 'input'}}"
MEDIA = "Content-Type: application/jsonl", BYTES


def kept(doors: Doors, answer: Answer, content: bytes = BYTES) -> tuple[str | None, str]:
    """Check a new file from end to end; give its display name and type."""
    assert answer.status == 200, answer.body
    assert answer.headers["x-goog-upload-status"] == "final"
    file = answer.json["file"]
    assert file["sizeBytes"] == str(len(content))
    digest = hashlib.sha256(content).hexdigest().encode()
    assert base64.b64decode(file["sha256Hash"]) == digest
    assert doors.ask("GET", f"/v1/{file['name']}").json == file
    assert doors.ask("GET", f"/v1/{file['name']}:download?alt=media").body == content
    return file.get("displayName"), file["mimeType"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"X-Goog-Upload-Protocol": "multipart", **RELATED}),
        ("?uploadType=multipart", RELATED),
        ("", RELATED),
    ],
)
def test_metadata_and_bytes_come_in_one_call(
    doors: Doors, path: str, query: str, headers: dict[str, str]
) -> None:
    answer = doors.ask("POST", path + query, body_of(METADATA, MEDIA), headers)
    assert kept(doors, answer) == ("input", "application/jsonl")


def test_the_type_in_the_metadata_wins_over_the_parts(doors: Doors) -> None:
    metadata = METADATA[0], b'{"file": {"mimeType": "jsonl", "name": "files/of-two-parts"}}'
    answer = doors.ask("POST", PATHS[0], body_of(metadata, MEDIA), RELATED)
    assert kept(doors, answer) == (None, "jsonl")
    assert answer.json["file"]["name"] == "files/of-two-parts"
    again = doors.ask("POST", PATHS[0], body_of(metadata, MEDIA), RELATED)
    assert again.error[:2] == (409, "ALREADY_EXISTS")


def test_a_form_may_have_metadata_before_its_file(doors: Doors) -> None:
    metadata = 'Content-Disposition: form-data; name="metadata"', METADATA[1]
    file = 'Content-Disposition: form-data; name="file"; filename="a.jsonl"', BYTES
    answer = doors.ask("POST", PATHS[0], body_of(metadata, file), FORM)
    assert kept(doors, answer) == ("input", "application/octet-stream")


def test_a_form_may_have_its_file_alone(doors: Doors) -> None:
    head = 'Content-Disposition: form-data; name="file"; filename="a.jsonl"\r\nContent-Type: jsonl'
    answer = doors.ask("POST", PATHS[0], body_of((head, BYTES)), FORM)
    assert kept(doors, answer) == ("a.jsonl", "jsonl")


def test_a_file_without_a_name_has_none(doors: Doors) -> None:
    head = 'Content-Disposition: form-data; name="file"; filename=""'
    answer = doors.ask("POST", PATHS[0], body_of((head, BYTES)), FORM)
    assert kept(doors, answer) == (None, "application/octet-stream")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "headers"),
    [("", {"X-Goog-Upload-Protocol": "raw"}), ("?uploadType=media", {})],
)
def test_a_raw_body_is_the_file(
    doors: Doors, path: str, query: str, headers: dict[str, str]
) -> None:
    told = {"Content-Type": "application/jsonl", "X-Goog-Upload-File-Name": "a.jsonl"}
    answer = doors.ask("POST", path + query, BYTES, {**headers, **told})
    assert kept(doors, answer) == ("a.jsonl", "application/jsonl")


@pytest.mark.parametrize("content", [b"", b"x" * (3 * limits.MIB + 7)])
def test_a_file_of_any_size_comes_in_every_form(doors: Doors, content: bytes) -> None:
    raw = {"X-Goog-Upload-Protocol": "raw"}
    kept(doors, doors.ask("POST", PATHS[0], content, raw), content)
    two = body_of(METADATA, (MEDIA[0], content))
    kept(doors, doors.ask("POST", PATHS[0], two, RELATED), content)


def test_a_raw_body_of_unknown_length_is_taken(doors: Doors) -> None:
    def chunks() -> Iterator[bytes]:
        yield BYTES[:5]
        yield BYTES[5:]

    answer = doors.ask("POST", PATHS[0], chunks(), {"X-Goog-Upload-Protocol": "raw"})
    assert kept(doors, answer) == (None, "application/octet-stream")


def test_a_start_that_lost_its_headers_on_the_doubled_path_is_a_start(doors: Doors) -> None:
    json = {"Content-Type": "application/json"}
    answer = doors.ask("POST", PATHS[2], b'{"file": {"mimeType": "jsonl"}}', json)
    assert answer.headers["x-goog-upload-status"] == "active"
    url = answer.headers["x-goog-upload-url"]
    assert kept(doors, doors.send(url, "upload, finalize", 0, BYTES)) == (None, "jsonl")
    assert doors.ask("POST", PATHS[1], b"{}", json).error[:2] == (400, "INVALID_ARGUMENT")


# refusals leave nothing behind -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (body_of(METADATA), RELATED, "two parts"),
        (body_of(METADATA, MEDIA, MEDIA), RELATED, "two parts"),
        (b"--cut--\r\n", RELATED, "two parts"),
        (body_of(METADATA, MEDIA)[:-9], RELATED, "ends before"),
        (body_of(MEDIA, METADATA), RELATED, "JSON"),
        (body_of(METADATA, MEDIA), {"Content-Type": "multipart/related"}, "boundary"),
        (body_of(METADATA, MEDIA), {"Content-Type": "application/json"}, "multipart/related"),
        (
            body_of((METADATA[0], b" " * (limits.LENIENT_BODY_BYTES_MAX + 1)), MEDIA),
            RELATED,
            "metadata",
        ),
    ],
)
def test_a_body_that_is_not_two_parts_makes_no_file(
    tmp_path: Path, body: bytes, headers: dict[str, str], words: str
) -> None:
    with opened(tmp_path) as doors:
        answer = doors.ask("POST", PATHS[0] + "?uploadType=multipart", body, headers)
        assert answer.error[0] == 400
        assert words in answer.error[2]
        assert answer.headers["x-goog-upload-status"] == "final"
        assert doors.ask("GET", "/v1/files").json == {}


def test_a_file_over_the_bound_is_refused_in_every_form(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FILE_BYTES_MAX", 5)
    raw = doors.ask("POST", PATHS[0], BYTES, {"X-Goog-Upload-Protocol": "raw"})
    two = doors.ask("POST", PATHS[0], body_of(METADATA, MEDIA), RELATED)
    for answer in (raw, two):
        assert answer.error[:2] == (400, "INVALID_ARGUMENT")
        assert "at most 5 bytes" in answer.error[2]


def test_a_wanted_name_is_free_again_after_a_call_that_broke_off(doors: Doors) -> None:
    metadata = METADATA[0], b'{"file": {"name": "files/broken-off"}}'
    whole = body_of(metadata, MEDIA)
    assert doors.ask("POST", PATHS[0], whole[:-9], RELATED).error[0] == 400
    kept(doors, doors.ask("POST", PATHS[0], whole, RELATED))


def test_a_client_that_vanishes_leaves_no_file_and_its_name_free(tmp_path: Path) -> None:
    metadata = METADATA[0], b'{"file": {"name": "files/vanished"}}'
    whole = body_of(metadata, MEDIA)
    with opened(tmp_path) as doors:
        head = f"POST {PATHS[0]} HTTP/1.1\r\nHost: {doors.host}\r\nContent-Length: {len(whole)}"
        head += f"\r\nContent-Type: {RELATED['Content-Type']}\r\n\r\n"
        with doors.connect() as connection:
            connection.sendall(head.encode() + whole[:-12])
            doors.eventually(lambda: any(tmp_path.glob("blobs/files/default/vanished.*")))
            assert doors.ask("POST", PATHS[0], whole, RELATED).error[0] == 409
        doors.eventually(lambda: doors.ask("POST", PATHS[0], whole, RELATED).status == 200)
        assert len(doors.ask("GET", "/v1/files").json["files"]) == 1
