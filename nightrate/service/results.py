"""The bytes of files, uploaded or results.

The result file of a batch is the list of its sealed segments, which follow each other without a
gap. While the batch runs the list grows at its end; what was read once never changes. No copy of
it exists, and no more than one piece of it is held in memory.

A segment is checked against its CRC before its first byte leaves, once in the life of the process;
not earlier, so that a document of gigabytes begins at once.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from nightrate import clock, limits
from nightrate.domain.batch import Batch
from nightrate.domain.file import File, ResultPart, batch_of_result, part_of_result
from nightrate.domain.shard import Segment
from nightrate.errors import Damaged, MissingFile, StoreFault
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs, Reader


class Content:
    """The bytes of a file as they stood when it was asked for."""

    def __init__(
        self,
        results: Results,
        mime_type: str,
        etag: str,
        segments: Sequence[Segment],
        *,
        checked: bool,
        part: ResultPart = ResultPart.OUTPUT,
    ) -> None:
        self.mime_type = mime_type
        self.etag = etag
        """Quoted, as HTTP wants it."""
        self._results = results
        self._segments = segments
        self._checked = checked
        self._starts = [0]
        self._spans = [segment.span(part) for segment in segments]
        for first, stop in self._spans:
            self._starts.append(self._starts[-1] + stop - first)

    @property
    def size_bytes(self) -> int:
        """How long the whole content is."""
        return self._starts[-1]

    async def stream(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Give the bytes from ``start`` up to ``stop`` in pieces of at most `limits.READ_BYTES`.

        Raises:
            Damaged: stored bytes are not what was written; the message names the blob, of which
                nothing has been given out.
        """
        assert 0 <= start <= stop <= self.size_bytes
        while start < stop:
            index = bisect_right(self._starts, start) - 1  # the last of those that begin here
            segment, end = self._segments[index], min(stop, self._starts[index + 1])
            shift = self._spans[index][0] - self._starts[index]  # from the file to its segment
            reading = self._results.read(segment, start + shift, end + shift, check=self._checked)
            async with aclosing(reading) as pieces:
                async for piece in pieces:
                    yield piece
            start = end


class Results:
    """Reads what is stored."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._verified: OrderedDict[str, None] = OrderedDict()

    async def content(self, tenant: str, file_id: str) -> Content:
        """Find the bytes of a file.

        Raises:
            MissingFile: there is no such file.
        """
        file = await self._store.get_file(tenant, file_id, clock.now())
        if file is None:
            message = f"There is no file files/{file_id}; it may have expired or been deleted."
            raise MissingFile(message, file_id)
        if file.blob is not None:
            return self._uploaded(file, file.blob)
        segments = await self._segments(tenant, batch_of_result(file_id) or file_id)
        chain = zlib.crc32(b"".join(segment.crc32.to_bytes(4, "big") for segment in segments))
        part = part_of_result(file_id)
        spans = [segment.span(part) for segment in segments]
        size_bytes = sum(stop - start for start, stop in spans)
        etag = f'"{size_bytes:x}-{chain:08x}"'
        return Content(self, file.mime_type, etag, segments, checked=True, part=part)

    async def items(self, batch: Batch) -> AsyncGenerator[bytes, None]:
        """Give the sealed results of a batch as JSON values with commas between them, in order.

        Raises:
            Damaged: as `Content.stream`.
        """
        held = b""  # a line end becomes a comma only when something follows it
        for segment in await self._segments(batch.tenant, batch.batch_id):
            async with aclosing(self.read(segment, 0, segment.byte_length, check=True)) as pieces:
                async for piece in pieces:
                    lines = held + piece
                    values = lines.removesuffix(b"\n")
                    held = lines[len(values) :]
                    # A raw line end never stands inside a JSON value.
                    yield values.replace(b"\n", b",\n")

    async def verify(self, batch: Batch) -> None:
        """Find, before an answer begins, what can be found quickly: `items` finds the rest.

        The first segments are checked, up to `limits.CHECKED_FIRST_BYTES` of them and always one;
        the others must be there, as long as they were written.

        Raises:
            Damaged: a segment is not what was written; the message names the blob.
        """
        checked_bytes = 0
        for segment in await self._segments(batch.tenant, batch.batch_id):
            if segment.blob in self._verified:
                continue
            reader = await self._open(segment)
            try:
                wanted = checked_bytes + segment.byte_length
                if not checked_bytes or wanted <= limits.CHECKED_FIRST_BYTES:
                    await self._verify(reader, segment)
                    checked_bytes = wanted
                elif await reader.size() != segment.byte_length:
                    message = f"blob {segment.blob} is damaged: it has not the length it was"
                    raise Damaged(f"{message} written with")
            finally:
                await reader.close()

    async def read(
        self, segment: Segment, start: int, stop: int, *, check: bool
    ) -> AsyncGenerator[bytes, None]:
        """Give a range of one blob's bytes in pieces; with ``check`` only of a sound blob."""
        reader = await self._open(segment)
        try:
            if check and segment.blob not in self._verified:
                whole = await self._verify(reader, segment)
                if whole is not None:
                    yield whole[start:stop]
                    return
            for offset in range(start, stop, limits.READ_BYTES):
                length = min(limits.READ_BYTES, stop - offset)
                yield await _read(reader, segment, offset, length)
        finally:
            await reader.close()

    async def _verify(self, reader: Reader, segment: Segment) -> bytes | None:
        """Check a whole segment; give its bytes back if they fit into one piece."""
        crc32, piece = 0, None
        if segment.byte_length <= limits.READ_BYTES:
            piece = await _read(reader, segment, 0, segment.byte_length)
            crc32 = zlib.crc32(piece)
        else:
            for offset in range(0, segment.byte_length, limits.CHECK_BYTES):
                length = min(limits.CHECK_BYTES, segment.byte_length - offset)
                crc32 = await _checksum(reader, segment, offset, length, crc32)
        if crc32 != segment.crc32:
            message = (
                f"blob {segment.blob} is damaged: its CRC-32 is {crc32:08x},"
                f" it was written with {segment.crc32:08x}"
            )
            raise Damaged(message)
        self._verified[segment.blob] = None
        if len(self._verified) > limits.SEGMENTS_VERIFIED_MAX:
            self._verified.popitem(last=False)
        return piece

    async def _open(self, segment: Segment) -> Reader:
        try:
            return await self._blobs.open(segment.blob)
        except StoreFault as error:
            raise Damaged(error.message) from error

    async def _segments(self, tenant: str, batch_id: str) -> list[Segment]:
        segments: list[Segment] = []
        while True:
            page = await self._store.segments(
                tenant, batch_id, from_shard=len(segments), limit=limits.SEGMENTS_PAGE_SIZE
            )
            segments += [sealed.segment for sealed in page]
            if len(page) < limits.SEGMENTS_PAGE_SIZE:
                return segments

    def _uploaded(self, file: File, blob: str) -> Content:
        whole = Segment(blob, file.size_bytes, 0)
        segments = [whole] if file.size_bytes else []
        return Content(self, file.mime_type, f'"{file.sha256}"', segments, checked=False)


async def _read(reader: Reader, segment: Segment, offset: int, length: int) -> bytes:
    try:
        return await reader.read(offset, length)
    except StoreFault as error:
        raise _damaged(segment, error) from error


async def _checksum(reader: Reader, segment: Segment, offset: int, length: int, crc32: int) -> int:
    try:
        return await reader.checksum(offset, length, crc32)
    except StoreFault as error:
        raise _damaged(segment, error) from error


def _damaged(segment: Segment, error: StoreFault) -> Damaged:
    return Damaged(f"blob {segment.blob} is damaged: {error.message}")
