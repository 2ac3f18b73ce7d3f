"""What time brings: expired batches, files that nobody can ask for, leftovers of finished work."""

from __future__ import annotations

import logging

from nightrate import clock, limits
from nightrate.domain.batch import Batch
from nightrate.errors import StoreFault
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs
from nightrate.work.tidy import tidy_all, tidy_batch

log = logging.getLogger(__name__)


class Upkeep:
    """Ends what is overdue and deletes what is forgotten."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._ended: list[Batch] = []
        self._looked_back = False

    def ended(self, batch: Batch) -> None:
        """Take note of a batch that has just succeeded; its leftovers go at the next turn."""
        self._ended.append(batch)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self.turn()
            except (OSError, StoreFault) as error:
                log.error("upkeep waits: %s", error)  # noqa: TRY400 - the reason is all
            await clock.sleep(limits.UPKEEP_SECONDS)

    async def turn(self) -> None:
        """Do once what is due."""
        now = clock.now()
        for batch in await self._store.expire_batches(now):
            log.info("batch %s expired", batch.batch_id)
        uploads_before = clock.later(now, -limits.UPLOAD_LIFETIME_SECONDS)
        blobs = await self._store.sweep(now, uploads_before, limits.SWEEP_ROWS_MAX)
        await self._blobs.delete(*blobs)
        deliveries_before = clock.later(now, -limits.DELIVERY_LOG_SECONDS)
        await self._store.sweep_deliveries(
            deliveries_before, limits.DELIVERY_LOG_ROWS, limits.SWEEP_ROWS_MAX
        )
        if not self._looked_back:
            await tidy_all(self._store, self._blobs)
            self._looked_back = True
        while self._ended:
            await tidy_batch(self._store, self._blobs, self._ended[-1])
            self._ended.pop()
