"""Time that passes only when everybody waits, for one process without threads or sockets.

Minutes of leases and pauses take milliseconds, and the same inputs give the same order of events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from nightrate import clock
from tests.faults.virtual_time import VirtualLoop

T = TypeVar("T")

BEGINNING = 1_800_000_000_000_000
"""The wall clock at second 0, in microseconds since 1970."""


def run(work: Callable[[], Awaitable[T]], start_seconds: float = 0.0) -> T:
    """Run something in such a loop, with `nightrate.clock` telling its time."""
    loop = VirtualLoop(start_seconds, grace_seconds=0.0)
    clock.now = lambda: BEGINNING + int(loop.time() * 1_000_000)
    clock.monotonic = loop.time
    clock.sleep = _sleep

    async def main() -> T:
        return await work()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


async def pass_seconds(seconds: float) -> None:
    """Let so much time pass."""
    over = asyncio.Event()
    alarm = asyncio.get_running_loop().call_later(seconds, over.set)
    try:
        await over.wait()
    finally:
        alarm.cancel()


async def _sleep(seconds: float) -> None:
    await pass_seconds(seconds)  # whichever it is by then: a life puts its own in its place


async def inline(call: Callable[[], T], /) -> T:
    """Run a blocking call here, as others have their turn before and after it."""
    await asyncio.sleep(0)
    result = call()
    await asyncio.sleep(0)
    return result


# a server without sockets ---------------------------------------------------------------------


async def ask_app(
    app: Any, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """Make one HTTP call to an application in this process."""
    bare, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": bare,
        "raw_path": bare.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"server"),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("server", 80),
        "state": {},
    }
    status, fields, pieces = 0, dict[str, str](), []
    incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if incoming:
            return incoming.pop()
        return await asyncio.Event().wait()  # the client stays

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            fields.update((k.decode().lower(), v.decode()) for k, v in message["headers"])
        elif message["type"] == "http.response.body":
            pieces.append(bytes(message.get("body", b"")))

    await app(scope, receive, send)
    return status, fields, b"".join(pieces)
