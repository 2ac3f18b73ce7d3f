"""The bytes of files, uploaded or results.

The result file of a batch is the list of its sealed segments, which follow each other without a
gap. While the batch runs the list grows at its end; what was read once never changes. No copy of
it exists, and no more than one piece of it is held in memory, or one segment of a usual length.

A segment is checked against its CRC before its first byte leaves, and again when its file was
written to or an hour has passed; not earlier, so that a document of gigabytes begins at once. One
that is damaged is reported, and made again while its input exists (`service.repairs`). Until then a
running batch has a gap there, as where a shard is not finished; the results of one that has ended
are refused, because what ends at a gap would look complete.
"""

from __future__ import annotations

import errno
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

from nightrate import clock, limits
from nightrate.dialects.gemini_items import ItemJoiner
from nightrate.dialects.gemini_profiles import Profile
from nightrate.domain.batch import Batch
from nightrate.domain.file import File, ResultPart, batch_of_result, part_of_result
from nightrate.domain.shard import Segment
from nightrate.errors import Damaged, MissingFile, NotReady, StoreFault
from nightrate.service.repairs import Repairs
from nightrate.store.base import SealedSegment, Store
from nightrate.store.blobs import Blobs, Reader, Stamp

BatchKey = tuple[str, str]
"""The tenant and the id of a batch."""


class Content:
    """The bytes of a file as they stood when it was asked for."""

    def __init__(
        self,
        results: Results,
        mime_type: str,
        etag: str,
        sources: Sequence[SealedSegment],
        *,
        batch: BatchKey | None = None,
        part: ResultPart = ResultPart.OUTPUT,
    ) -> None:
        self.mime_type = mime_type
        self.etag = etag
        """Quoted, as HTTP wants it."""
        self._results = results
        self._sources = sources
        self._batch = batch
        self._starts = [0]
        self._spans = [source.segment.span(part) for source in sources]
        for first, stop in self._spans:
            self._starts.append(self._starts[-1] + stop - first)

    @property
    def size_bytes(self) -> int:
        """How long the whole content is."""
        return self._starts[-1]

    async def stream(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Give the bytes from ``start`` up to ``stop`` in pieces of at most `limits.READ_BYTES`.

        Raises:
            Damaged: stored bytes are not what was written, and never will be again; the message
                names the blob, of which nothing has been given out.
            NotReady: likewise, but they are made again.
        """
        assert 0 <= start <= stop <= self.size_bytes
        self._refuse_lost(start, stop)
        while start < stop:
            index = bisect_right(self._starts, start) - 1  # the last of those that begin here
            source, end = self._sources[index], min(stop, self._starts[index + 1])
            shift = self._spans[index][0] - self._starts[index]  # from the file to its segment
            reading = self._results.read(self._batch, source, start + shift, end + shift)
            async with aclosing(reading) as pieces:
                async for piece in pieces:
                    yield piece
            start = end

    def _refuse_lost(self, start: int, stop: int) -> None:
        """Refuse what is known to hold a segment that is damaged for good, before it begins."""
        for index, source in enumerate(self._sources):
            first, end = self._starts[index], self._starts[index + 1]
            if source.lost is not None and max(first, start) < min(end, stop):
                raise Damaged(
                    f"{_lost(source)}. Bytes {first} to {end - 1} of the file are lost; the others"
                    f" can be had with a Range."
                )


class Results:
    """Reads what is stored."""

    def __init__(self, store: Store, blobs: Blobs, repairs: Repairs | None = None) -> None:
        self._store = store
        self._blobs = blobs
        self._repairs = repairs or Repairs(store, blobs)
        self._verified: OrderedDict[str, tuple[Stamp | None, float]] = OrderedDict()
        """By blob, what it was like when it was found sound, and until when that is believed."""

    async def content(self, tenant: str, file_id: str) -> Content:
        """Find the bytes of a file.

        Raises:
            MissingFile: there is no such file.
            NotReady: a part of it is made again.
        """
        file = await self._store.get_file(tenant, file_id, clock.now())
        if file is None:
            message = f"There is no file files/{file_id}; it may have expired or been deleted."
            raise MissingFile(message, file_id)
        if file.blob is not None:
            return self._uploaded(file, file.blob)
        batch = tenant, batch_of_result(file_id) or file_id
        sources = await self._segments(*batch)
        crcs = b"".join(source.segment.crc32.to_bytes(4, "big") for source in sources)
        part = part_of_result(file_id)
        spans = [source.segment.span(part) for source in sources]
        size_bytes = sum(stop - start for start, stop in spans)
        if not file.growing and size_bytes != file.size_bytes:  # it has ended, and has a gap
            raise being_repaired(batch[1])
        etag = f'"{size_bytes:x}-{zlib.crc32(crcs):08x}"'
        return Content(self, file.mime_type, etag, sources, batch=batch, part=part)

    async def items(self, batch: Batch, profile: Profile) -> AsyncGenerator[bytes, None]:
        """Give the sealed results of a batch as JSON values with commas between them, in order.

        Raises:
            Damaged, NotReady: as `Content.stream`.
        """
        joiner = ItemJoiner(profile)
        key = batch.tenant, batch.batch_id
        for source in await self._whole(batch):
            reading = self.read(key, source, 0, source.segment.byte_length)
            async with aclosing(reading) as pieces:
                async for piece in pieces:
                    yield joiner.feed(piece)

    async def verify(self, batch: Batch) -> None:
        """Find, before an answer begins, what can be found quickly: `items` finds the rest.

        The first segments are checked, up to `limits.CHECKED_FIRST_BYTES` of them and always one;
        the others must be there, as long as they were written.

        Raises:
            Damaged, NotReady: as `Content.stream`.
        """
        checked_bytes = 0
        for source in await self._whole(batch):
            segment, wanted = source.segment, checked_bytes + source.segment.byte_length
            try:
                reader = await self._open(segment)
                try:
                    if reader.stamp == self._known(segment):
                        continue
                    if not checked_bytes or wanted <= limits.CHECKED_FIRST_BYTES:
                        await self._verify(reader, segment)
                        checked_bytes = wanted
                    elif await reader.size() != segment.byte_length:
                        message = f"blob {segment.blob} is damaged: it has not the length it was"
                        raise Damaged(f"{message} written with")
                finally:
                    await reader.close()
            except Damaged as damage:
                key = batch.tenant, batch.batch_id
                raise await self._repairs.fault(
                    *key, source.shard, segment.blob, damage
                ) from damage

    async def read(
        self, batch: BatchKey | None, source: SealedSegment, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Give a range of one blob's bytes in pieces; of a batch's segment only if it is sound.

        Raises:
            Damaged, NotReady: as `Content.stream`.
        """
        try:
            async with aclosing(
                self._read(source.segment, start, stop, check=batch is not None)
            ) as pieces:
                async for piece in pieces:
                    yield piece
        except Damaged as damage:
            if batch is None:
                raise
            blob = source.segment.blob
            raise await self._repairs.fault(*batch, source.shard, blob, damage) from damage

    async def _read(
        self, segment: Segment, start: int, stop: int, *, check: bool
    ) -> AsyncGenerator[bytes, None]:
        known, everything = self._known(segment), (start, stop) == (0, segment.byte_length)
        small = segment.byte_length <= limits.SEGMENT_HELD_BYTES_MAX
        if check and small and (everything or known is None):
            for piece in _part_of(await self._whole_segment(segment, known), start, stop):
                yield piece
            return
        reader = await self._open(segment)
        try:
            if check and reader.stamp != known:
                await self._verify(reader, segment)
            for offset in range(start, stop, limits.READ_BYTES):
                length = min(limits.READ_BYTES, stop - offset)
                yield await _read(reader, segment, offset, length)
        finally:
            await reader.close()

    def _known(self, segment: Segment) -> Stamp | None:
        """Tell what a segment was like when it was found sound, if that is still believed."""
        stamp, until = self._verified.get(segment.blob, (None, 0.0))
        return stamp if clock.monotonic() < until else None

    async def _whole_segment(self, segment: Segment, known: Stamp | None) -> list[bytes]:
        """Read a segment that may be held, and check it unless that was done."""
        try:
            whole = await self._blobs.whole(segment.blob, segment.byte_length, known)
        except StoreFault as error:
            raise _damaged(segment, error.message) from error
        except OSError as error:
            raise _unreadable(segment, error) from error
        if whole.crc32 is not None:
            self._trust(segment, whole.stamp, whole.crc32)
        return whole.pieces

    async def _verify(self, reader: Reader, segment: Segment) -> None:
        """Check a segment, however long it is."""
        crc32 = 0
        for offset in range(0, segment.byte_length, limits.CHECK_BYTES):
            length = min(limits.CHECK_BYTES, segment.byte_length - offset)
            crc32 = await _checksum(reader, segment, offset, length, crc32)
        self._trust(segment, reader.stamp, crc32)

    def _trust(self, segment: Segment, stamp: Stamp, crc32: int) -> None:
        """Compare a checksum, and remember of a segment that it was right."""
        if crc32 != segment.crc32:
            message = (
                f"blob {segment.blob} is damaged: its CRC-32 is {crc32:08x},"
                f" it was written with {segment.crc32:08x}"
            )
            raise Damaged(message)
        until = clock.monotonic() + limits.SEGMENTS_VERIFIED_SECONDS
        self._verified[segment.blob] = stamp, until
        if len(self._verified) > limits.SEGMENTS_VERIFIED_MAX:
            self._verified.popitem(last=False)

    async def _open(self, segment: Segment) -> Reader:
        try:
            return await self._blobs.open(segment.blob)
        except StoreFault as error:
            raise Damaged(error.message) from error

    async def _segments(self, tenant: str, batch_id: str) -> list[SealedSegment]:
        sources: list[SealedSegment] = []
        while True:
            page = await self._store.segments(
                tenant, batch_id, from_shard=len(sources), limit=limits.SEGMENTS_PAGE_SIZE
            )
            sources += page
            if len(page) < limits.SEGMENTS_PAGE_SIZE:
                return sources

    async def _whole(self, batch: Batch) -> list[SealedSegment]:
        """Give the segments of a batch that has all its results.

        Raises:
            NotReady: it has a gap just now.
            Damaged: one is damaged for good.
        """
        sources = await self._segments(batch.tenant, batch.batch_id)
        count = sum(source.request_count for source in sources)
        if batch.has_results and count != batch.request_count:
            raise being_repaired(batch.batch_id)
        for source in sources:
            if source.lost is not None:
                raise Damaged(f"{_lost(source)}.")
        return sources

    def _uploaded(self, file: File, blob: str) -> Content:
        whole = SealedSegment(0, 0, 0, Segment(blob, file.size_bytes, 0))
        sources = [whole] if file.size_bytes else []
        return Content(self, file.mime_type, f'"{file.sha256}"', sources)


def _lost(source: SealedSegment) -> str:
    return f"blob {source.segment.blob} is damaged, and cannot be made again: {source.lost}"


def being_repaired(batch_id: str) -> NotReady:
    """Say that results which were complete are so no more, for now."""
    return NotReady(
        f"A part of the results of batches/{batch_id} was damaged on the server's disk, and its"
        f" requests run again; try again in a while."
    )


def _part_of(pieces: list[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Give a range of a segment's pieces; each is held no longer than it is needed."""
    offset = 0
    pieces.reverse()
    while pieces and offset < stop:
        piece = pieces.pop()
        end = offset + len(piece)
        if max(start, offset) < min(stop, end):
            yield piece[max(start - offset, 0) : stop - offset]
        offset = end


async def _read(reader: Reader, segment: Segment, offset: int, length: int) -> bytes:
    try:
        return await reader.read(offset, length)
    except StoreFault as error:
        raise _damaged(segment, error.message) from error
    except OSError as error:
        raise _unreadable(segment, error) from error


async def _checksum(reader: Reader, segment: Segment, offset: int, length: int, crc32: int) -> int:
    try:
        return await reader.checksum(offset, length, crc32)
    except StoreFault as error:
        raise _damaged(segment, error.message) from error
    except OSError as error:
        raise _unreadable(segment, error) from error


def _damaged(segment: Segment, why: str) -> Damaged:
    return Damaged(f"blob {segment.blob} is damaged: {why}")


def _unreadable(segment: Segment, error: OSError) -> Exception:
    """Take a sector that the disk cannot read for damage; anything else may pass by itself."""
    return _damaged(segment, f"{error.strerror}") if error.errno == errno.EIO else error
