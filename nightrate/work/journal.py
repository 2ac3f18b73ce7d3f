"""The journal of one claim: framed outcomes, appended, synced by time.

A record is a fixed head and the output line. Records are readable up to the first one whose
checksum is wrong; what follows is ignored, never guessed. Lines stay in memory only until they are
written, so a journal holds at most what one sync interval gathers, whatever the shard's size. A
shard that finishes before its first sync never touches the disk with its journal.

What was looked up for a request is recorded beside the outcomes, as a step of it: the next owner
goes on from there, and whoever was asked is not asked again.

The file of an epoch is written by that epoch's owner alone. Which of its bytes count is said by the
shard's row (`domain.shard.taken_over`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import struct
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from msgspec import Struct

from nightrate import limits
from nightrate.domain.batch import journal_blob
from nightrate.domain.shard import Answer, Claim, JournalPart, Tally, sum_of
from nightrate.errors import Damaged
from nightrate.store.blobs import Appender, Blobs, Reader

log = logging.getLogger(__name__)

MAGIC = b"nightrate journal 2\n"

_HEAD = struct.Struct("<IIIIIIIIQ")
"""crc32 of the rest of the record; index; length of the line; 1 if it succeeded, or `_STEP`;
prompt, output, cached and thought tokens; nanoseconds of the engine."""

_STEP = 2
"""Stands where an outcome says whether it succeeded: the record is a step, and counts nothing."""

_HEADS = {MAGIC: _HEAD, b"nightrate journal 1\n": struct.Struct("<IIIIIII")}
"""How the heads of a journal are laid out, by its first bytes. An earlier version wrote without the
last two; what it left of a batch is taken over all the same."""

_HEAD_BYTES = _HEAD.size
_CRC = struct.Struct("<I")
_REST = struct.Struct("<IIIIIIIQ")
"""The head without its checksum."""


class Entry(Struct, frozen=True, gc=False):
    """Where a recorded line lies, and whether it tells of a success."""

    epoch: int
    offset: int
    length: int
    succeeded: bool


def journal_name(claim: Claim, epoch: int) -> str:
    """Name the blob of an epoch's journal."""
    return journal_blob(claim.tenant, claim.batch_id, claim.plan.index, epoch)


def head_of(index: int, answer: Answer) -> bytes:
    """Write what stands before the line in a record."""
    line, tally = answer.line, answer.tally
    rest = _REST.pack(
        index,
        len(line),
        tally.succeeded,
        tally.prompt_tokens,
        tally.output_tokens,
        tally.cached_tokens,
        tally.thought_tokens,
        tally.engine_nanoseconds,
    )
    return _CRC.pack(zlib.crc32(line, zlib.crc32(rest))) + rest


def head_of_step(index: int, found: bytes) -> bytes:
    """Write what stands before the bytes of a step in a record."""
    return head_of(index, Answer(found, Tally(_STEP)))


class Record(Struct, frozen=True, gc=False):
    """A record found in a journal: where its line lies in the file, and what it counts.

    That of a step has bytes in the place of a line, and counts nothing.
    """

    index: int
    offset: int
    length: int
    tally: Tally
    step: bool = False


def records(data: bytes, offset: int, magic: bytes = MAGIC) -> Iterator[Record]:
    """Read the whole records at the start of ``data``, which lies at ``offset`` in the file.

    Args:
        data: a piece of a journal.
        offset: where in the file it begins.
        magic: what the file begins with.
    """
    head = _HEADS[magic]
    position = 0
    while position + head.size <= len(data):
        crc, index, length, succeeded, *sums = head.unpack_from(data, position)
        start = position + head.size
        line = data[start : start + length]
        body = data[position + _CRC.size : start]
        if len(line) < length or zlib.crc32(line, zlib.crc32(body)) != crc:
            return
        if succeeded == _STEP:
            yield Record(index, offset + start, length, Tally(), step=True)
        else:
            yield Record(index, offset + start, length, Tally(succeeded, 1 - succeeded, *sums))
        position = start + length


class Journal:
    """The outcomes of one claim, its own and those of earlier owners that count."""

    def __init__(self, blobs: Blobs, claim: Claim) -> None:
        self._blobs = blobs
        self._claim = claim
        self._entries: dict[int, Entry] = {}
        """Outcomes on the disk."""
        self._recent: dict[int, Answer] = {}
        """Outcomes that are in memory only."""
        self._new_steps: dict[int, bytes] = {}
        """Steps that are in memory only."""
        self._steps: dict[int, Entry] = {}
        """Steps that earlier owners took, of requests without an outcome."""
        # What is looked at for every request is an attribute: a property costs as much as the rest.
        self.count = 0
        """How many requests have their outcome."""
        self.unwritten_bytes = 0
        """How much would be lost if the process died now, but for what is being written."""
        self.held_bytes = 0
        """How much is in memory because the disk does not have it yet."""
        self._appender: Appender | None = None
        self._readers: dict[int, Reader] = {}
        self._flushing = asyncio.Lock()
        self._closed = False
        self._summed = 0, Tally()
        """How many outcomes were summed up last, and what they added up to."""
        self.counted_bytes = 0
        """How many bytes of our own part are synced."""
        self.counted = Tally()
        """What the synced outcomes add up to; only these may be told to anybody."""

    @property
    def tally(self) -> Tally:
        """What all recorded outcomes add up to."""
        if self._summed[0] != self.count:
            recent = [answer.tally for answer in self._recent.values()]
            self._summed = self.count, sum_of(self.counted, *recent)
        return self._summed[1]

    def __contains__(self, index: int) -> bool:
        """Tell whether a request has its outcome."""
        return index in self._recent or index in self._entries

    def add(self, index: int, answer: Answer) -> None:
        """Record an outcome; it is durable after the next `flush`."""
        recent = self._recent
        assert index not in recent, "the first recorded outcome counts"
        assert index not in self._entries, "the first recorded outcome counts"
        recent[index] = answer
        record_bytes = _HEAD_BYTES + len(answer.line)
        self.count += 1
        self.unwritten_bytes += record_bytes
        self.held_bytes += record_bytes

    def add_step(self, index: int, found: bytes) -> None:
        """Record what was looked up for a request; it is durable after the next `flush`."""
        record_bytes = _HEAD_BYTES + len(found)
        assert record_bytes <= limits.STEP_BYTES_MAX, "whoever looked it up keeps it short"
        self._new_steps[index] = found
        self.unwritten_bytes += record_bytes
        self.held_bytes += record_bytes

    async def step(self, index: int) -> bytes | None:
        """Give what an earlier owner looked up for a request; None when there is nothing of it."""
        entry = self._steps.get(index)
        if entry is None:
            return None
        try:
            (found,) = await self._readers[entry.epoch].read_all([(entry.offset, entry.length)])
        except (OSError, Damaged) as error:
            log.error("what was looked up is gone and will be made again: %s", error)  # noqa: TRY400
            return None
        return found

    async def flush(self) -> None:
        """Write and sync what has gathered; callers wait for each other.

        Raises:
            OSError: the disk refused; this journal is not to be used again.
        """
        async with self._flushing:
            writing_bytes, self.unwritten_bytes = self.unwritten_bytes, 0
            if not writing_bytes or self._closed:
                self.held_bytes -= writing_bytes
                return
            start = self.counted_bytes or len(MAGIC)
            pieces = [] if self.counted_bytes else [MAGIC]
            written: dict[int, Entry] = {}
            steps, self._new_steps = self._new_steps, {}
            for index, found in steps.items():
                pieces += (head_of_step(index, found), found)
                start += _HEAD_BYTES + len(found)
            for index, answer in self._recent.items():
                pieces += (head_of(index, answer), answer.line)
                start += _HEAD_BYTES
                length, succeeded = len(answer.line), answer.tally.succeeded > 0
                written[index] = Entry(self._claim.epoch, start, length, succeeded)
                start += length
            try:
                if self._appender is None:
                    name = journal_name(self._claim, self._claim.epoch)
                    self._appender = await self._blobs.create(name)
                await self._appender.append(b"".join(pieces), sync=True)
            except OSError:
                await self._abandon()
                raise
            finally:
                self.held_bytes -= writing_bytes
            self.counted_bytes = start
            recorded = [self._recent.pop(index).tally for index in written]
            self.counted = sum_of(self.counted, *recorded)
            self._entries |= written

    async def _abandon(self) -> None:
        """Write no more, and cut off what a failed sync left.

        The next owner would find it in the kernel's memory and count it, and the disk may never
        have it. Who waited for this flush must not write behind the hole either: what is recorded
        stays in memory, where a seal that has begun still finds it.
        """
        self._closed = True
        if self._appender is None:
            return
        try:
            await self._appender.cut(self.counted_bytes)
        except OSError as error:
            log.warning("the end of an abandoned journal could not be cut off: %s", error)

    async def lines(self, first: int, bytes_max: int) -> list[bytes]:
        """Give recorded lines from an index on, in order, until the bound or a gap."""
        return await self.chosen_lines(itertools.count(first), bytes_max)

    def sorted_by_success(self) -> tuple[list[int], list[int]]:
        """Give the recorded indices in order: those that succeeded, and those that failed."""
        failed = [index for index, entry in self._entries.items() if not entry.succeeded]
        failed += [index for index, one in self._recent.items() if not one.tally.succeeded]
        failures = set(failed)
        everything = sorted((*self._entries, *self._recent))
        return [index for index in everything if index not in failures], sorted(failed)

    async def chosen_lines(self, wanted: Iterable[int], bytes_max: int) -> list[bytes]:
        """Give the recorded lines of some indices, in their order, until the bound or a gap."""
        found: list[bytes] = []
        written: dict[int, list[int]] = {}
        """By epoch, where in ``found`` lines belong that are only on the disk."""
        indices: list[int] = []
        size = 0
        for index in wanted:
            answer = self._recent.get(index)
            entry = self._entries.get(index) if answer is None else None
            if answer is not None:
                line, length = answer.line, len(answer.line)
            elif entry is not None:
                line, length = b"", entry.length
            else:
                break
            if indices and size + length > bytes_max:
                break
            if entry is not None:
                written.setdefault(entry.epoch, []).append(len(found))
            found.append(line)
            indices.append(index)
            size += length
        for epoch, places in written.items():
            source = self._appender if epoch == self._claim.epoch else self._readers[epoch]
            assert source is not None, "written, so open"
            entries = [self._entries[indices[place]] for place in places]
            ranges = [(entry.offset, entry.length) for entry in entries]
            for place, line in zip(places, await source.read_all(ranges), strict=True):
                found[place] = line
        return found

    async def recover(self, parts: Sequence[JournalPart]) -> None:
        """Take over what counts of earlier owners' journals."""
        taken: list[Tally] = []
        for part in parts:
            if part.byte_length:
                try:
                    reader = await self._blobs.open(journal_name(self._claim, part.epoch))
                except Damaged as fault:
                    log.error("answers are gone and will be made again: %s", fault)  # noqa: TRY400
                    continue
                self._readers[part.epoch] = reader
                end = 0
                async for record in scan(reader, part.byte_length):
                    end = record.offset + record.length
                    if record.step:
                        place = Entry(part.epoch, record.offset, record.length, succeeded=False)
                        self._steps[record.index] = place
                    elif record.index not in self._entries:
                        succeeded = bool(record.tally.succeeded)
                        entry = Entry(part.epoch, record.offset, record.length, succeeded)
                        self._entries[record.index] = entry
                        self.count += 1
                        taken.append(record.tally)
                if end < part.byte_length:
                    name = journal_name(self._claim, part.epoch)
                    log.error("blob %s is damaged: answers after byte %d are made again", name, end)
        self.counted = sum_of(*taken)

    async def close(self) -> None:
        """Let go of the files."""
        self._closed = True
        async with self._flushing:
            if self._appender is not None:
                await self._appender.close()
        for reader in self._readers.values():
            await reader.close()


async def scan(reader: Reader, byte_length: int) -> AsyncIterator[Record]:
    """Read a journal's records, up to a length or to the first one that is not whole.

    A record longer than one read is read again with twice the length, so a damaged length field
    cannot make us hold more than twice `limits.LINE_BYTES_MAX`.
    """
    magic = await reader.read_some(0, len(MAGIC))
    if magic not in _HEADS:
        return
    position, want = len(MAGIC), limits.READ_BYTES
    while position < byte_length:
        data = await reader.read_some(position, min(want, byte_length - position))
        end = position
        for record in records(data, position, magic):
            yield record
            end = record.offset + record.length
        if end > position:
            position, want = end, limits.READ_BYTES
        elif len(data) < want or want >= 2 * limits.LINE_BYTES_MAX:
            return
        else:
            want *= 2


async def readable_bytes(blobs: Blobs, name: str) -> int:
    """Tell how much of a journal is whole records, synced; 0 when there is none.

    Synced first: its former owner may have died before its own sync, and what is counted in the
    database must be on the disk.
    """
    size = await blobs.size(name)
    if not size:
        return 0
    await blobs.sync(name)
    reader = await blobs.open(name)
    end = 0
    try:
        async for record in scan(reader, size):
            end = record.offset + record.length
    finally:
        await reader.close()
    return end
