"""``nightrate keys``: opens the data directory if it is free, else speaks to the server in it."""

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
from nightrate.dialects import administration as dialect
from nightrate.dialects.administration import KeyDocument, KeysDocument
from nightrate.domain.key import KeyWish
from nightrate.errors import Fault, InUse, StoreFault
from nightrate.service.keys import Keys
from nightrate.service.vault import Vault
from nightrate.store import local_socket
from nightrate.store.directory import open_directory
from nightrate.store.sqlite import SQLiteStore

T = TypeVar("T")

_OK = 200


class RefusedByServer(Fault):
    """The server that holds the data directory refused."""


class _Complaint(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _Complaint


async def create_key(data: Path, wish: KeyWish) -> KeyDocument:
    """Make a key.

    Raises:
        Refused, RefusedByServer: a tenant, a name or an end that cannot be.
        StoreFault: the directory cannot be used.
    """

    async def here(keys: Keys) -> KeyDocument:
        return dialect.document_of(*await keys.create(wish))

    body = dialect.write_order(wish)
    return await _ask(data, here, lambda: _call(data, "POST", "/keys", body, KeyDocument))


async def list_keys(data: Path) -> list[KeyDocument]:
    """Give every key that was ever made, the newest first.

    Raises:
        StoreFault: the directory cannot be used, or there is none.
    """

    async def here(keys: Keys) -> list[KeyDocument]:
        return [dialect.document_of(key) for key in await keys.list()]

    _require(data)
    return await _ask(data, here, lambda: _call(data, "GET", "/keys", None, KeysDocument).keys)


async def revoke_key(data: Path, key_id: str) -> KeyDocument:
    """End a key; with a running server, no later call gets in with it.

    Raises:
        NotFound, RefusedByServer: there is none of that id.
        StoreFault: the directory cannot be used, or there is none.
    """

    async def here(keys: Keys) -> KeyDocument:
        return dialect.document_of(await keys.revoke(key_id))

    _require(data)
    body = dialect.write_revocation(key_id)
    return await _ask(data, here, lambda: _call(data, "POST", "/keys:revoke", body, KeyDocument))


def _require(data: Path) -> None:
    """Looking for keys makes no directory."""
    if not data.is_dir():
        raise StoreFault(f"There is no data directory {data}.")


async def _ask(data: Path, here: Callable[[Keys], Awaitable[T]], there: Callable[[], T]) -> T:
    """Do it in the directory itself, or have it done by the server that holds it.

    A server that is just starting or ending holds the directory and does not answer: it is asked
    again for a while.
    """
    ends_at = clock.monotonic() + limits.ADMINISTRATION_WAIT_SECONDS
    while True:
        try:
            async with _opened(data) as keys:
                return await here(keys)
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


@contextlib.asynccontextmanager
async def _opened(data: Path) -> AsyncIterator[Keys]:
    """Hold the data directory; nothing of it but keys is touched."""
    try:
        directory = open_directory(data)
    except OSError as error:
        message = f"{data} cannot be used as the data directory: {error.strerror}"
        raise StoreFault(message) from error
    try:
        vault = Vault(directory.keys)
        store = SQLiteStore(directory.database, _inline)
        try:
            yield Keys(store, vault)
        finally:
            await store.close()
    finally:
        directory.unlock()


async def _inline(call: Callable[[], T]) -> T:
    return call()


class _Connection(http.client.HTTPConnection):
    """HTTP through the socket in a directory."""

    def __init__(self, folder: Path) -> None:
        super().__init__("nightrate", timeout=limits.CLIENT_TIMEOUT_SECONDS)
        self._folder = folder

    def connect(self) -> None:
        self.sock = local_socket.connect(self._folder, limits.CLIENT_TIMEOUT_SECONDS)


def _call(data: Path, method: str, path: str, body: bytes | None, kind: type[T]) -> T:
    """Make one call.

    Raises:
        OSError: nobody listens, or nobody answers.
        RefusedByServer: the server says why.
    """
    with contextlib.closing(_Connection(data)) as connection:
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            content = response.read()
        except http.client.HTTPException as error:
            raise ConnectionAbortedError(str(error)) from error
    if response.status != _OK:
        raise RefusedByServer(json.decode(content, type=_ErrorBody).error.message)
    return json.decode(content, type=kind)
