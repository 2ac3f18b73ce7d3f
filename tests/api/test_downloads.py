"""Bytes go out whole, in ranges, while they still grow, and never wrong."""

from __future__ import annotations

import http.client
from functools import partial

import pytest

from nightrate import limits
from nightrate.store.blobs import Reader
from tests.api.doors import Answer, Doors

BODY = bytes(range(256)) * 8


@pytest.fixture(scope="module")
def file_id(doors: Doors) -> str:
    return doors.upload(BODY)


def part(doors: Doors, file_id: str, span: str, **headers: str) -> Answer:
    fields = {"Range": span, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return doors.ask("GET", f"/v1beta/files/{file_id}:download", headers=fields)


@pytest.mark.parametrize("path", ["/{}/files/{}:download", "/download/{}/files/{}:download"])
@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("query", ["", "?alt=media", "?alt=media&key=secret"])
def test_both_paths_give_the_bytes(
    doors: Doors, file_id: str, path: str, version: str, query: str
) -> None:
    answer = doors.ask("GET", path.format(version, file_id) + query)
    assert (answer.status, answer.body) == (200, BODY)
    assert answer.headers["content-length"] == str(len(BODY))
    assert answer.headers["content-type"] == "application/octet-stream", "jsonl is no media type"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize("colon", ["%3A", "%3a"])
def test_a_colon_written_as_a_proxy_writes_it_is_a_colon(
    doors: Doors, file_id: str, colon: str
) -> None:
    assert doors.ask("GET", f"/v1beta/files/{file_id}{colon}download").body == BODY


@pytest.mark.parametrize(
    ("span", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=2000-", 2000, 2048),
        ("bytes=-10", 2038, 2048),
        ("bytes=-9999", 0, 2048),
        ("bytes=2047-99999", 2047, 2048),
        ("bytes= 1 - 2", 1, 3),
    ],
)
def test_a_range_is_answered_with_just_that(
    doors: Doors, file_id: str, span: str, start: int, stop: int
) -> None:
    answer = part(doors, file_id, span)
    assert (answer.status, answer.body) == (206, BODY[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/2048"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("span", ["bytes=2048-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_outside_the_file_is_not_satisfiable(doors: Doors, file_id: str, span: str) -> None:
    answer = part(doors, file_id, span)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == "bytes */2048"


@pytest.mark.parametrize(
    "span", ["bytes=-", "bytes=9-5", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "nonsense"]
)
def test_what_is_no_single_range_is_answered_with_everything(
    doors: Doors, file_id: str, span: str
) -> None:
    answer = part(doors, file_id, span)
    assert (answer.status, answer.body) == (200, BODY)


def test_a_range_of_another_version_is_answered_with_everything(doors: Doors, file_id: str) -> None:
    etag = doors.ask("GET", f"/v1/files/{file_id}:download").headers["etag"]
    assert part(doors, file_id, "bytes=0-1", If_Range=etag).status == 206
    assert part(doors, file_id, "bytes=0-1", If_Range='"other"').status == 200


def test_a_head_request_gets_the_headers_alone(doors: Doors, file_id: str) -> None:
    answer = doors.ask("HEAD", f"/v1/files/{file_id}:download")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(BODY))


def test_an_empty_file_has_no_range(doors: Doors) -> None:
    file_id = doors.upload(b"")
    assert doors.ask("GET", f"/v1/files/{file_id}:download").headers["content-length"] == "0"
    assert part(doors, file_id, "bytes=0-").status == 416


def test_what_is_not_there_is_not_found(doors: Doors) -> None:
    for name in ("files/nothing", "files/batch-nothing"):
        for suffix in ("", ":download"):
            answer = doors.ask("GET", f"/v1/{name}{suffix}")
            assert answer.error[:2] == (404, "NOT_FOUND")


def test_the_results_of_a_running_batch_can_be_read_and_only_grow(doors: Doors) -> None:
    batch_id = doors.submit_file(doors.upload(b"{}\n" * 3))
    name = f"/v1beta/files/batch-{batch_id}"
    doors.plan(batch_id, 3)
    doors.seal(batch_id, b"one\n")
    first = doors.ask("GET", f"{name}:download")
    assert (first.body, first.headers["content-type"]) == (b"one\n", "application/jsonl")
    doors.seal(batch_id, b"two\n", b"three\n")
    last = doors.ask("GET", f"{name}:download")
    assert last.body == b"one\ntwo\nthree\n"
    assert last.headers["etag"] != first.headers["etag"]
    assert part(doors, f"batch-{batch_id}", "bytes=4-").body == b"two\nthree\n"
    document = doors.ask("GET", name).json
    assert (document["sizeBytes"], document["source"]) == ("14", "GENERATED")
    assert document["downloadUri"] == f"{doors.url}{name}:download?alt=media"


def test_damage_known_at_once_is_an_error_that_names_the_blob(doors: Doors) -> None:
    batch_id = doors.submit_file(doors.upload(b"{}\n"))
    doors.plan(batch_id, 1)
    (path,) = doors.seal(batch_id, b"sound\n")
    path.write_bytes(b"rotten")
    answer = doors.ask("GET", f"/v1/files/batch-{batch_id}:download")
    code, status, message = answer.error
    assert (code, status) == (503, "UNAVAILABLE")
    assert f"{batch_id}/segments/0" in message
    assert "try again" in message
    again = doors.ask("GET", f"/v1/files/batch-{batch_id}:download")
    assert again.error[:2] == (503, "UNAVAILABLE")
    assert part(doors, f"batch-{batch_id}", "bytes=0-1").status == 503
    document = doors.ask("GET", f"/v1/batches/{batch_id}").json
    assert document["state"] == "JOB_STATE_SUCCEEDED"  # what has ended stays so


def test_damage_that_cannot_be_made_good_is_a_loss_that_names_the_blob(doors: Doors) -> None:
    file_id = doors.upload(b"{}\n")
    batch_id = doors.submit_file(file_id)
    doors.plan(batch_id, 1)
    (path,) = doors.seal(batch_id, b"sound\n")
    path.write_bytes(b"rotten")
    next(path.parents[4].glob(f"files/*/{file_id}*")).unlink()
    for _ in range(2):
        code, status, message = doors.ask("GET", f"/v1/files/batch-{batch_id}:download").error
        assert (code, status) == (500, "DATA_LOSS")
        assert f"{batch_id}/segments/0 is damaged" in message
        assert f"{file_id}" in message


def test_damage_found_on_the_way_breaks_the_connection(doors: Doors) -> None:
    batch_id = doors.submit_file(doors.upload(b"{}\n" * 2))
    doors.plan(batch_id, 2)
    _, path = doors.seal(batch_id, b"sound\n", b"sound too\n")
    path.write_bytes(b"sound txx\n")
    head = f"GET /v1/files/batch-{batch_id}:download HTTP/1.1\r\nHost: {doors.host}\r\n\r\n"
    answer = doors.raw(head.encode())
    headers, body = answer.split(b"\r\n\r\n", 1)
    assert b"content-length: 16" in headers.lower()
    assert body == b"sound\n"


def test_a_reader_that_leaves_lets_the_blob_go(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = doors.upload(b"x" * (64 * limits.MIB))
    taken: list[int] = []
    given: list[int] = []
    reads: list[int] = []
    opened, read, close = doors.blobs.open, Reader.read, Reader.close

    async def noted_open(name: str) -> Reader:
        reader = await opened(name)
        taken.append(id(reader))
        return reader

    async def noted_read(reader: Reader, offset: int, length: int) -> bytes:
        reads.append(offset)
        return await read(reader, offset, length)

    async def noted_close(reader: Reader) -> None:
        await close(reader)
        given.append(id(reader))

    monkeypatch.setattr(doors.blobs, "open", noted_open)
    monkeypatch.setattr(Reader, "read", noted_read)
    monkeypatch.setattr(Reader, "close", noted_close)
    with doors.connect() as connection:
        head = f"GET /v1/files/{file_id}:download HTTP/1.1\r\nHost: {doors.host}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert not given
    doors.eventually(lambda: bool(given))
    assert taken == given
    assert len(reads) < 64 * limits.MIB / limits.READ_BYTES, "nobody was there to read it all for"


def test_what_does_not_grow_is_followed_to_its_end_at_once(doors: Doors, file_id: str) -> None:
    plain = doors.ask("GET", f"/v1/files/{file_id}:download")
    followed = doors.ask("GET", f"/v1/files/{file_id}:download?follow=true")
    assert followed.body == plain.body
    assert followed.headers["content-length"] == plain.headers["content-length"]
    assert doors.ask("GET", "/v1/files/batch-none:download?follow=true").error[0] == 404


def test_a_running_batch_is_followed_line_by_line(doors: Doors) -> None:
    batch_id = doors.submit_file(doors.upload(b"{}\n"))
    path = f"/exact/download/v1beta/files/batch-{batch_id}:download?alt=media&follow=true"
    connection = http.client.HTTPConnection("127.0.0.1", doors.port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()  # before there is a plan, let alone a line
    assert response.status == 200
    assert response.getheader("content-length") is None
    assert response.getheader("content-type") == "application/jsonl"
    batch = doors.call(doors.batches.get("default", batch_id))
    doors.plan(batch_id, 2)
    for line, over in ((b"one\n", False), (b"two\n", True)):
        doors.seal(batch_id, line)
        doors.loop.call_soon_threadsafe(partial(doors.followers.tell, batch, over=over))
        assert response.readline() == line
    assert response.read() == b""
    connection.close()


def test_a_part_of_what_grows_is_refused(doors: Doors) -> None:
    batch_id = doors.submit_file(doors.upload(b"{}\n"))
    path = f"/v1/files/batch-{batch_id}:download?follow=true"
    answer = doors.ask("GET", path, headers={"Range": "bytes=5-"})
    assert answer.error[:2] == (400, "INVALID_ARGUMENT")
    assert doors.ask("GET", path.replace("true", "yes")).error[:2] == (400, "INVALID_ARGUMENT")


def test_nobody_follows_for_a_client_who_left(doors: Doors) -> None:
    batch_id = doors.submit_file(doors.upload(b"{}\n"))
    with doors.connect() as connection:
        head = f"GET /v1/files/batch-{batch_id}:download?follow=true HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        key = ("default", batch_id)
        doors.eventually(lambda: key in doors.followers._news)
    doors.eventually(lambda: key not in doors.followers._news)


@pytest.mark.parametrize(
    ("declared", "sent"),
    [
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("aaaaaa", "application/octet-stream"),
        ("text/ plain", "application/octet-stream"),
        ("/x", "application/octet-stream"),
    ],
)
def test_a_type_that_http_cannot_say_is_sent_as_bytes(
    doors: Doors, declared: str, sent: str
) -> None:
    name = doors.upload(b"{}", declared)
    assert doors.ask("GET", f"/v1/files/{name}").json["mimeType"] == declared
    assert doors.ask("GET", f"/v1/files/{name}:download").headers["content-type"] == sent
