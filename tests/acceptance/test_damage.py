"""Results that a disk has spoiled are found, refused, and made again by the server."""

from __future__ import annotations

import msgspec
from google import genai
from google.genai import errors, types

from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import Process, Server, request_line, text_of, until

REQUESTS = 60


def _verify(server: Server, *options: str) -> tuple[int, list[str]]:
    process = Process(["verify", "--data", str(server.data), *options])
    try:
        status = process.wait(60)
        return status, process.stdout.lines
    finally:
        process.close()


def test_damage_is_found_and_made_good(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    name = server.submit(
        b"".join(request_line(f"key-{i}", f"question {i}") for i in range(REQUESTS))
    )
    server.finish(name)
    before = server.batch(name)
    file_name = before["response"]["responsesFile"]
    whole = server.download(file_name)
    server.terminate()
    segment = max(server.data.glob("blobs/batches/*/*/segments/*"))
    segment.write_bytes(segment.read_bytes().replace(b"question 40", b"question 04"))

    status, told = _verify(server)
    assert status == 1
    assert segment.name in told[0]
    assert _verify(server, "--repair")[0] == 1
    server.start()
    options = types.HttpOptions(base_url=server.base_url)
    with genai.Client(api_key="any-key", http_options=options) as client:

        def downloaded() -> bytes | None:
            try:
                return client.files.download(file=file_name)
            except errors.ServerError as error:
                assert error.code == 503  # noqa: PT017 - until it is made again
                return None

        again = until(downloaded, 30)
    assert again == whole
    assert [text_of(msgspec.json.decode(line)) for line in again.splitlines()] == [
        f"question {i}" for i in range(REQUESTS)
    ]
    after = server.batch(name)
    assert after["state"] == before["state"]
    assert after["metadata"]["batchStats"] == before["metadata"]["batchStats"]
    server.terminate()
    status, told = _verify(server)
    assert (status, told[-1].rpartition("; ")[2]) == (0, "all sound")
