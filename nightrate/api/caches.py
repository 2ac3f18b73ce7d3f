"""Cached contents: beginnings of requests, kept to be named by others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightrate import clock, limits
from nightrate.api import body
from nightrate.api.auth import tenant_of
from nightrate.api.query import one_of, page_of
from nightrate.api.respond import document
from nightrate.dialects import gemini as wire
from nightrate.dialects import gemini_caches as dialect
from nightrate.domain.generation import Failure

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nightrate.service.caches import Caches


class CacheDoors:
    """Handlers of the routes about cached contents."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches

    async def create(self, request: Request) -> Response:
        """Answer ``POST cachedContents``."""
        content = await body.whole(request, limits.CACHE_BYTES_MAX)
        now = clock.now()  # its life is counted from the time that it shows
        wish = dialect.parse_cache(content, now)
        cache = await self._caches.create(tenant_of(request), wish, now)
        if isinstance(cache, Failure):
            status, failure = wire.render_failure(cache)
            return document(failure, status)
        return document(dialect.render_cache(cache))

    async def list(self, request: Request) -> Response:
        """Answer ``GET cachedContents``."""
        page = page_of(request, default=limits.PAGE_SIZE_DEFAULT, maximum=limits.PAGE_SIZE_MAX)
        caches, following = await self._caches.list(tenant_of(request), page)
        token = wire.encode_page_token(*following) if following else None
        return document(dialect.render_caches(caches, token))

    async def get(self, request: Request) -> Response:
        """Answer ``GET cachedContents/ID``."""
        cache = await self._caches.get(tenant_of(request), _id(request))
        return document(dialect.render_cache(cache))

    async def change(self, request: Request) -> Response:
        """Answer ``PATCH cachedContents/ID``: another end."""
        mask = one_of(request, "updateMask", "update_mask")
        expires_at = dialect.parse_cache_change(await body.whole(request), mask, clock.now())
        cache = await self._caches.change(tenant_of(request), _id(request), expires_at)
        return document(dialect.render_cache(cache))

    async def delete(self, request: Request) -> Response:
        """Answer ``DELETE cachedContents/ID``."""
        await self._caches.delete(tenant_of(request), _id(request))
        return document(b"{}")


def _id(request: Request) -> str:
    cache_id: str = request.path_params["cache_id"]
    return cache_id
