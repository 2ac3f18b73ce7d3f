"""What requests that name a cached content begin with."""

from __future__ import annotations

import asyncio
import zlib

from nightrate import limits
from nightrate.dialects.gemini_caches import parse_prefix
from nightrate.domain.cache import Cache, Reach, continued
from nightrate.domain.generation import Prompt
from nightrate.errors import BadRequest, Damaged, MissingCache
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs


class Prefixes:
    """Puts cached contents before the prompts that name them.

    Whether one may be used is asked of the store each time, so that what was deleted a moment ago
    is gone. What it keeps never changes, and stays in memory while there is room
    (`limits.PREFIXES_HELD_BYTES_MAX`).
    """

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._held: dict[str, tuple[Prompt, int]] = {}
        """By blob, the one that was used last at the end."""
        self._held_bytes = 0
        self._reading = asyncio.Lock()

    async def whole(self, prompt: Prompt, model: str, reach: Reach) -> Prompt:
        """Give a prompt with what it continues put before it.

        Raises:
            MissingCache: there is no such cached content within reach.
            BadRequest: it is of another model, there is still no turn to answer, or the answer
                cannot be all that both ask for.
            Damaged: its bytes are not what was written.
            StoreFault: the database cannot be asked.
            OSError: the disk refused.
        """
        if prompt.cache is None:
            return prompt
        cache = await self._found(prompt.cache, reach)
        if cache.model != model:
            message = (
                f"The model of the request (models/{model}) and that of the cached content"
                f" (models/{cache.model}) must be the same."
            )
            raise BadRequest(message, field="cachedContent")
        try:
            prefix = await self._prefix(cache)
        except Damaged:
            await self._found(prompt.cache, reach)  # or it was deleted just now
            raise
        _check_together(prefix, prompt)
        joined = continued(prefix, prompt, cache.token_count)
        if not joined.messages:
            message = "contents: neither the request nor its cached content has any."
            raise BadRequest(message, field="contents")
        return joined

    def forget(self, blob: str) -> None:
        """Let go of what a deleted cached content kept."""
        _, size_bytes = self._held.pop(blob, (None, 0))
        self._held_bytes -= size_bytes

    async def _found(self, cache_id: str, reach: Reach) -> Cache:
        cache = await self._store.get_cache(reach.tenant, cache_id, reach.alive_at)
        if cache is None:
            raise missing_cache(cache_id)
        return cache

    async def _prefix(self, cache: Cache) -> Prompt:
        found = self._remembered(cache.blob)
        if found is not None:
            return found
        async with self._reading:  # one at a time: many requests of a batch come at once
            found = self._remembered(cache.blob)
            if found is None:
                reader = await self._blobs.open(cache.blob)
                try:
                    content = await reader.read(0, cache.size_bytes)
                finally:
                    await reader.close()
                _check(cache, content)
                found = parse_prefix(content, cache.model)
                self._remember(cache.blob, found, cache.size_bytes)
        return found

    def _remembered(self, blob: str) -> Prompt | None:
        held = self._held.pop(blob, None)
        if held is None:
            return None
        self._held[blob] = held
        return held[0]

    def _remember(self, blob: str, prefix: Prompt, size_bytes: int) -> None:
        self._held[blob] = prefix, size_bytes
        self._held_bytes += size_bytes
        while self._held_bytes > limits.PREFIXES_HELD_BYTES_MAX:
            self.forget(next(iter(self._held)))


def _check_together(prefix: Prompt, prompt: Prompt) -> None:
    """Refuse what each may ask for and both may not, under the path that the request has for it."""
    if prefix.calling is not None:
        beside = prompt.calling or prompt.form or prompt.picture or prompt.logprobs
        why = "the cached content declares functions: leave this out, or use another one."
    else:
        beside = prompt.calling if prefix.lookup is not None else None
        why = "the cached content looks something up: leave the functions out, or use another one."
    if beside is not None:
        raise BadRequest(f"{beside.field}: {why}", field=beside.field)


def _check(cache: Cache, content: bytes) -> None:
    """Refuse bytes that are not what was kept.

    Raises:
        Damaged: so they are.
    """
    if cache.crc32 is not None and zlib.crc32(content) != cache.crc32:
        raise Damaged(f"blob {cache.blob} is damaged: its CRC-32 is not what it was written with")


def missing_cache(cache_id: str) -> MissingCache:
    """Say that there is no such cached content, or none that this client may see."""
    name = f"cachedContents/{cache_id}"
    return MissingCache(f"CachedContent not found (or permission denied): {name}")
