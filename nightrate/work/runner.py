"""The runner of one lane: keeps the engine full and loses nothing.

As many workers as the engine wants prompts in flight each take the next request, answer it and
record the answer. The feed hands requests out in order and claims the next shard when the last one
has been handed out, not when it is finished, so that no tail leaves the engine idle. Two more loops
sync journals and renew leases. When all requests of a shard have their outcome it is sealed beside
the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from nightrate import clock, limits, telemetry
from nightrate.dialects.lines import RawLine
from nightrate.domain.batch import Batch, Claimable
from nightrate.domain.cache import Reach
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Answer, Claim, Tally
from nightrate.errors import ClaimLost, Code, Damaged, EngineDown, StoreFault
from nightrate.service.execute import Executor
from nightrate.service.lane import Lane
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs
from nightrate.work.open_shard import OpenShard, open_shard
from nightrate.work.schedule import choose
from nightrate.work.turns import Turns

log = logging.getLogger(__name__)


class Runner:
    """Runs the shards of the models that one lane serves."""

    def __init__(  # noqa: PLR0913 - one keyword a wire
        self,
        lane: Lane,
        executor: Executor,
        store: Store,
        blobs: Blobs,
        *,
        serves: Callable[[str], bool],
        owner: str,
        ended: Callable[[Batch], None] = lambda _batch: None,
        sealed: Callable[[Batch], None] = lambda _batch: None,
    ) -> None:
        """Wire a runner.

        Args:
            lane: the engine.
            executor: turns a line into an answer.
            store: durable truth.
            blobs: the input, the journals and the segments.
            serves: whether a model's requests run on this lane.
            owner: a name no other process start has.
            ended: told each batch whose last shard was sealed here.
            sealed: told each batch of which a shard was sealed here.
        """
        self._lane = lane
        self._executor = executor
        self._store = store
        self._blobs = blobs
        self._serves = serves
        self._owner = owner
        self._tell_ended = ended
        self._tell_sealed = sealed
        self._ready: deque[tuple[OpenShard, int, RawLine]] = deque()
        self._open: list[OpenShard] = []
        self._reading: OpenShard | None = None
        self._feeding = asyncio.Lock()
        self._claiming = asyncio.Lock()
        self._disk_refused = False
        self._wake = asyncio.Event()
        self._stopping = False
        self._busy = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self._sealing: set[asyncio.Task[None]] = set()
        self._asking: dict[asyncio.Task[None], OpenShard] = {}
        """Which worker waits for an answer to a request of which shard."""
        self._interrupted: set[asyncio.Task[None]] = set()
        self._turns = Turns()
        self._group = asyncio.TaskGroup()

    def wake(self) -> None:
        """Look for shards now."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with self._group:
            if self._lane.engine.on_demand:
                self._group.create_task(self._demand())
            await self._lane.opened.wait()
            self._group.create_task(self._sync_journals())
            for _ in range(self._lane.engine.capacity.requests):
                self._group.create_task(self._work())

    async def _demand(self) -> None:
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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.IDLE_POLL_SECONDS):
                    await self._wake.wait()

    async def stop(self, patience_seconds: float) -> None:
        """Take no new requests, let running ones finish for a while, then hand every claim back.

        What finished is journaled and counted; correctness never needs this to be called.
        """
        self._stopping = True
        try:
            async with asyncio.timeout(patience_seconds):
                await self._drained.wait()
        except TimeoutError:
            log.info("%d requests did not finish in time and will run again", self._busy)
        async with self._claiming:  # a claim that is being made is handed back as well
            shards = tuple(self._open)
        for shard in shards:
            await self._hand_back(shard)
        await asyncio.gather(*self._sealing)

    async def drop(self, batch: Batch) -> None:
        """Stop working on a batch that has ended: its requests leave the engine at once.

        What was answered is on the disk when this returns. Nothing depends on this being called:
        whoever works on for an ended batch is stopped by the fence at its next beat.
        """
        async with self._claiming:  # a claim that is being made is dropped as well
            mine = [shard for shard in self._open if _of(shard, batch)]
        open_before = [shard for shard in mine if not shard.sealing and not shard.lost]
        for shard in open_before:
            self._forget(shard)
        for worker, shard in self._asking.items():
            if _of(shard, batch) and worker not in self._interrupted:
                self._interrupted.add(worker)
                worker.cancel()
        for shard in open_before:
            await self._keep(shard)
            await shard.close(self._blobs, sealed=False)
        if self._sealing:  # they find out by themselves; a caller that leaves must not cancel them
            await asyncio.wait(set(self._sealing))

    async def _keep(self, shard: OpenShard) -> None:
        """Put the last answers of a shard that is another's on the disk, where they will count."""
        try:
            await shard.journal.flush()
        except OSError as error:
            log.warning("the last answers of a lost claim could not be kept: %s", error)

    # requests ---------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Take requests and answer them, one at a time."""
        while True:
            await self._lane.opened.wait()
            await self._turns.take()  # an engine that never waits must not stall the API
            shard, index, line = await self._next()
            self._busy += 1
            self._drained.clear()
            try:
                await self._answer(shard, index, line)
            finally:
                self._busy -= 1
                if not self._busy:
                    self._drained.set()

    async def _answer(self, shard: OpenShard, index: int, line: RawLine) -> None:
        try:
            while shard.journal.held_bytes >= limits.JOURNAL_HELD_BYTES_MAX and not shard.lost:
                await self._flush(shard)
            answer = await self._ask(shard, index, line)
        except EngineDown:
            for held in tuple(self._open):
                await self._hand_back(held)
            return
        if answer is None or shard.lost:
            return
        shard.journal.add(index, answer)
        del answer  # whoever waits for the disk below holds nothing: 256 pictures are 400 MB
        if shard.complete and shard.exhausted:
            self._seal_soon(shard)
        elif shard.journal.unwritten_bytes >= limits.JOURNAL_SYNC_BYTES:
            await self._flush(shard)

    async def _ask(self, shard: OpenShard, index: int, line: RawLine) -> Answer | None:
        """Get the answer to a request; None when its batch has been dropped meanwhile."""
        worker = asyncio.current_task()
        assert worker is not None, "called by a worker"
        self._asking[worker] = shard
        batch = shard.batch
        try:
            return await self._executor.answer(
                *(self._lane, batch.model, batch.kind, line, shard.response_id(index)),
                reach=Reach(batch.tenant, batch.created_at),
            )
        except asyncio.CancelledError:
            if worker not in self._interrupted or worker.uncancel():
                raise  # the runner itself is cancelled
            return None
        finally:
            del self._asking[worker]
            self._interrupted.discard(worker)

    # the feed ---------------------------------------------------------------------------------

    async def _next(self) -> tuple[OpenShard, int, RawLine]:
        """Give the next request, waiting until there is one."""
        while True:
            if self._stopping:
                await asyncio.Event().wait()  # until cancelled
            while self._ready:
                item = self._ready.popleft()
                if not item[0].lost:
                    return item
            async with self._feeding:  # one worker refills while the others wait for it
                if not self._ready:
                    await self._refill()

    async def _refill(self) -> None:
        shard = self._reading
        if shard is None or shard.lost:
            shard = self._reading = await self._open_next()
        try:
            requests = await shard.read()
        except Damaged as fault:
            await self._end_unreadable(shard, fault)
            return
        except OSError as error:
            self._abandon(shard, error)
            return
        self._ready.extend((shard, index, line) for index, line in requests)
        if shard.exhausted:
            self._reading = None
            if shard.complete:  # everything had been answered by an earlier owner
                self._seal_soon(shard)

    async def _open_next(self) -> OpenShard:
        """Claim and open a shard, waiting until there is one."""
        while True:
            self._wake.clear()
            await self._lane.opened.wait()
            if self._disk_refused:
                self._disk_refused = False
                await clock.sleep(limits.DISK_PAUSE_SECONDS)
            async with self._claiming:
                shard = await self._claim()
            if shard is not None:
                return shard
            if not self._disk_refused:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limits.IDLE_POLL_SECONDS):
                        await self._wake.wait()

    async def _choose(self) -> Claimable | None:
        """Find the batch that gives the next shard."""
        found = await self._store.claimable(clock.now(), limits.CLAIMABLE_BATCHES_MAX)
        return choose([candidate for candidate in found if self._serves(candidate.model)])

    async def _claim(self) -> OpenShard | None:
        """Claim a shard and open it, if there is one that we may have."""
        if self._stopping or len(self._open) >= limits.OPEN_SHARDS_MAX:
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
            self._disk_refused = True
            return None

    async def _begin(self, claim: Claim) -> OpenShard | None:
        """Open a claimed shard; whatever prevents it, the claim is not kept."""
        try:
            batch = await self._store.get_batch(claim.tenant, claim.batch_id)
            if batch is None:  # deleted just now
                return None
            try:
                shard = await open_shard(claim, batch, self._store, self._blobs)
            except ClaimLost:
                return None
            except Damaged as fault:
                await self._fail(batch, fault)
                return None
        except (OSError, StoreFault):
            await self._store.release([claim])
            raise
        self._open.append(shard)
        return shard

    async def _end_unreadable(self, shard: OpenShard, fault: Damaged) -> None:
        try:
            await self._fail(shard.batch, fault)
        except StoreFault as error:
            self._abandon(shard, error)
            return
        self._forget(shard)
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

    # ends -------------------------------------------------------------------------------------

    def _seal_soon(self, shard: OpenShard) -> None:
        if shard.sealing or shard.lost:
            return
        shard.sealing = True
        task = self._group.create_task(self._seal(shard))
        self._sealing.add(task)
        task.add_done_callback(self._sealing.discard)

    async def _seal(self, shard: OpenShard) -> None:
        sealed = False
        try:
            ended = await shard.seal(self._store, self._blobs)
            sealed = True
            _count(shard.journal.tally)
            self._tell_sealed(shard.batch)
            if ended is not None:
                log.info("batch %s %s", ended.batch_id, ended.state)
                self._tell_ended(ended)
        except ClaimLost:
            log.info(
                "shard %d of batch %s is another's", shard.claim.plan.index, shard.batch.batch_id
            )
            await self._keep(shard)
        except (OSError, StoreFault) as error:
            self._abandon(shard, error)
            return
        self._forget(shard)
        await shard.close(self._blobs, sealed=sealed)

    def _forget(self, shard: OpenShard) -> None:
        shard.lost = True
        if shard in self._open:
            self._open.remove(shard)
        self.wake()

    async def _hand_back(self, shard: OpenShard) -> None:
        """Give up a claim; what is synced of its answers is counted and kept."""
        await self._flush(shard)
        if shard.lost or shard.sealing:
            return
        self._forget(shard)  # from here on nobody adds an answer, and nobody seals
        now = clock.now()
        try:
            await self._store.beat([shard.beat()], now, now)
            await self._store.release([shard.claim])
        except StoreFault as fault:
            log.warning("a claim could not be handed back, its lease will end: %s", fault)
        await shard.close(self._blobs, sealed=False)
        self.wake()

    def _abandon(self, shard: OpenShard, error: Exception) -> None:
        """Drop a claim whose bytes could not be kept: a file that failed once is not trusted."""
        log.error(
            "the disk refused shard %d of batch %s: %s; trying again in %.0f s",
            *(shard.claim.plan.index, shard.batch.batch_id, error, limits.DISK_PAUSE_SECONDS),
        )
        self._forget(shard)
        self._disk_refused = True
        self._group.create_task(self._release_later(shard))

    async def _release_later(self, shard: OpenShard) -> None:
        await shard.close(self._blobs, sealed=False)
        await clock.sleep(limits.DISK_PAUSE_SECONDS)
        try:
            await self._store.release([shard.claim])
        except StoreFault as fault:
            log.warning("a claim could not be handed back, its lease will end: %s", fault)
        self.wake()

    # durability -------------------------------------------------------------------------------

    async def _sync_journals(self) -> None:
        """Sync journals and renew leases, for ever."""
        while True:
            await clock.sleep(limits.JOURNAL_SYNC_SECONDS)
            for shard in tuple(self._open):
                if not shard.sealing:
                    await self._flush(shard)
            await self._beat()

    async def _flush(self, shard: OpenShard) -> None:
        try:
            if not shard.lost:
                await shard.journal.flush()
        except OSError as error:
            if not shard.lost and not shard.sealing:  # a segment needs no journal
                self._abandon(shard, error)

    async def _beat(self) -> None:
        due = [
            beat
            for shard in self._open
            if not shard.sealing and not shard.lost and (beat := shard.due_beat()) is not None
        ]
        if not due:
            return
        now = clock.now()
        try:
            lost = await self._store.beat(due, now, clock.later(now, limits.LEASE_SECONDS))
        except StoreFault as fault:
            log.error("progress could not be recorded: %s", fault)  # noqa: TRY400 - the reason is all
            return
        for shard in tuple(self._open):
            if shard.claim in lost and not shard.sealing:
                log.info("a claim of batch %s is lost", shard.batch.batch_id)
                self._forget(shard)
                await self._keep(shard)
                await shard.close(self._blobs, sealed=False)


def _of(shard: OpenShard, batch: Batch) -> bool:
    return (shard.batch.tenant, shard.batch.batch_id) == (batch.tenant, batch.batch_id)


def _count(tally: Tally) -> None:
    """Add a sealed shard to the figures: each request once, whatever crashed before."""
    telemetry.ANSWERS.labels("succeeded").inc(tally.succeeded)
    telemetry.ANSWERS.labels("failed").inc(tally.failed)
    telemetry.TOKENS.labels("prompt").inc(tally.prompt_tokens)
    telemetry.TOKENS.labels("output").inc(tally.output_tokens)
    telemetry.TOKENS.labels("cached").inc(tally.cached_tokens)
