"""Real servers and their customers: processes, sockets, a receiver of events."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
from aiohttp import web

from nightrate import manage_keys
from nightrate.domain.key import KeyWish
from nightrate.work.journal import MAGIC, records
from tests.acceptance.server import Answer, Server
from tests.faults.checker import Directory
from tests.faults.customer import Silence, Told

T = TypeVar("T")

CALLS_AT_ONCE = 32


async def wait_seconds(seconds: float) -> None:
    """Wait on the real clock, for what gives no signal: a moment to strike, another look."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)


class Line:
    """The way from customers to whichever server there is now."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.up = asyncio.Event()
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE)

    async def run(self, call: Callable[[], T]) -> T:
        """Make a blocking call in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Make an HTTP call.

        Raises:
            Silence: no whole answer came.
        """
        await self.up.wait()
        try:
            return await self.run(lambda: self.server.ask(method, path, body or None, headers))
        except (OSError, http.client.HTTPException) as error:
            raise Silence from error

    async def start(self) -> tuple[float, float]:
        """Start the server, on the data of the one before.

        Returns:
            the seconds until it was ready, and how many of them it had a core: the rest is what
            the machine was doing beside.
        """
        await self.run(self.server.start)
        busy = psutil.Process(self.server.pid).cpu_times()
        self.up.set()
        return self.server.ready_seconds, busy.user + busy.system

    async def kill(self) -> None:
        """End it with SIGKILL."""
        self.up.clear()
        await self.run(self.server.kill)

    def close(self) -> None:
        """Leave no process and no thread behind."""
        self.server.close()
        self._threads.shutdown()


@contextlib.asynccontextmanager
async def receiver(tenants: Mapping[str, Told]) -> AsyncIterator[str]:
    """Take events, at an address for each tenant; give the address without its last part."""

    async def hear(request: web.Request) -> web.Response:
        told = tenants[request.match_info["tenant"]]
        message_id = request.headers["webhook-id"]
        batch = str(msgspec.json.decode(await request.read())["data"]["id"])
        if told.heard.setdefault(message_id, batch) != batch:
            told.wrong.append(f"event {message_id} tells of two batches")
        return web.Response()

    app = web.Application()
    app.router.add_post("/{tenant}", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def new_key(data: Path, tenant: str) -> str:
    """Make a key, through the server that holds the directory or without one."""
    made = await manage_keys.create_key(data, KeyWish(tenant=tenant))
    return str(made.key)


def kept_answers(data: Path) -> set[str]:
    """Give the keys of all requests whose answers count: in journals and published segments."""
    lines: list[bytes] = []
    for name in Directory(data).sealed():
        path = data / "blobs" / name
        lines += path.read_bytes().splitlines() if path.exists() else []
    for path in (data / "blobs" / "batches").glob("*/*/journal/*"):
        content = path.read_bytes()
        if content.startswith(MAGIC):
            found = records(content[len(MAGIC) :], len(MAGIC))
            lines += [content[one.offset :][: one.length] for one in found]
    rows = [msgspec.json.decode(line) for line in lines]
    return {str(row.get("key") or row.get("metadata", {}).get("key")) for row in rows}
