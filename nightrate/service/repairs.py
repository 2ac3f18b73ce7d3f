"""Damage is reported here, and what is damaged is made again while its input exists.

A shard whose segment is not what was written leaves its sealed state (`Store.reopen_shard`), and
whoever works on its batch makes it again: a runner asks its requests anew, also when the batch has
succeeded meanwhile; of a batch that ended early, the closer tells each request that its answer was
lost. Where the input is gone, or is not what was uploaded, the damage stays, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable

from nightrate import clock, limits
from nightrate.domain.batch import Batch, batch_folder
from nightrate.domain.shard import Reopening, ShardRecord
from nightrate.errors import Damaged, Fault, NotReady
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs

log = logging.getLogger(__name__)

UNTIDY = "untidy"
"""The name of the blob that marks a batch with something to tidy when it has been repaired."""


class Repairs:
    """Lets damaged shards be made again."""

    def __init__(
        self, store: Store, blobs: Blobs, reopened: Callable[[], None] = lambda: None
    ) -> None:
        """Wire it.

        Args:
            store: durable truth.
            blobs: the inputs.
            reopened: told that there is a shard to make again.
        """
        self._store = store
        self._blobs = blobs
        self._tell_reopened = reopened
        self._reporting = asyncio.Lock()

    async def fault(
        self, tenant: str, batch_id: str, shard: int, blob: str, damage: Damaged
    ) -> Fault:
        """Report a damaged segment, and give what its reader is to be told.

        Returns:
            `NotReady` if the shard is made again, `Damaged` if it never can be; either names the
            blob.

        Raises:
            StoreFault: the database refused.
            OSError: the disk refused.
        """
        outcome, why = await self.report(tenant, batch_id, shard, blob)
        if outcome is Reopening.NEVER:
            return Damaged(f"{damage.message}. It cannot be made again: {why}.")
        return NotReady(
            f"{damage.message}. Its requests run again; try again when they are done, in a while."
        )

    async def report(
        self, tenant: str, batch_id: str, shard: int, blob: str
    ) -> tuple[Reopening, str]:
        """Let a shard be made again whose segment is damaged.

        Whoever finds the same damage later, or at the same time, is told the same.

        Returns:
            what becomes of it, and of one that is lost, why.

        Raises:
            StoreFault: the database refused.
            OSError: the disk refused.
        """
        async with self._reporting:  # an input is read for one reporter, not for each
            found = await self._store.shards(tenant, batch_id, shard, 1)
            if not found or found[0].plan.index != shard:
                return Reopening.NEVER, "its batch is not there any more"
            if (known := _known(found[0], blob)) is not None:
                return known
            batch = await self._store.get_batch(tenant, batch_id)
            if batch is None:
                return Reopening.NEVER, "its batch was deleted"
            now = clock.now()
            why = await self._why_not(batch)
            if why is not None:
                await self._store.lose_shard(tenant, batch_id, shard, blob, why, now)
                log.error("blob %s is damaged for good: %s", blob, why)
                return Reopening.NEVER, why
            await self._mark(batch)
            outcome = await self._store.reopen_shard(tenant, batch_id, shard, blob, now)
        if outcome is Reopening.AGAIN:
            log.error("blob %s is damaged: shard %d of batch %s runs again", blob, shard, batch_id)
            self._tell_reopened()
        return outcome, "its batch shows no results, or its input is gone"

    async def _mark(self, batch: Batch) -> None:
        """Remember that the damaged segment has to go one day, whatever crashes until then."""
        with contextlib.suppress(FileExistsError):
            await self._blobs.put(f"{batch_folder(batch.tenant, batch.batch_id)}/{UNTIDY}", [b""])

    async def _why_not(self, batch: Batch) -> str | None:
        """Say why the requests of a batch cannot be read again; None when they can."""
        name = batch.input_blob
        size_bytes = await self._blobs.size(name)
        if size_bytes is None:
            return f"its input, blob {name}, is gone"
        if size_bytes != batch.input_bytes:
            return f"its input, blob {name}, has {size_bytes} bytes, not {batch.input_bytes}"
        digest = await self._store.input_digest(batch)
        if digest is not None and await self._sha256(name, size_bytes) != digest:
            return f"its input, blob {name}, is damaged, too: its SHA-256 is not {digest}"
        return None

    async def _sha256(self, name: str, size_bytes: int) -> str:
        digest = hashlib.sha256()
        reader = await self._blobs.open(name)
        try:
            for offset in range(0, size_bytes, limits.CHECK_BYTES):
                length = min(limits.CHECK_BYTES, size_bytes - offset)
                await reader.feed(digest.update, offset, length)
        finally:
            await reader.close()
        return digest.hexdigest()


def _known(record: ShardRecord, blob: str) -> tuple[Reopening, str] | None:
    """Tell what has become of a damaged segment already; None when it was not known."""
    if record.segment is None:
        return Reopening.NEVER, "it is kept no longer"
    if record.segment.blob != blob:
        return Reopening.REPLACED, ""
    if record.lost is not None:
        return Reopening.NEVER, record.lost
    return (Reopening.AGAIN, "") if record.damaged else None
