"""The verbs about cached contents, in SQL."""

from __future__ import annotations

from nightrate.clock import Instant
from nightrate.domain.cache import Cache
from nightrate.domain.file import Page
from nightrate.errors import OverQuota
from nightrate.store import cache_statements as sql
from nightrate.store.relational import Relational
from nightrate.store.rows import cache_of, columns, page_values


class CacheVerbs(Relational):
    """See `Store`, cached contents."""

    async def add_cache(self, cache: Cache, most: int) -> None:
        """See `Store.add_cache`."""

        def call() -> None:
            if self._aggregate(sql.COUNT_CACHES, {"tenant": cache.tenant})[0] >= most:
                raise OverQuota(f"There are {most} cached contents; delete some, or let them end.")
            self._all(sql.ADD_CACHE, columns(cache))

        await self._write(call)

    async def get_cache(self, tenant: str, cache_id: str, alive_at: Instant) -> Cache | None:
        """See `Store.get_cache`."""
        rows = await self._read(sql.GET_CACHE, _key(tenant, cache_id, alive_at))
        return cache_of(rows[0]) if rows else None

    async def list_caches(self, tenant: str, page: Page, now: Instant) -> list[Cache]:
        """See `Store.list_caches`."""
        values = {"tenant": tenant, "alive_at": now, **page_values(page)}
        return [cache_of(row) for row in await self._read(sql.LIST_CACHES, values)]

    async def change_cache(
        self, tenant: str, cache_id: str, expires_at: Instant, now: Instant
    ) -> Cache | None:
        """See `Store.change_cache`."""
        values = {**_key(tenant, cache_id, now), "expires_at": expires_at}
        rows = await self._write(lambda: self._all(sql.CHANGE_CACHE, values))
        return cache_of(rows[0]) if rows else None

    async def delete_cache(self, tenant: str, cache_id: str, now: Instant) -> str | None:
        """See `Store.delete_cache`."""
        values = _key(tenant, cache_id, now)
        rows = await self._write(lambda: self._all(sql.DELETE_CACHE, values))
        return str(rows[0][0]) if rows else None


def _key(tenant: str, cache_id: str, alive_at: Instant) -> dict[str, object]:
    return {"tenant": tenant, "cache_id": cache_id, "alive_at": alive_at}
