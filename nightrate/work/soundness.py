"""Is a blob what was written? Read once, a piece at a time, whatever its size."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from nightrate import limits
from nightrate.domain.shard import JournalPart, Segment
from nightrate.errors import Damaged
from nightrate.store.blobs import Blobs, Reader
from nightrate.work.journal import scan
from nightrate.work.plan import read_plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Checker:
    """Checks blobs. Each check gives what is wrong, or None; what it reads, it counts."""

    def __init__(self, blobs: Blobs, watch: Callable[[int], None]) -> None:
        """Wire it.

        Args:
            blobs: what is checked.
            watch: told how many bytes have been read since it was told last.
        """
        self._blobs = blobs
        self._watch = watch

    async def segment(self, segment: Segment, request_count: int) -> str | None:
        """Check length, checksum, and that it holds one line a request."""
        crc32 = lines = 0
        last = b"\n"

        def take(piece: bytes) -> None:
            nonlocal crc32, lines, last
            crc32 = zlib.crc32(piece, crc32)
            lines += piece.count(b"\n")
            last = piece[-1:]

        if (flaw := await self._whole(segment.blob, segment.byte_length, take)) is not None:
            return flaw
        if crc32 != segment.crc32:
            return f"its CRC-32 is {crc32:08x}, it was written with {segment.crc32:08x}"
        if lines != request_count or last != b"\n":
            return f"it holds {lines} lines of {request_count} requests"
        return None

    async def file(self, blob: str, size_bytes: int, sha256: str | None) -> str | None:
        """Check length and digest."""
        digest = hashlib.sha256()
        if (flaw := await self._whole(blob, size_bytes, digest.update)) is not None:
            return flaw
        found = digest.hexdigest()
        return f"its SHA-256 is {found}, not {sha256}" if sha256 not in {None, found} else None

    async def at_least(self, blob: str, size_bytes: int) -> str | None:
        """Check that a blob that is still written holds what was acknowledged."""
        held_bytes = await self._blobs.size(blob)
        if held_bytes is None and size_bytes:
            return "it is missing"
        if (held_bytes or 0) < size_bytes:
            return f"it holds {held_bytes} bytes, but {size_bytes} were acknowledged"
        return None

    async def kept(self, blob: str, size_bytes: int, crc32: int | None) -> str | None:
        """Check length and, if it is known, checksum."""
        found = 0

        def take(piece: bytes) -> None:
            nonlocal found
            found = zlib.crc32(piece, found)

        if (flaw := await self._whole(blob, size_bytes, take)) is not None:
            return flaw
        if crc32 is not None and found != crc32:
            return f"its CRC-32 is {found:08x}, it was written with {crc32:08x}"
        return None

    async def exactly(self, blob: str, size_bytes: int) -> str | None:
        """Check the length alone, of what has no digest."""
        held_bytes = await self._blobs.size(blob)
        if held_bytes is None:
            return "it is missing"
        return None if held_bytes == size_bytes else f"it has {held_bytes} bytes, not {size_bytes}"

    async def journal(self, blob: str, part: JournalPart) -> str | None:
        """Check that every byte that counts belongs to a whole record."""
        end = 0
        async with self._opened(blob) as reader:
            if reader is None:
                return "it is missing"
            async for record in scan(reader, part.byte_length):
                end = record.offset + record.length
        self._watch(end)
        if end < part.byte_length:
            return f"it can be read up to byte {end} of {part.byte_length} that count"
        return None

    def plan(self, path: Path) -> str | None:
        """Check a plan file's checksum."""
        try:
            read_plan(path)
        except Damaged as fault:
            return fault.message
        return None

    async def _whole(
        self, blob: str, size_bytes: int, take: Callable[[bytes], object]
    ) -> str | None:
        async with self._opened(blob) as reader:
            if reader is None:
                return "it is missing"
            held_bytes = await reader.size()
            if held_bytes != size_bytes:
                return f"it has {held_bytes} bytes, not {size_bytes}"
            for offset in range(0, size_bytes, limits.CHECK_BYTES):
                length = min(limits.CHECK_BYTES, size_bytes - offset)
                await reader.feed(take, offset, length)
                self._watch(length)
        return None

    @asynccontextmanager
    async def _opened(self, blob: str) -> AsyncIterator[Reader | None]:
        try:
            reader = await self._blobs.open(blob)
        except Damaged:
            yield None
            return
        try:
            yield reader
        finally:
            await reader.close()
