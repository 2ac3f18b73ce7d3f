"""What time brings: expired batches, bytes that nobody can ask for any more, leftovers.

Everywhere the row goes first, in bounded steps, and then the bytes that it named. What a crash in
between leaves is found by `work.orphans`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from nightrate import clock, limits, upkeep_limits, webhook_limits
from nightrate.clock import Instant
from nightrate.domain.batch import Batch, batch_folder
from nightrate.errors import StoreFault
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs
from nightrate.work.orphans import Orphans
from nightrate.work.tidy import tidy_batch

log = logging.getLogger(__name__)


async def _nobody(_batch: Batch) -> None:
    """Tell nobody."""


class Upkeep:
    """Ends what is overdue and deletes what is forgotten."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        *,
        stopped: Callable[[Batch], Awaitable[None]] = _nobody,
        partial_results: bool = True,
        results_seconds: float = limits.RESULT_LIFETIME_SECONDS,
    ) -> None:
        """Wire it.

        Args:
            store: durable truth.
            blobs: what is deleted when nobody can ask for it.
            stopped: told each batch that has expired.
            partial_results: whether what an expired batch finished is shown.
            results_seconds: how long a batch is listed after its end, and inline results are kept.
        """
        self._store = store
        self._blobs = blobs
        self._stopped = stopped
        self._partial_results = partial_results
        self._results_seconds = results_seconds
        self._ended: list[Batch] = []
        self._orphans = Orphans(store, blobs)

    def ended(self, batch: Batch) -> None:
        """Take note of a batch that has all its results; its leftovers go at the next turn."""
        self._ended.append(batch)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                try:
                    await self.turn()
                except (OSError, StoreFault) as error:
                    log.error("upkeep waits: %s", error)  # noqa: TRY400 - the reason is all
                await clock.sleep(limits.UPKEEP_SECONDS)
        finally:
            await self._orphans.close()

    async def turn(self) -> None:
        """Do once what is due."""
        now = clock.now()
        expired = await self._store.expire_batches(now, partial_results=self._partial_results)
        for batch in expired:
            log.info("batch %s expired", batch.batch_id)
            await self._stopped(batch)
        await self._give_up_repairs(now)
        uploads_before = clock.later(now, -limits.UPLOAD_LIFETIME_SECONDS)
        blobs = await self._store.sweep(now, uploads_before, limits.SWEEP_ROWS_MAX)
        await self._blobs.delete(*blobs)
        inputs_before = clock.later(now, -limits.FILE_LIFETIME_SECONDS)
        caches = await self._store.sweep_caches(now, inputs_before, limits.SWEEP_ROWS_MAX)
        await self._blobs.delete(*caches)
        await self._prune(now)
        deliveries_before = clock.later(now, -webhook_limits.DELIVERY_LOG_SECONDS)
        await self._store.sweep_deliveries(
            deliveries_before, webhook_limits.DELIVERY_LOG_ROWS, limits.SWEEP_ROWS_MAX
        )
        calls_before = clock.later(now, -limits.IDEMPOTENCY_SECONDS)
        await self._store.sweep_idempotency(calls_before, limits.SWEEP_ROWS_MAX)
        while self._ended:
            await tidy_batch(self._store, self._blobs, self._ended[-1])
            self._ended.pop()
        await self._orphans.turn()

    async def _prune(self, now: Instant) -> None:
        """Take away what ended batches keep, when its time is over."""
        store, blobs = self._store, self._blobs
        inputs_before = clock.later(now, -limits.FILE_LIFETIME_SECONDS)
        inputs = await store.sweep_inputs(now, inputs_before, limits.SWEEP_ROWS_MAX)
        await blobs.delete(*(f"{batch_folder(*key)}/input" for key in inputs))
        for _ in range(upkeep_limits.SWEEP_STEPS_MAX):
            swept = await store.sweep_results(limits.SWEEP_ROWS_MAX)
            for folder in (batch_folder(*key) for key in swept.batches):
                await blobs.delete(f"{folder}/segments", f"{folder}/journal")
            if not swept.more:
                break
        ended_before = clock.later(now, -self._results_seconds)
        for _ in range(upkeep_limits.SWEEP_STEPS_MAX):
            swept = await store.sweep_batches(now, ended_before, limits.SWEEP_ROWS_MAX)
            await blobs.delete(*(batch_folder(*key) for key in swept.batches))
            if not swept.more:
                break

    async def _give_up_repairs(self, now: Instant) -> None:
        """Let damage stay that nobody has made good, perhaps because no engine serves it now."""
        before = clock.later(now, -limits.REPAIR_SECONDS_MAX)
        why = f"its requests did not run again within {limits.REPAIR_SECONDS_MAX // 3600} hours"
        for batch in await self._store.expire_repairs(before, why, now, limits.SWEEP_ROWS_MAX):
            log.error("batch %s: its damage stays: %s", batch.batch_id, why)
            self._ended.append(batch)
