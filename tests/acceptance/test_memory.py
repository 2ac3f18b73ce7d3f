"""The server's memory does not grow with its jobs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import msgspec
import pytest

from nightrate import limits
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import counters, peak_bytes, text_of, until

INPUT_BYTES = 500_000_000
LINE_BYTES = 2_000
PIECE_BYTES = 8 * limits.MIB
"""What Google's clients send at once."""
MEMORY_BYTES_MAX = 200 * limits.MIB


class Input:
    """A large file of requests that exists only piece by piece."""

    def __init__(self) -> None:
        self.requests = 0
        self.texts = hashlib.sha256()

    def pieces(self) -> Iterator[bytes]:
        """Give the file in pieces, all but the last of the same length."""
        held = bytearray()
        sent = 0
        while sent < INPUT_BYTES:
            while len(held) < PIECE_BYTES and sent + len(held) < INPUT_BYTES:
                held += self._line()
            yield bytes(held[:PIECE_BYTES])
            sent += min(len(held), PIECE_BYTES)
            del held[:PIECE_BYTES]
        if held:
            yield bytes(held)

    def _line(self) -> bytes:
        text = f"{self.requests:09} ".ljust(LINE_BYTES - 80, "abcdefgh"[self.requests % 8])
        self.texts.update(text.encode())
        line = b'{"key":%d,"request":{"contents":[{"parts":[{"text":"%s"}]}]}}\n'
        self.requests += 1
        return line % (self.requests - 1, text.encode())


@pytest.mark.timeout(300)
def test_half_a_gigabyte_is_uploaded_planned_and_run_in_little_memory(
    make_server: MakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server = make_server("--engine", "echo")
    source = Input()
    upload, sent, began = server.start_upload(), 0, time.monotonic()
    for piece in source.pieces():
        server.send(upload, sent, piece)
        sent += len(piece)
    file = server.send(upload, sent, b"", "upload, finalize").json["file"]
    assert int(file["sizeBytes"]) == sent >= INPUT_BYTES
    uploaded = time.monotonic()
    name = server.create(file["name"]).json["name"]
    document = server.finish(name, 240)
    ended = time.monotonic()
    assert counters(document) == (source.requests, 0, source.requests, 0)
    texts = hashlib.sha256()
    lines = server.lines(document["response"]["responsesFile"])
    for number, line in enumerate(lines):
        answer = msgspec.json.decode(line)
        assert answer["key"] == number
        texts.update(text_of(answer).encode())
    assert texts.digest() == source.texts.digest()
    peak = peak_bytes(server.pid)
    seconds = ended - uploaded
    with capsys.disabled():
        print(  # noqa: T201 - the figures are worth seeing
            f"\n{sent / 1e6:.0f} MB, {source.requests} requests: {uploaded - began:.1f} s to upload"
            f" and {seconds:.1f} s to run ({source.requests / seconds:.0f} requests/s),"
            f" peak {peak / limits.MIB:.0f} MiB"
        )
    assert peak <= MEMORY_BYTES_MAX


def test_a_file_that_comes_in_one_call_is_not_held(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    begun = peak_bytes(server.pid)
    piece, count = b"x" * limits.MIB, 200

    def raw() -> Iterator[bytes]:
        yield from [piece] * count

    def two_parts() -> Iterator[bytes]:
        yield b'--cut\r\n\r\n{"file": {}}\r\n--cut\r\n\r\n'
        yield from raw()
        yield b"\r\n--cut--\r\n"

    for body, headers in (
        (raw(), {"x-goog-upload-protocol": "raw"}),
        (two_parts(), {"content-type": "multipart/related; boundary=cut"}),
    ):
        answer = server.ask("POST", "/upload/v1beta/files", body, headers)
        assert answer.json["file"]["sizeBytes"] == str(count * len(piece))
    assert peak_bytes(server.pid) - begun < 32 * limits.MIB


def test_large_answers_are_not_held(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    begun, count, times = peak_bytes(server.pid), 200, 30_000
    text = "a picture of fifty characters [[repeat 30000]]    "
    asked = [{"request": {"contents": [{"parts": [{"text": text}]}]}}] * count
    order = {"batch": {"inputConfig": {"requests": {"requests": asked}}}}
    path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    name = server.ask("POST", path, msgspec.json.encode(order)).json["name"]
    until(lambda: server.get("/v1beta/batches")["operations"][0]["done"], 60)
    size_bytes = sum(map(len, server.pieces(f"/v1beta/{name}")))
    assert size_bytes > 3 * count * times * len(text)  # all answers stand in three places
    assert peak_bytes(server.pid) - begun < 100 * limits.MIB
