"""The real application under a real server on a loopback port, with a real store and real blobs.

The server lives in a thread of its own; tests speak to it over sockets and reach into its loop with
`Doors.call`.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import zlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvicorn
import uvloop

from nightrate import clock
from nightrate.api.app import create_app
from nightrate.api.protocol import Protocol
from nightrate.domain.batch import Plan
from nightrate.domain.shard import Segment, ShardPlan, Tally
from nightrate.engines.echo import EchoEngine
from nightrate.service.batches import Batches
from nightrate.service.caches import Caches
from nightrate.service.execute import Executor
from nightrate.service.files import Files
from nightrate.service.followers import Followers
from nightrate.service.keys import Keys
from nightrate.service.lane import Lane
from nightrate.service.models import Models
from nightrate.service.outlooks import Outlooks
from nightrate.service.prefixes import Prefixes
from nightrate.service.results import Results
from nightrate.service.vault import Vault
from nightrate.service.webhooks import Webhooks
from nightrate.store.blobs import Blobs
from nightrate.store.sqlite import SQLiteStore
from nightrate.tools.addresses import Addresses
from nightrate.work.inspector import Inspector

T = TypeVar("T")

TIMEOUT_SECONDS = 30


class Answer(msgspec.Struct):
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> tuple[int, str, str]:
        """The HTTP code, the status and the message of an error document."""
        assert self.headers["content-type"].startswith("application/json")
        error = self.json["error"]
        assert error["code"] == self.status
        return error["code"], error["status"], error["message"]


class Doors:
    """A running server and what stands behind it."""

    def __init__(self, path: Path, public_url: str | None, *, looks: bool = False) -> None:
        self._one = ThreadPoolExecutor(1)
        self._many = ThreadPoolExecutor(4)
        self.store = SQLiteStore(path / "state.sqlite", self._run_one)
        self.blobs = Blobs(path / "blobs", self._run_many)
        self.lane = Lane("echo", EchoEngine.from_options({}))
        self.models = Models({"*": "echo"}, lambda _engine: self.lane.engine.capabilities)
        self.prefixes = Prefixes(self.store, self.blobs)
        self.executor = Executor({"echo": self.lane}, self.prefixes)
        self.caches = Caches(self.store, self.blobs, self.models, self.executor, self.prefixes)
        self.batches = Batches(
            *(self.store, self.blobs, self.models, lambda: None),
            inspect=Inspector(self._run_many).inspect if looks else None,
        )
        self.files = Files(self.store, self.blobs)
        self.vault = Vault(path / "keys")
        self.keys = Keys(self.store, self.vault)
        self.addresses = Addresses()
        self.webhooks = Webhooks(self.store, self.vault, self.addresses, lambda: None)
        self.results = Results(self.store, self.blobs)
        self.followers = Followers(self.store, self.results)
        self.reason: str | None = None
        """Why the server is not ready."""
        self.app = create_app(
            files=self.files,
            results=self.results,
            followers=self.followers,
            batches=self.batches,
            models=self.models,
            executor=self.executor,
            webhooks=self.webhooks,
            caches=self.caches,
            keys=self.keys,
            outlooks=Outlooks(self.store, self.models, {"echo": self.lane}),
            readiness=self._readiness,
            public_url=public_url,
        )
        self.loop: asyncio.AbstractEventLoop
        self.port = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    async def _run_one(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._one, call)

    async def _run_many(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._many, call)

    async def _readiness(self) -> str | None:
        return self.reason

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(TIMEOUT_SECONDS)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own. A path may be a whole URL of this server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path.removeprefix(self.url), body, dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, content)

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are, and give everything that comes until the server closes."""
        with self.connect() as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_SECONDS)

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Ask the server's side until something is so; each asking lets its loop turn."""
        for _ in range(20_000):
            if condition():
                return
            self.call(asyncio.sleep(0))
        raise AssertionError("it never came to be")

    # uploads ----------------------------------------------------------------------------------

    def start(self, body: bytes = b"", headers: Mapping[str, str] | None = None) -> str:
        """Begin an upload; give the path of its URL."""
        fixed = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
        answer = self.ask("POST", "/upload/v1beta/files", body, {**fixed, **(headers or {})})
        assert answer.status == 200, answer.body
        assert answer.headers["x-goog-upload-status"] == "active"
        return answer.headers["x-goog-upload-url"].removeprefix(self.url)

    def send(
        self,
        url: str,
        command: str,
        offset: int | None = None,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a command to an upload URL."""
        fixed = {"X-Goog-Upload-Command": command}
        if offset is not None:
            fixed["X-Goog-Upload-Offset"] = str(offset)
        answer = self.ask("POST", url, body, {**fixed, **(headers or {})})
        assert "x-goog-upload-status" in answer.headers, "or the SDKs send it again for 7 seconds"
        return answer

    def upload(self, body: bytes, mime_type: str = "jsonl") -> str:
        """Upload a file; give its id."""
        url = self.start(headers={"X-Goog-Upload-Header-Content-Type": mime_type})
        answer = self.send(url, "upload, finalize", 0, body)
        assert answer.status == 200, answer.body
        name: str = answer.json["file"]["name"]
        return name.removeprefix("files/")

    # batches ----------------------------------------------------------------------------------

    def submit_inline(self, count: int = 2) -> str:
        """Submit a batch of inline requests; give its id."""
        requests = [{"request": {"contents": [{"parts": [{"text": "x"}]}]}}] * count
        return self._submit({"requests": {"requests": requests}})

    def submit_file(self, file_id: str) -> str:
        return self._submit({"fileName": f"files/{file_id}"})

    def _submit(self, source: object) -> str:
        body = msgspec.json.encode({"batch": {"displayName": "b", "inputConfig": source}})
        answer = self.ask("POST", "/v1beta/models/gemini-2.5-flash:batchGenerateContent", body)
        assert answer.status == 200, answer.body
        name: str = answer.json["name"]
        return name.removeprefix("batches/")

    def plan(self, batch_id: str, shards: int, tenant: str = "default") -> None:
        """Cut a batch into shards of one request each."""

        async def work() -> None:
            batch = await self.batches.get(tenant, batch_id)
            plan = Plan(request_count=shards, invalid_count=0, shard_count=shards, faults=())
            cut = iter([ShardPlan(index, index, 1, index + 1, 0, 0) for index in range(shards)])
            assert await self.store.open_batch(batch, plan, cut, clock.now())

        self.call(work())

    def seal(self, batch_id: str, *bodies: bytes, tenant: str = "default") -> list[Path]:
        """Seal the next shards of a batch with these bytes; give where they lie."""

        async def work(body: bytes) -> Path:
            now = clock.now()
            claim = await self.store.claim(tenant, batch_id, "me", now, clock.later(now, 60))
            assert claim is not None
            blob = f"batches/{tenant}/{batch_id}/segments/{claim.plan.index}"
            await self.blobs.put(blob, [body])
            segment = Segment(blob, len(body), zlib.crc32(body))
            await self.store.seal(claim, segment, Tally(succeeded=1), now)
            return self.blobs.path(blob)

        return [self.call(work(body)) for body in bodies]

    def seal_parted(self, batch_id: str, good: bytes, bad: bytes) -> None:
        """Seal the next shard of a batch whose failures stand apart."""

        async def work() -> None:
            now = clock.now()
            claim = await self.store.claim("default", batch_id, "me", now, clock.later(now, 60))
            assert claim is not None
            blob, body = f"batches/default/{batch_id}/segments/{claim.plan.index}", good + bad
            await self.blobs.put(blob, [body])
            segment = Segment(blob, len(body), zlib.crc32(body), len(good))
            await self.store.seal(claim, segment, Tally(len(good), len(bad)), now)

        self.call(work())


@contextmanager
def opened(path: Path, public_url: str | None = None, *, looks: bool = False) -> Iterator[Doors]:
    """Serve a data directory; most tests submit what nobody ``looks`` at."""
    path.mkdir(exist_ok=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    doors = Doors(path, public_url, looks=looks)
    doors.port = listener.getsockname()[1]
    config = uvicorn.Config(
        doors.app,
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    started: Future[asyncio.AbstractEventLoop] = Future()

    async def serve() -> None:
        started.set_result(asyncio.get_running_loop())
        lane = asyncio.create_task(doors.lane.keep_open())
        await server.serve(sockets=[listener])
        lane.cancel()
        await asyncio.gather(lane, return_exceptions=True)
        await doors.files.close()
        await doors.keys.close()
        await doors.store.close()

    def main() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=main, name="doors")
    thread.start()
    doors.loop = started.result(TIMEOUT_SECONDS)
    try:
        yield doors
    finally:
        server.should_exit = True
        thread.join(TIMEOUT_SECONDS)
        listener.close()
        doors._one.shutdown()
        doors._many.shutdown()
        assert not thread.is_alive(), "the server did not stop"
