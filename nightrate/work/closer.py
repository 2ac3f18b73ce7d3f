"""What a batch that was cancelled or expired had finished is handed out.

Every shard that is not sealed is claimed once more, which fences out whoever worked on it. The
answers that its journals hold are kept, each other request gets a line that says why it has none,
and the shard is sealed like any other: every request has exactly one line, in order. When the last
one is sealed, the results are shown. A process that dies in between leaves claims that end, and
nothing else. A shard whose segment is found damaged is closed again; no engine is asked for a batch
that a client has cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from nightrate import clock, limits
from nightrate.domain.batch import Batch
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Claim
from nightrate.domain.states import BatchState
from nightrate.errors import ClaimLost, Code, Damaged, StoreFault
from nightrate.service.execute import unanswered
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs
from nightrate.work.open_shard import OpenShard, open_shard
from nightrate.work.planner import Planner, PlanningFailed

log = logging.getLogger(__name__)

WHY: Final = {
    BatchState.CANCELLED: Failure(
        Code.CANCELLED, "The batch was cancelled before this request was finished."
    ),
    BatchState.EXPIRED: Failure(
        Code.DEADLINE_EXCEEDED, "The batch expired before this request was finished."
    ),
}
"""What is said of a request that has no answer."""

LOST: Final = Failure(
    Code.DATA_LOSS,
    "The batch has ended, and what became of this request was lost by damage to the server's disk.",
)
"""What is said of the requests of a shard that was sealed, and whose segment is damaged."""


class Closer:
    """Completes the results of batches that ended early."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        planner: Planner,
        *,
        owner: str,
        shown: Callable[[Batch], None] = lambda _batch: None,
        closed: Callable[[Batch], None] = lambda _batch: None,
    ) -> None:
        """Wire it.

        Args:
            store: durable truth.
            blobs: the input, the journals and the segments.
            planner: cuts a batch that ended before it was planned.
            owner: a name no other process start has.
            shown: told each batch whose results are complete.
            closed: told each batch of which a shard was closed.
        """
        self._store = store
        self._blobs = blobs
        self._planner = planner
        self._owner = owner
        self._tell_shown = shown
        self._tell_closed = closed
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for such batches now."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            try:
                while await self.turn():
                    pass
            except (OSError, StoreFault) as error:
                log.error("closing waits: %s", error)  # noqa: TRY400 - the reason is all
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.UPKEEP_SECONDS):
                    await self._wake.wait()

    async def turn(self) -> bool:
        """Close one shard of each batch that waits, so that a giant delays nobody.

        Returns:
            whether anything was done.
        """
        waiting = await self._store.unclosed_batches(limits.CLAIMABLE_BATCHES_MAX)
        return any([await self._advance(batch) for batch in waiting])

    async def _advance(self, batch: Batch) -> bool:
        """Do the next step for a batch; False when somebody else is at it."""
        try:
            if batch.request_count is None:
                return await self._planner.plan_ended(batch)
            if batch.request_count == 0:
                await self._store.drop_partial(batch)
                return True
            now = clock.now()
            claim = await self._store.claim_unfinished(
                batch, self._owner, now, clock.later(now, limits.LEASE_SECONDS)
            )
            if claim is None:
                return False
            await self._close(claim, batch)
        except (Damaged, PlanningFailed) as fault:
            log.error("batch %s: its results stay incomplete: %s", batch.batch_id, fault)  # noqa: TRY400
            await self._store.drop_partial(batch)
            await self._store.end_repair(batch, f"its input: {fault}", clock.now())
        return True

    async def _close(self, claim: Claim, batch: Batch) -> None:
        try:
            shard = await open_shard(claim, batch, self._store, self._blobs)
            sealed = False
            try:
                await self._complete(shard)
                ended = await shard.seal(self._store, self._blobs)
                sealed = True
            finally:
                await shard.close(self._blobs, sealed=sealed)
        except ClaimLost:
            log.info("batch %s was deleted while it was closed", batch.batch_id)
            return
        except (OSError, asyncio.CancelledError):  # the disk refuses, or the server stops
            await self._store.release([claim])
            raise
        self._tell_closed(batch)
        if ended is not None:
            log.info("batch %s: its partial results are complete", batch.batch_id)
            self._tell_shown(ended)

    async def _complete(self, shard: OpenShard) -> None:
        """Give every request without an answer its line, one read of the input at a time."""
        why = LOST if shard.claim.damaged else WHY[shard.batch.state]
        while not shard.exhausted:
            for index, line in await shard.read():
                shard.journal.add(
                    index, unanswered(shard.batch, line, why, shard.response_id(index))
                )
            if shard.journal.unwritten_bytes >= limits.JOURNAL_SYNC_BYTES:
                await shard.journal.flush()
            await clock.sleep(0)  # the API has its turn
