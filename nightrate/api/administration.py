"""The door for the administrator: a socket in the data directory, which no network reaches.

Who may write that directory may stop the server and change every file, so nothing is asked here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from nightrate.api import body
from nightrate.api.middleware import Watch
from nightrate.api.respond import document
from nightrate.dialects import administration as dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

    from nightrate.service.keys import Keys


def create_administration(keys: Keys) -> Starlette:
    """Make the application that commands speak to while a server holds the data directory."""
    doors = _KeyDoors(keys)
    return Starlette(
        routes=[
            Route("/keys", doors.list),
            Route("/keys", doors.create, methods=["POST"]),
            Route("/keys:revoke", doors.revoke, methods=["POST"]),
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


def _no_headers(scope: Scope) -> Mapping[str, str]:
    del scope
    return {}
