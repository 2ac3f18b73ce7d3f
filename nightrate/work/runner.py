"""The runner of one lane: keeps the engine full and loses nothing.

As many workers as the engine wants prompts in flight each take the next request, answer it and
record the answer. While one of them waits for pages or a search, another takes its place, so that
the engine does not wait for these. The feed has the next requests ready, also those of the next
shard, so that no tail leaves the engine idle. Two more loops sync journals and renew leases. When
all requests of a shard have their outcome it is sealed beside the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import operator
from collections.abc import Callable, Iterator

from nightrate import clock, limits, telemetry, tool_limits
from nightrate.dialects.lines import RawLine
from nightrate.domain.batch import Batch
from nightrate.domain.shard import Tally
from nightrate.errors import ClaimLost, EngineDown, StoreFault
from nightrate.service.execute import Executor, Rows
from nightrate.service.lane import Lane
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs
from nightrate.work.feed import Feed
from nightrate.work.open_shard import OpenShard
from nightrate.work.turns import Turns

log = logging.getLogger(__name__)


class _Worker:
    """A task that answers one request after the other."""

    __slots__ = ("interrupted", "shard", "task")

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.shard: OpenShard | None = None
        """Of which shard it waits for an answer."""
        self.interrupted = False
        """Whether that answer is not wanted any more."""


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
        self._store = store
        self._blobs = blobs
        self._tell_ended = ended
        self._tell_sealed = sealed
        self._feed = Feed(
            *(lane, executor, store, blobs),
            serves=serves,
            owner=owner,
            answered=self._seal_soon,
            abandon=self._abandon,
        )
        self._busy = 0
        self._drained = asyncio.Event()
        """Set when the last request of a stopping runner has been answered."""
        self._sealing: set[asyncio.Task[None]] = set()
        self._workers: list[_Worker] = []
        self._engine_wants = 0
        """How many prompts the engine wanted in flight when it was opened first."""
        self._wanted = 0
        """How many workers there are to be."""
        self._hired = 0
        """How many there are, with those that have not begun yet."""
        self._looking_up = 0
        """How many of them wait for what they look up."""
        self._turns = Turns()
        self._group = asyncio.TaskGroup()

    def wake(self) -> None:
        """Look for shards now."""
        self._feed.wake()

    async def run(self) -> None:
        """Work until cancelled."""
        async with self._group:
            if self._lane.engine.on_demand:
                self._group.create_task(self._feed.demand())
            await self._lane.opened.wait()
            self._group.create_task(self._sync_journals())
            self._group.create_task(self._feed.run())
            self._engine_wants = self._wanted = self._lane.engine.capacity.requests
            for _ in range(self._wanted):
                self._hire()

    async def stop(self, patience_seconds: float) -> None:
        """Take no new requests, let running ones finish for a while, then hand every claim back.

        What finished is journaled and counted; correctness never needs this to be called.
        """
        self._feed.stopping = True
        try:
            async with asyncio.timeout(patience_seconds):
                if self._busy:
                    await self._drained.wait()
        except TimeoutError:
            log.info("%d requests did not finish in time and will run again", self._busy)
        for shard in await self._feed.held():
            await self._hand_back(shard)
        await asyncio.gather(*self._sealing)

    async def drop(self, batch: Batch) -> None:
        """Stop working on a batch that has ended: its requests leave the engine at once.

        What was answered is on the disk when this returns. Nothing depends on this being called:
        whoever works on for an ended batch is stopped by the fence at its next beat.
        """
        mine = [shard for shard in await self._feed.held() if _of(shard, batch)]
        open_before = [shard for shard in mine if not shard.sealing and not shard.lost]
        for shard in open_before:
            self._feed.forget(shard)
        self._interrupt(lambda shard: _of(shard, batch))
        for shard in open_before:
            await self._keep(shard)
            await shard.close(self._blobs, sealed=False)
        if self._sealing:  # they find out by themselves; a caller that leaves must not cancel them
            await asyncio.wait(set(self._sealing))

    def _interrupt(self, unwanted: Callable[[OpenShard], bool]) -> None:
        """Take requests off the engine whose answers nobody would record."""
        for worker in self._workers:
            if worker.shard is not None and unwanted(worker.shard) and not worker.interrupted:
                worker.interrupted = True
                worker.task.cancel()

    async def _keep(self, shard: OpenShard) -> None:
        """Put the last answers of a shard that is another's on the disk, where they will count."""
        try:
            await shard.journal.flush()
        except OSError as error:
            log.warning("the last answers of a lost claim could not be kept: %s", error)

    # requests ---------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Take requests and answer them, one at a time.

        What must hardly ever be waited for is asked about first: a coroutine costs a microsecond.
        """
        task = asyncio.current_task()
        assert task is not None, "run as a task"
        worker = _Worker(task)
        self._workers.append(worker)
        opened, turns, feed = self._lane.opened, self._turns, self._feed
        while True:
            if not opened.is_set():
                await opened.wait()
            if turns.over:  # an engine that never waits must not stall the API
                await turns.take()
            request = feed.next() or await feed.take()
            line = request[-1]
            if request[0].lost:
                feed.done(line)
                del request, line
                continue
            self._busy += 1
            try:
                await self._answer(worker, *request)
            finally:
                feed.done(line)
                del request, line  # a worker that waits for the next one holds nothing
                self._busy -= 1
                if feed.stopping and not self._busy:
                    self._drained.set()
            if self._hired > self._wanted:
                self._hired -= 1
                self._workers.remove(worker)
                return

    def _hire(self) -> None:
        self._hired += 1
        self._group.create_task(self._work())

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Have another worker in the place of one that looks something up, while the block runs.

        Then there is one too many, and whoever has answered first leaves. Until that happens no
        further one comes, so that what was looked up does not gather before the engine.
        """
        self._change_crew(1)
        if self._hired < self._wanted:
            self._hire()
        try:
            yield
        finally:
            self._change_crew(-1)

    def _change_crew(self, looking_up: int) -> None:
        self._looking_up += looking_up
        aside = min(self._looking_up, tool_limits.LOOKUPS_ASIDE_MAX)
        self._wanted = self._engine_wants + aside

    async def _answer(
        self, worker: _Worker, shard: OpenShard, rows: Rows, index: int, line: RawLine
    ) -> None:
        journal = shard.journal
        while journal.held_bytes >= limits.JOURNAL_HELD_BYTES_MAX and not shard.lost:
            await self._flush(shard)
        worker.shard = shard
        try:
            answer = await rows.answer(
                *(line, shard.response_id(index), worker.task, journal, index), self._aside
            )
        except EngineDown:
            worker.shard = None
            for held in tuple(self._feed.open):
                await self._hand_back(held)
            return
        except asyncio.CancelledError:
            if not worker.interrupted or worker.task.uncancel():
                raise  # the runner itself is cancelled
            return  # the batch has been dropped meanwhile
        finally:
            worker.shard = None
            worker.interrupted = False
        if shard.lost:
            return
        journal.add(index, answer)
        del answer  # whoever waits for the disk below holds nothing: 256 pictures are 400 MB
        if journal.count == shard.request_count and shard.exhausted:
            sealing = self._seal_soon(shard)
            if sealing is not None and line.length >= limits.JOURNAL_SYNC_BYTES:
                await asyncio.wait({sealing})  # its answer is in memory until then
        elif journal.unwritten_bytes >= limits.JOURNAL_SYNC_BYTES:
            await self._flush(shard)

    # ends -------------------------------------------------------------------------------------

    def _seal_soon(self, shard: OpenShard) -> asyncio.Task[None] | None:
        if shard.sealing or shard.lost:
            return None
        shard.sealing = True
        task = self._group.create_task(self._seal(shard))
        self._sealing.add(task)
        task.add_done_callback(self._sealing.discard)
        return task

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
        self._feed.forget(shard)
        await shard.close(self._blobs, sealed=sealed)

    async def _hand_back(self, shard: OpenShard) -> None:
        """Give up a claim; what is synced of its answers is counted and kept."""
        await self._flush(shard)
        if shard.lost or shard.sealing:
            return
        self._feed.forget(shard)  # from here on nobody adds an answer, and nobody seals
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
        self._feed.forget(shard)
        self._interrupt(
            functools.partial(operator.is_, shard)
        )  # they run again, and the engine is free
        self._feed.disk_refused = True
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
            for shard in tuple(self._feed.open):
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
            for shard in self._feed.open
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
        for shard in tuple(self._feed.open):
            if shard.claim in lost and not shard.sealing:
                log.info("a claim of batch %s is lost", shard.batch.batch_id)
                self._feed.forget(shard)
                self._interrupt(functools.partial(operator.is_, shard))
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
