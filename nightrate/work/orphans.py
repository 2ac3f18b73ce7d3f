"""Bytes on the disk that nothing names: what a crash left between a row and its bytes.

Blobs are written before the row that names them is committed, and deleted after it is gone, so
what no row names is either an orphan or on its way. It is deleted when two looks, two leases apart
on the monotonic clock, found no row: a jump of the wall clock makes nothing look old. A pass over
everything goes on over many turns, each of which looks at some names only; a restart begins anew.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from nightrate import clock, limits, upkeep_limits
from nightrate.domain.batch import batch_folder
from nightrate.service.repairs import UNTIDY
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs
from nightrate.work.tidy import tidy_batch

log = logging.getLogger(__name__)


class Orphans:
    """Looks for them, a few names at a time."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._pass: AsyncGenerator[int, None] | None = None
        self._next_at = clock.monotonic()
        self._since: dict[str, float] = {}
        """When each suspect was first seen."""
        self._seen: set[str] = set()
        """The suspects of this pass."""

    async def turn(self) -> None:
        """Look at the next names, if a pass is under way or due."""
        if self._pass is None:
            if clock.monotonic() < self._next_at:
                return
            self._seen = set()
            self._pass = self._look()
        looked = 0
        try:
            async for names in self._pass:
                looked += names
                if looked >= upkeep_limits.ORPHAN_NAMES:
                    return
        except BaseException:
            await self.close()
            raise
        self._pass = None
        self._since = {name: self._since[name] for name in self._since.keys() & self._seen}
        wait = limits.ORPHAN_SECONDS if self._since else limits.ORPHAN_PASS_SECONDS
        self._next_at = clock.monotonic() + wait

    async def close(self) -> None:
        """Let go of the folders that are being read; the next turn begins a new pass."""
        if self._pass is not None:
            unfinished, self._pass = self._pass, None
            await unfinished.aclose()

    async def _look(self) -> AsyncGenerator[int, None]:
        """Look at everything, and tell after every slice how many names it had."""
        for kind in ("files", "caches"):
            async with aclosing(self._blobs.scan(kind)) as slices:
                async for tenants in slices:
                    for tenant in tenants:
                        async with aclosing(self._look_at_blobs(f"{kind}/{tenant}")) as looked:
                            async for names in looked:
                                yield names
        async with aclosing(self._blobs.scan("batches")) as slices:
            async for tenants in slices:
                for tenant in tenants:
                    async with aclosing(self._blobs.scan(f"batches/{tenant}")) as folders:
                        async for batch_ids in folders:
                            await self._look_at_batches(tenant, batch_ids)
                            yield len(batch_ids)

    async def _look_at_blobs(self, folder: str) -> AsyncGenerator[int, None]:
        async with aclosing(self._blobs.scan(folder)) as slices:
            async for found in slices:
                names = [f"{folder}/{name}" for name in found]
                named = await self._store.named(names)
                await self._suspect([name for name in names if name not in named])
                yield len(names)

    async def _look_at_batches(self, tenant: str, batch_ids: list[str]) -> None:
        """Find folders without a row, and what a row let go of before a crash."""
        kept = await self._store.kept(tenant, batch_ids)
        suspects, needless = [], []
        plans: dict[str, str] = {}
        for batch_id in batch_ids:
            folder = batch_folder(tenant, batch_id)
            if batch_id not in kept:
                suspects.append(folder)
                continue
            if not kept[batch_id].input:
                needless.append(f"{folder}/input")
            if not kept[batch_id].results:
                needless += [f"{folder}/segments", f"{folder}/journal"]
            plans |= {f"{folder}/{mark}": batch_id for mark in ("plan", UNTIDY)}
        await self._suspect(suspects)
        await self._blobs.delete(*await self._blobs.existing(needless))
        for plan in await self._blobs.existing(list(plans)):
            batch = await self._store.get_batch(tenant, plans[plan])
            if batch is not None and batch.has_results:
                await tidy_batch(self._store, self._blobs, batch)

    async def _suspect(self, names: list[str]) -> None:
        """Take note of names that nothing names, and delete those that were noted long enough."""
        now = clock.monotonic()
        orphans = []
        for name in names:
            since = self._since.get(name)
            if since is not None and now - since >= limits.ORPHAN_SECONDS:
                orphans.append(name)
                del self._since[name]
            elif since is not None or len(self._since) < upkeep_limits.ORPHANS_HELD_MAX:
                self._since.setdefault(name, now)
                self._seen.add(name)
        if orphans:
            log.info(
                "%d blobs that nothing names are deleted, such as %s", len(orphans), orphans[0]
            )
            await self._blobs.delete(*orphans)
