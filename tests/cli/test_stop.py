"""A server that is asked to stop takes up nothing new, and gives what runs some seconds."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import urllib.parse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from nightrate import clock, limits, serving
from nightrate.engines.base import ignore_progress
from nightrate.runtime import House, open_house
from nightrate.settings import Settings
from tests.acceptance.server import Server, request_line, until
from tests.cli.conftest import Commands

SECONDS = 30.0
LIVE = "/v1beta/models/gemini-2.5-flash:generateContent"


class Running:
    """A server in this process, whose signal is a call."""

    def __init__(self, data: Path, patch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.settings = Settings(data=str(data), engine="echo", port=0, **settings)
        self.asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.house: House
        patch.setattr(serving, "_stop_signals", lambda: self.asked)
        patch.setattr(serving, "open_house", self._open)

    def _open(self, settings: Settings, address: str) -> House:
        self.house = open_house(settings, address)
        return self.house

    def stop(self) -> None:
        self.asked.set_result(None)

    async def ask(self, path: str, document: Any) -> Any:
        """Make one call, in a thread."""
        place = urllib.parse.urlsplit(await self.address)

        def call() -> Any:
            with contextlib.closing(
                http.client.HTTPConnection(str(place.hostname), place.port)
            ) as connection:
                connection.request("POST", path, msgspec.json.encode(document))
                return msgspec.json.decode(connection.getresponse().read())

        return await asyncio.to_thread(call)

    async def submit(self, *texts: str) -> str:
        requests = [{"request": {"contents": [{"parts": [{"text": text}]}]}} for text in texts]
        order = {"batch": {"inputConfig": {"requests": {"requests": requests}}}}
        made = await self.ask("/v1beta/models/gemini-2.5-flash:batchGenerateContent", order)
        return str(made["name"]).removeprefix("batches/")


@asynccontextmanager
async def running(data: Path, patch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[Running]:
    """Serve while the block runs, and until the server has ended."""
    server = Running(data, patch, **settings)

    def listening(address: str, trouble: str | None) -> None:
        assert trouble is None
        server.address.set_result(address)

    task = asyncio.create_task(serving.serve(server.settings, ignore_progress, listening))
    await until_true(lambda: task.done() or server.address.done())
    yield server
    if not server.asked.done():
        server.stop()
    await task


def shards(data: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(apsw.Connection(str(data / "state.sqlite"))) as database:
        text = "SELECT state, epoch, owner, succeeded FROM shard ORDER BY batch_id, shard"
        return database.execute(text).fetchall()


async def until_true(true: Callable[[], object]) -> None:
    """Let the others work until something is true."""
    ends_at = clock.monotonic() + SECONDS
    for _ in itertools.takewhile(lambda _: clock.monotonic() < ends_at, itertools.count()):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


async def busy(server: Running, prompts: int) -> None:
    """Wait until the engine has so many prompts."""
    (lane,) = server.house.lanes.values()
    await until_true(lambda: lane.places.requests >= prompts)


async def test_calls_and_requests_of_batches_have_the_same_seconds_and_claims_go_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DRAIN_SECONDS", 3.0)
    contents = {"contents": [{"parts": [{"text": "[[delay 600]]"}]}]}
    async with running(tmp_path / "data", monkeypatch) as server:
        await server.submit("[[delay 600]] never", "fast")
        live = asyncio.create_task(server.ask(LIVE, contents))
        await busy(server, 2)
        server.stop()
        began = clock.monotonic()
    assert clock.monotonic() - began < 5.9, "one after the other they would have had six"
    assert shards(tmp_path / "data") == [("pending", 1, None, 1)]
    told = (await live)["error"]
    assert (told["code"], told["message"]) == (503, "The server is stopping.")


async def test_nothing_new_is_taken_up_from_the_signal_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"echo": {"requests": 1}}
    async with running(tmp_path / "data", monkeypatch, engines=one) as server:
        await server.submit("[[delay 0.5]] first", *(f"{number}" for number in range(40)))
        await server.submit("of another batch")
        await busy(server, 1)
        server.stop()
        await until_true(lambda: server.house._stopping)
        assert await server.house.not_ready() == "The server is stopping."
    done = sorted(shards(tmp_path / "data"))
    assert {state for state, *_ in done} == {"pending"}
    assert sum(succeeded for *_, succeeded in done) == 1
    assert all(owner is None for _, _, owner, _ in done)


def test_a_piece_that_is_being_sent_when_the_server_is_asked_to_stop_is_taken(
    commands: Commands,
) -> None:
    server = Server(commands.folder / "data", "--engine", "echo")
    commands.servers.append(server)
    server.start()
    upload = server.start_upload()
    content = request_line("a", "x" * 100_000)
    place = urllib.parse.urlsplit(server.base_url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    connection.putrequest("POST", upload)
    connection.putheader("x-goog-upload-command", "upload")
    connection.putheader("x-goog-upload-offset", "0")
    connection.putheader("content-length", str(len(content)))
    connection.endheaders(content[:50_000])
    until(lambda: list(server.data.glob("blobs/files/*/*")), 30)
    server.process.popen.terminate()
    assert server.process.stderr.wait_for("Waiting for", 30)
    connection.send(content[50_000:])
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"{}")
    assert answer.headers["x-goog-upload-size-received"] == str(len(content))
    connection.close()
    assert server.process.wait() == 0
    server.restart()
    asked = server.ask("POST", upload, headers={"x-goog-upload-command": "query"})
    assert asked.headers["x-goog-upload-size-received"] == str(len(content))
    finished = server.send(upload, len(content), b"", "upload, finalize")
    assert int(finished.json["file"]["sizeBytes"]) == len(content)
