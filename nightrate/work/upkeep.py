"""What time brings: expired batches, files that nobody can ask for any more."""

from __future__ import annotations

import logging

from nightrate import clock, limits
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs

log = logging.getLogger(__name__)


class Upkeep:
    """Ends what is overdue and deletes what is forgotten."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.turn()
            await clock.sleep(limits.UPKEEP_SECONDS)

    async def turn(self) -> None:
        """Do once what is due."""
        now = clock.now()
        for batch in await self._store.expire_batches(now):
            log.info("batch %s expired", batch.batch_id)
        uploads_before = clock.later(now, -limits.UPLOAD_LIFETIME_SECONDS)
        blobs = await self._store.sweep(now, uploads_before, limits.SWEEP_ROWS_MAX)
        await self._blobs.delete(*blobs)
