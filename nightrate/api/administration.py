"""The door for the administrator: a socket in the data directory, which no network reaches.

Who may write that directory may stop the server and change every file, so nothing is asked here.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from nightrate.api import body
from nightrate.api.middleware import Watch
from nightrate.api.respond import STREAM_HEADERS, Streamed, document
from nightrate.dialects import administration as dialect
from nightrate.dialects import documents
from nightrate.errors import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

    from nightrate.domain.backup import Progress
    from nightrate.domain.document import Document, Indexed
    from nightrate.service.keys import Keys


class MakesBackups(Protocol):
    """See `work.backups`."""

    def make(self, target: Path, /) -> AsyncGenerator[Progress, None]:
        """Make a backup, and tell how far it is."""
        ...


class HoldsDocuments(Protocol):
    """See `tools.index`."""

    async def put(self, document: Document, /) -> int:
        """Add a document, or replace the one of that address; give the number of its excerpts."""
        ...

    async def remove(self, uri: str, /) -> Indexed:
        """Remove a document, and give what it was."""
        ...

    async def documents(self, after: str, /) -> list[Indexed]:
        """List documents by address, those behind ``after``, a page at most."""
        ...


def create_administration(keys: Keys, backups: MakesBackups, index: HoldsDocuments) -> Starlette:
    """Make the application that commands speak to while a server holds the data directory."""
    doors = _KeyDoors(keys)
    shelf = _IndexDoors(index)
    return Starlette(
        routes=[
            Route("/keys", doors.list),
            Route("/keys", doors.create, methods=["POST"]),
            Route("/keys:revoke", doors.revoke, methods=["POST"]),
            Route("/backups", _BackupDoors(backups).make, methods=["POST"]),
            Route("/index:put", shelf.put, methods=["POST"]),
            Route("/index:list", shelf.list, methods=["POST"]),
            Route("/index:remove", shelf.remove, methods=["POST"]),
        ],
        middleware=[Middleware(Watch, error_headers=_no_headers)],
    )


class _KeyDoors:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def list(self, request: Request) -> Response:
        del request
        return document(dialect.render_keys(await self._keys.list()))

    async def create(self, request: Request) -> Response:
        wish = dialect.parse_order(await body.whole(request))
        return document(dialect.render_key(*await self._keys.create(wish)))

    async def revoke(self, request: Request) -> Response:
        key_id = dialect.parse_revocation(await body.whole(request))
        return document(dialect.render_key(await self._keys.revoke(key_id)))


class _IndexDoors:
    def __init__(self, index: HoldsDocuments) -> None:
        self._index = index

    async def put(self, request: Request) -> Response:
        put = await self._index.put(documents.parse_put(await body.whole(request)))
        return document(documents.render_put(put))

    async def list(self, request: Request) -> Response:
        after = documents.parse_page(await body.whole(request))
        return document(documents.render_page(await self._index.documents(after)))

    async def remove(self, request: Request) -> Response:
        uri = documents.parse_removal(await body.whole(request))
        return document(documents.render_indexed(await self._index.remove(uri)))


class _BackupDoors:
    def __init__(self, backups: MakesBackups) -> None:
        self._backups = backups

    async def make(self, request: Request) -> Response:
        target = dialect.parse_backup(await body.whole(request))
        return await Streamed.begin(self._lines(target), STREAM_HEADERS)

    async def _lines(self, target: Path) -> AsyncGenerator[bytes, None]:
        """Tell of a backup, line by line; what goes wrong in the middle is the last line."""
        begun = False
        try:
            async with aclosing(self._backups.make(target)) as told:
                async for progress in told:
                    begun = True
                    yield dialect.render_progress(progress)
        except Fault as fault:
            if not begun:
                raise
            yield dialect.render_broken_off(fault.message)
        except OSError as error:
            yield dialect.render_broken_off(f"A disk refused: {error}")


def _no_headers(scope: Scope) -> Mapping[str, str]:
    del scope
    return {}
