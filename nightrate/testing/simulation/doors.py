"""The doors of a simulated server: how clients outside reach whichever process is up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from nightrate import clock
from nightrate.dialects.gemini_profiles import Profile
from nightrate.domain.batch import Batch
from nightrate.domain.file import ResultPart, Upload
from nightrate.errors import Damaged, Fault, Refused
from nightrate.testing.simulation.processes import Died
from nightrate.testing.simulation.rooms import Server
from nightrate.testing.simulation.world import Violation, World

T = TypeVar("T")
Verb = Callable[[Server], Coroutine[Any, Any, T]]


class BrokenOff(Exception):
    """There was no answer; what was asked for may have happened."""


class Doors:
    """The way of calls to whichever server is up.

    Args:
        world: where they are.
        server: gives the server that answers now.
    """

    def __init__(self, world: World, server: Callable[[], Server | None]) -> None:
        self.world = world
        self._server = server

    async def call(
        self,
        verb: Verb[T],
        gone: Callable[[], bool] = lambda: False,
    ) -> T:
        """Call a verb.

        Args:
            verb: what to call.
            gone: whether somebody has deleted what it reads; then its bytes may be missing.

        Raises:
            BrokenOff: no server is up, it died, or its disk refused.
            Refused: the server said so.
        """
        server = self._server()
        if server is None:
            raise BrokenOff
        task = server.process.spawn(verb(server))
        await asyncio.wait([task])
        if task.cancelled():
            raise BrokenOff
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, Damaged) and not gone():
            raise Violation(f"a client was told: {error.message}")
        if isinstance(error, Refused):
            raise error
        if isinstance(error, Died | Fault | OSError):
            raise BrokenOff from error
        raise Violation(f"a call failed: {error!r}") from error

    async def insist(self, verb: Verb[T]) -> T:
        """Call a verb that may be called again until there is an answer."""
        while True:
            try:
                return await self.call(verb)
            except BrokenOff:
                await clock.sleep(1)


def append(upload_id: str, offset: int, data: bytes, *, whole: bool) -> Verb[Upload]:
    """Send a piece of an upload; not whole when the client breaks off in the middle."""
    half = len(data) // 2

    async def pieces() -> AsyncIterator[bytes]:
        yield data[:half]
        await clock.sleep(0.01)
        if not whole:
            raise ConnectionResetError
        yield data[half:]

    return lambda it: it.files.append(upload_id, offset, pieces())


def download(tenant: str, file_id: str, pieces: list[bytes]) -> Verb[None]:
    """Read a file; what arrived is kept, also when the answer breaks off."""

    async def verb(it: Server) -> None:
        content = await it.results.content(tenant, file_id)
        async with aclosing(content.stream(0, content.size_bytes)) as stream:
            async for piece in stream:
                pieces.append(piece)
                await clock.sleep(0.01)

    return verb


def read_items(batch: Batch, pieces: list[bytes]) -> Verb[None]:
    """Read the results of an inline batch."""

    async def verb(it: Server) -> None:
        async with aclosing(it.results.items(batch, Profile.EXACT)) as stream:
            async for piece in stream:
                pieces.append(piece)
                await clock.sleep(0.01)

    return verb


def follow(tenant: str, file_id: str, part: ResultPart, pieces: list[bytes]) -> Verb[None]:
    """Read the results of a batch until there will be no more."""

    async def verb(it: Server) -> None:
        batch = await it.followers.growing(tenant, file_id)
        if batch is None:
            return
        async with aclosing(it.followers.lines(batch, part)) as stream:
            async for piece in stream:
                pieces.append(piece)
                await clock.sleep(0.01)

    return verb
