"""A claimed shard at work: its lines, and where its answers go."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from nightrate import clock, limits
from nightrate.dialects.lines import RawLine
from nightrate.domain.batch import Batch
from nightrate.domain.shard import Beat, Claim, Segment, Tally, taken_over
from nightrate.errors import ClaimLost
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs, Reader
from nightrate.work.journal import Journal, journal_name, readable_bytes
from nightrate.work.segments import segment_name, write_segment
from nightrate.work.shard_lines import ShardLines

log = logging.getLogger(__name__)


class _Input:
    """The input of a batch, open once for all its shards that one runner holds."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._users = 1

    def share(self) -> _Input:
        """Use it too."""
        self._users += 1
        return self

    async def leave(self) -> None:
        """Use it no longer; the last one closes it."""
        self._users -= 1
        if not self._users:
            await self.reader.close()


class OpenShard:
    """A shard in the hands of this process."""

    def __init__(
        self, claim: Claim, batch: Batch, journal: Journal, input_: _Input, lines: ShardLines
    ) -> None:
        self.claim = claim
        self.batch = batch
        self.journal = journal
        self.lost = False
        """Set when somebody else owns the shard, or when this owner gave it up."""
        self.sealing = False
        self._input: _Input | None = input_
        self._using_input = asyncio.Lock()
        plan = claim.plan
        self._first_request = plan.first_request
        self.request_count = plan.request_count
        self._response_prefix = f"{batch.batch_id}-"
        self._lines = lines
        self._beat_at = clock.monotonic()
        self._shown = Tally()

    @property
    def complete(self) -> bool:
        """Whether every request has its outcome."""
        return self.journal.count == self.request_count

    @property
    def exhausted(self) -> bool:
        """Whether every line has been handed out."""
        return self._lines.exhausted

    async def read(self) -> list[tuple[int, RawLine]]:
        """Read on, and give the requests that have no outcome yet, with their index.

        Raises:
            Damaged: the input is not what was planned.
            OSError: the disk refused.
        """
        async with self._using_input:
            if self.lost or self._input is None:
                return []
            lines = await self._lines.read(self._input.reader)
        if not self.journal.count:
            return lines
        return [(index, line) for index, line in lines if index not in self.journal]

    def response_id(self, index: int) -> str:
        """Name a response: the same for the same request, whoever runs it."""
        return self._response_prefix + str(self._first_request + index)

    def due_beat(self) -> Beat | None:
        """Give what is to be told to the store now, if anything is."""
        waited = clock.monotonic() - self._beat_at
        changed = self.journal.counted != self._shown and waited >= limits.BEAT_SECONDS
        if not changed and waited < limits.LEASE_SECONDS / 4:
            return None
        return self.beat()

    def beat(self) -> Beat:
        """Give the progress so far; only what is synced counts."""
        self._beat_at = clock.monotonic()
        self._shown = self.journal.counted
        return Beat(claim=self.claim, byte_length=self.journal.counted_bytes, tally=self._shown)

    async def seal(self, store: Store, blobs: Blobs) -> Batch | None:
        """Write the segment and publish it; gives the batch if this ended it.

        Raises:
            ClaimLost: the epoch has passed; the segment is an orphan and is deleted.
            OSError: the disk refused; so is what it took of the segment.
            StoreFault: the database refused. Whether it names the segment is known only to whoever
                opens it again, so the segment stays.
        """
        try:
            segment: Segment = await write_segment(
                *(blobs, self.claim, self.journal), failures_last=self.batch.kind.parts_failures
            )
            return await store.seal(self.claim, segment, self.journal.tally, clock.now())
        except (ClaimLost, OSError):
            await blobs.delete(segment_name(self.claim))
            raise

    def share_input(self) -> _Input | None:
        """Lend its input to another shard of the same batch, while it is open."""
        return self._input and self._input.share()

    async def close(self, blobs: Blobs, *, sealed: bool) -> None:
        """Let go of the files; of a sealed shard, delete the journals, which nothing names now."""
        async with self._using_input:
            used, self._input = self._input, None
            if used is not None:
                await used.leave()
        await self.journal.close()
        claim = self.claim
        if sealed:
            written = [part.epoch for part in claim.parts if part.epoch != claim.epoch]
            if self.journal.counted_bytes:
                written.append(claim.epoch)
            try:
                await blobs.delete(*(journal_name(claim, epoch) for epoch in written))
            except OSError as error:
                log.warning("journals of a sealed shard could not be deleted: %s", error)


async def open_shard(
    claim: Claim,
    batch: Batch,
    store: Store,
    blobs: Blobs,
    beside: OpenShard | None = None,
    *,
    arranged: bool = False,
) -> OpenShard:
    """Begin work on a claim: freeze what counts of earlier owners, and take it over.

    Args:
        claim: of the shard.
        batch: that it belongs to.
        store: durable truth.
        blobs: the input, the journals and the segments.
        beside: another shard of the batch that is open, if one is.
        arranged: whether requests that begin alike are handed out together.

    Raises:
        ClaimLost: somebody else has the shard already.
        Damaged: the input is missing.
        OSError: the disk refused.
    """
    shared = None if beside is None else beside.share_input()
    input_ = shared or _Input(await blobs.open(batch.input_blob))
    journal = Journal(blobs, claim)
    try:
        last = claim.parts[-1]
        if last.epoch != claim.epoch:
            found = await readable_bytes(blobs, journal_name(claim, last.epoch))
            parts = taken_over(claim.parts, claim.epoch, found)
            await store.freeze(claim, parts)
            claim = msgspec.structs.replace(claim, parts=parts)
            journal = Journal(blobs, claim)
            await journal.recover(parts[:-1])
            log.info(
                "shard %d of batch %s continues with %d of %d requests answered",
                *(claim.plan.index, claim.batch_id, journal.count, claim.plan.request_count),
            )
    except BaseException:
        await input_.leave()
        await journal.close()
        raise
    lines = ShardLines(claim.plan, batch, arranged=arranged)
    return OpenShard(claim, batch, journal, input_, lines)
