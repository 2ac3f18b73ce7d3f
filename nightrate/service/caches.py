"""What a client can ask for about cached contents."""

from __future__ import annotations

import zlib

from nightrate import clock, limits
from nightrate.clock import Instant
from nightrate.domain.batch import Method
from nightrate.domain.cache import Cache, CacheWish, Reach
from nightrate.domain.file import Page
from nightrate.domain.generation import Failure
from nightrate.errors import BadRequest, OverQuota
from nightrate.service.execute import Executor
from nightrate.service.models import Models
from nightrate.service.prefixes import Prefixes, missing_cache
from nightrate.service.space import Space, refused_by_disk
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs

_ID_LENGTH = 24


class Caches:
    """Makes, finds, lists, changes and removes cached contents."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        models: Models,
        executor: Executor,
        prefixes: Prefixes,
        *,
        tokens_min: int = 0,
    ) -> None:
        """Wire the verbs.

        Args:
            store: durable truth.
            blobs: where what they keep lies.
            models: which names are served.
            executor: counts tokens.
            prefixes: told what was deleted.
            tokens_min: how many tokens one must have.
        """
        self._store = store
        self._blobs = blobs
        self._space = Space(blobs)
        self._models = models
        self._executor = executor
        self._prefixes = prefixes
        self._tokens_min = tokens_min

    async def create(self, tenant: str, wish: CacheWish, now: Instant) -> Cache | Failure:
        """Keep the beginning of a request; gives why not when its tokens cannot be counted.

        The bytes come first: when the row that names them is committed, they are synced.

        Raises:
            NotFound: no such model.
            BadRequest: it is too small.
            NoRoom: the disk is full but for its reserve.
            OverQuota: the tenant has too many of them.
            StoreFault: the disk refused.
        """
        model = self._models.resolve(wish.model, Method.GENERATE)
        tokens = await self._executor.count_tokens(model, wish.prompt, Reach(tenant, now))
        if isinstance(tokens, Failure):
            return tokens
        if tokens < self._tokens_min:
            message = (
                f"Cached content is too small. total_token_count={tokens},"
                f" min_total_token_count={self._tokens_min}"
            )
            raise BadRequest(message)
        size_bytes = len(wish.content)
        await self._space.require(size_bytes)
        cache_id = clock.new_id(_ID_LENGTH)
        cache = Cache(
            tenant=tenant,
            cache_id=cache_id,
            model=model.name,
            display_name=wish.display_name,
            blob=f"caches/{tenant}/{cache_id}",
            size_bytes=size_bytes,
            token_count=tokens,
            created_at=now,
            updated_at=now,
            expires_at=wish.expires_at,
            crc32=zlib.crc32(wish.content),
        )
        try:
            await self._blobs.put(cache.blob, [wish.content])
        except OSError as error:
            await self._blobs.delete(cache.blob)
            message = f"The content could not be written ({error.strerror}); try again later."
            raise refused_by_disk(error, message) from error
        try:
            await self._store.add_cache(cache, limits.CACHES_MAX)
        except OverQuota:
            await self._blobs.delete(cache.blob)
            raise
        return cache

    async def get(self, tenant: str, cache_id: str) -> Cache:
        """Find a cached content.

        Raises:
            MissingCache: there is none of that name, or it has expired.
        """
        return _there(cache_id, await self._store.get_cache(tenant, cache_id, clock.now()))

    async def list(self, tenant: str, page: Page) -> tuple[list[Cache], tuple[Instant, str] | None]:
        """List cached contents, newest first, and where the next page begins."""
        found = await self._store.list_caches(tenant, page, clock.now())
        shown = found[: page.size]
        more = len(found) > page.size
        return shown, (shown[-1].created_at, shown[-1].cache_id) if more else None

    async def change(self, tenant: str, cache_id: str, expires_at: Instant) -> Cache:
        """Give a cached content another end.

        Raises:
            MissingCache: there is none of that name, or it has expired.
        """
        changed = await self._store.change_cache(tenant, cache_id, expires_at, clock.now())
        return _there(cache_id, changed)

    async def delete(self, tenant: str, cache_id: str) -> None:
        """Remove a cached content at once, whoever still names it.

        Raises:
            MissingCache: there is none of that name, or it has expired.
        """
        blob = await self._store.delete_cache(tenant, cache_id, clock.now())
        if blob is None:
            raise missing_cache(cache_id)
        self._prefixes.forget(blob)
        await self._blobs.delete(blob)


def _there(cache_id: str, cache: Cache | None) -> Cache:
    if cache is None:
        raise missing_cache(cache_id)
    return cache
