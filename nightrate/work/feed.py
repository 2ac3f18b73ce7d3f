"""The feed of a runner: claims shards, reads their lines, and has requests ready ahead of need.

It works ahead of the workers by as many requests as the engine wants in flight, or by as many more
as are handed out while it claims and reads: the next shard is claimed while the last requests of
the one before are being handed out, so neither a commit nor a read is ever waited for by an idle
engine. Requests are handed out in order, or as the engine profits most (`work.shard_lines`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from nightrate import clock, limits
from nightrate.dialects.lines import RawLine
from nightrate.domain.batch import Batch, Claimable
from nightrate.domain.cache import Reach
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Claim
from nightrate.errors import ClaimLost, Code, Damaged, StoreFault
from nightrate.service.execute import Executor, Rows
from nightrate.service.lane import Lane
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs
from nightrate.work.open_shard import OpenShard, open_shard
from nightrate.work.schedule import choose

log = logging.getLogger(__name__)

Request = tuple[OpenShard, Rows, int, RawLine]
"""A request to be answered: its shard, who answers its rows, its index there, its line."""


class Feed:
    """Gives the requests of the shards that it claims."""

    def __init__(  # noqa: PLR0913 - one keyword a wire
        self,
        lane: Lane,
        executor: Executor,
        store: Store,
        blobs: Blobs,
        *,
        serves: Callable[[str], bool],
        owner: str,
        answered: Callable[[OpenShard], object],
        abandon: Callable[[OpenShard, Exception], None],
    ) -> None:
        """Wire a feed.

        Args:
            lane: the engine.
            executor: gives what answers the rows of a batch.
            store: durable truth.
            blobs: the inputs.
            serves: whether a model's requests run on this lane.
            owner: a name no other process start has.
            answered: told each shard of which earlier owners had answered everything.
            abandon: told each shard whose input the disk refused to give.
        """
        self._lane = lane
        self._executor = executor
        self._store = store
        self._blobs = blobs
        self._serves = serves
        self._owner = owner
        self._tell_answered = answered
        self._abandon = abandon
        self.open: list[OpenShard] = []
        """The shards that are held."""
        self.ready: deque[Request] = deque()
        """Requests to be taken; some may be of a shard that is lost by now."""
        self.disk_refused = False
        """Set when the disk refused something: a pause is made before the next claim."""
        self.stopping = False
        self._held_bytes = 0
        """Lines in memory: those that are ready, and those that were taken and are not done."""
        self._few = lane.engine.capacity.requests
        """How many ready requests are too few: at least as many as the engine may take at once."""
        self._taken_meanwhile = 0
        """Requests that were taken since there are too few."""
        self._reading: tuple[OpenShard, Rows] | None = None
        self._claiming = asyncio.Lock()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._wanted = asyncio.Event()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for shards now."""
        self._wake.set()

    def next(self) -> Request | None:
        """Give the next request if one is ready."""
        if not self.ready or self.stopping:
            return None
        if len(self.ready) <= self._few:
            self._wanted.set()
            self._taken_meanwhile += 1
        return self.ready.popleft()

    async def take(self) -> Request:
        """Give the next request, waiting until there is one; for ever once it is stopping."""
        while (request := self.next()) is None:
            self._wanted.set()
            supplied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(supplied)
            await supplied
        return request

    def done(self, line: RawLine) -> None:
        """Be told that a line which was taken is in memory no more."""
        if self._held_bytes >= limits.LINES_HELD_BYTES_MAX:
            self._wanted.set()
        self._held_bytes -= line.length

    def _look_ahead(self) -> None:
        """Have enough ready for twice what was taken while the last requests were fetched.

        Claims take longer than reads, so what a slow fetch taught is forgotten in several steps.
        """
        wanted = max(2 * self._taken_meanwhile, self._few * 7 // 8)
        self._taken_meanwhile = 0
        self._few = max(self._lane.engine.capacity.requests, min(wanted, limits.REQUESTS_AHEAD_MAX))

    async def held(self) -> tuple[OpenShard, ...]:
        """Give the shards that are held, with the one that is being claimed just now."""
        async with self._claiming:
            return tuple(self.open)

    def forget(self, shard: OpenShard) -> None:
        """Hold a shard no longer."""
        shard.lost = True
        if shard in self.open:
            self.open.remove(shard)
        self.wake()

    async def run(self) -> None:
        """Keep requests ready until cancelled."""
        while True:
            self._wanted.clear()
            full = self._held_bytes >= limits.LINES_HELD_BYTES_MAX
            if full or len(self.ready) > self._few or self.stopping:
                await self._wanted.wait()
                continue
            await self._refill()
            for _ in range(min(len(self.ready), len(self._waiting))):
                supplied = self._waiting.popleft()
                if not supplied.done():  # else its worker was cancelled while it waited
                    supplied.set_result(None)

    async def _refill(self) -> None:
        if self._reading is None or self._reading[0].lost:
            shard = await self._open_next()
            batch = shard.batch
            reach = Reach(batch.tenant, batch.created_at)
            rows = self._executor.rows(self._lane, batch.model, batch.kind, reach=reach)
            self._reading = shard, rows
        shard, rows = self._reading
        try:
            requests = await shard.read()
        except Damaged as fault:
            await self._end_unreadable(shard, fault)
            return
        except OSError as error:
            self._abandon(shard, error)
            return
        self._look_ahead()
        self._held_bytes += sum([line.length for _, line in requests])
        self.ready.extend([(shard, rows, index, line) for index, line in requests])
        if shard.exhausted:
            self._reading = None
            if shard.complete:  # everything had been answered by an earlier owner
                self._tell_answered(shard)

    async def _open_next(self) -> OpenShard:
        """Claim and open a shard, waiting until there is one."""
        while True:
            self._wake.clear()
            await self._lane.opened.wait()
            if self.disk_refused:
                self.disk_refused = False
                await clock.sleep(limits.DISK_PAUSE_SECONDS)
            async with self._claiming:
                shard = await self._claim()
            if shard is not None:
                return shard
            if not self.disk_refused:
                await self.news()

    async def news(self) -> None:
        """Wait until somebody says that there may be work, or for a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.IDLE_POLL_SECONDS):
                await self._wake.wait()

    async def demand(self) -> None:
        """Ask for an engine that is opened on demand whenever work waits for it, for ever."""
        while True:
            if self._lane.opened.is_set():
                await clock.sleep(limits.IDLE_POLL_SECONDS)
                continue
            self._wake.clear()
            try:
                if await self._choose() is not None:
                    self._lane.demand()
            except StoreFault as fault:
                log.error("no work could be looked for: %s", fault)  # noqa: TRY400 - the reason is all
            await self.news()

    async def _choose(self) -> Claimable | None:
        """Find the batch that gives the next shard."""
        found = await self._store.claimable(clock.now(), limits.CLAIMABLE_BATCHES_MAX)
        return choose([candidate for candidate in found if self._serves(candidate.model)])

    async def _claim(self) -> OpenShard | None:
        """Claim a shard and open it, if there is one that we may have."""
        if self.stopping or len(self.open) >= limits.OPEN_SHARDS_MAX:
            return None
        try:
            chosen = await self._choose()
            if chosen is None:
                return None
            now = clock.now()
            lease_until = clock.later(now, limits.LEASE_SECONDS)
            claim = await self._store.claim(
                chosen.tenant, chosen.batch_id, self._owner, now, lease_until
            )
            return None if claim is None else await self._begin(claim)
        except (OSError, StoreFault) as error:
            log.error("no shard could be claimed: %s", error)  # noqa: TRY400 - the reason is all
            self.disk_refused = True
            return None

    async def _begin(self, claim: Claim) -> OpenShard | None:
        """Open a claimed shard; whatever prevents it, the claim is not kept."""
        try:
            # What is needed of a batch never changes, and asking for it sums up all its shards.
            beside = self._beside(claim)
            batch = (
                await self._store.get_batch(claim.tenant, claim.batch_id)
                if beside is None
                else beside.batch
            )
            if batch is None:  # deleted just now
                return None
            try:
                arranged = self._lane.engine.reuses_beginnings
                shard = await open_shard(
                    claim, batch, self._store, self._blobs, beside, arranged=arranged
                )
            except ClaimLost:
                return None
            except Damaged as fault:
                await self._fail(batch, fault)
                return None
        except (OSError, StoreFault):
            await self._store.release([claim])
            raise
        self.open.append(shard)
        return shard

    def _beside(self, claim: Claim) -> OpenShard | None:
        """Give another shard that is held of the same batch, if there is one."""
        for shard in self.open:
            batch = shard.batch
            if (batch.tenant, batch.batch_id) == (claim.tenant, claim.batch_id):
                return shard
        return None

    async def _end_unreadable(self, shard: OpenShard, fault: Damaged) -> None:
        try:
            await self._fail(shard.batch, fault)
        except StoreFault as error:
            self._abandon(shard, error)
            return
        self.forget(shard)
        await shard.close(self._blobs, sealed=False)

    async def _fail(self, batch: Batch, fault: Damaged) -> None:
        """End a batch whose input cannot be read any more, or the repair of one that has ended."""
        if batch.ended_at is not None:
            log.error("batch %s: its damage stays: %s", batch.batch_id, fault)
            await self._store.end_repair(batch, f"its input: {fault.message}", clock.now())
            return
        log.error("batch %s fails: %s", batch.batch_id, fault)
        message = f"The input of the batch cannot be read any more: {fault.message}"
        failure = Failure(Code.NOT_FOUND, message)
        await self._store.fail_batch(batch, None, failure, clock.now())
