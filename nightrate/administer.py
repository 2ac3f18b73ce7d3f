"""A command's way to a data directory: opened if it is free, else through the server in it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import json

from nightrate import clock, limits
from nightrate.errors import Fault, InUse, StoreFault
from nightrate.store import local_socket
from nightrate.store.directory import DataDirectory, open_directory

T = TypeVar("T")
Room = TypeVar("Room")

_OK = 200


class RefusedByServer(Fault):
    """The server that holds the data directory refused."""


class _Complaint(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _Complaint


def require_directory(data: Path) -> None:
    """Refuse where there is none: looking for something makes no directory.

    Raises:
        StoreFault: there is none.
    """
    if not data.is_dir():
        raise StoreFault(f"There is no data directory {data}.")


async def ask(
    data: Path, here: Callable[[DataDirectory], Awaitable[T]], there: Callable[[], T]
) -> T:
    """Do it in the directory itself, or have it done by the server that holds it.

    A server that is just starting or ending holds the directory and does not answer: it is asked
    again for a while.

    Raises:
        StoreFault: the directory cannot be used.
        RefusedByServer: the server says why.
    """
    ends_at = clock.monotonic() + limits.ADMINISTRATION_WAIT_SECONDS
    while True:
        try:
            async with _opened(data) as directory:
                return await here(directory)
        except InUse:
            try:
                return await asyncio.to_thread(there)
            except OSError as error:
                if isinstance(error, PermissionError) or clock.monotonic() >= ends_at:
                    message = (
                        f"{data} is in use by a nightrate that takes no commands"
                        f" ({error.strerror or error}); stop it, or ask as the user it runs as"
                    )
                    raise StoreFault(message) from error
        await clock.sleep(limits.ADMINISTRATION_PAUSE_SECONDS)


async def ask_opened(
    data: Path,
    opened: Callable[[DataDirectory], contextlib.AbstractAsyncContextManager[Room]],
    here: Callable[[Room], Awaitable[T]],
    there: Callable[[], T],
) -> T:
    """Do it with something that is opened in the directory, or as `ask` by the server in it."""

    async def inside(directory: DataDirectory) -> T:
        async with opened(directory) as room:
            return await here(room)

    return await ask(data, inside, there)


async def inline(run: Callable[[], T]) -> T:
    """Make a blocking call where it stands: a command has nothing else to do."""
    return run()


@contextlib.asynccontextmanager
async def _opened(data: Path) -> AsyncIterator[DataDirectory]:
    """Hold the data directory."""
    try:
        directory = open_directory(data)
    except OSError as error:
        message = f"{data} cannot be used as the data directory: {error.strerror}"
        raise StoreFault(message) from error
    try:
        yield directory
    finally:
        directory.unlock()


class _Connection(http.client.HTTPConnection):
    """HTTP through the socket in a directory."""

    def __init__(self, folder: Path) -> None:
        super().__init__("nightrate", timeout=limits.CLIENT_TIMEOUT_SECONDS)
        self._folder = folder

    def connect(self) -> None:
        self.sock = local_socket.connect(self._folder, limits.CLIENT_TIMEOUT_SECONDS)


def call(
    data: Path,
    method: str,
    path: str,
    body: bytes | None,
    take: Callable[[http.client.HTTPResponse], T],
) -> T:
    """Make one call to the server in a directory, and let somebody take what it answers.

    Raises:
        OSError: nobody listens, or nobody answers.
        RefusedByServer: the server says why.
    """
    with contextlib.closing(_Connection(data)) as connection:
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            if response.status != _OK:
                complaint = json.decode(response.read(), type=_ErrorBody).error.message
                raise RefusedByServer(complaint)
            return take(response)
        except http.client.HTTPException as error:
            raise ConnectionAbortedError(str(error)) from error


def call_for(data: Path, method: str, path: str, body: bytes | None, kind: type[T]) -> T:
    """Make one call to the server in a directory, and read the document that it answers.

    Raises:
        OSError, RefusedByServer: as `call`.
    """
    return call(data, method, path, body, lambda response: json.decode(response.read(), type=kind))
