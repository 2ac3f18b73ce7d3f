"""Sealing: a shard's outcomes become one ordered, immutable piece of the result files."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from nightrate import limits
from nightrate.domain.batch import batch_folder
from nightrate.domain.shard import Claim, Segment
from nightrate.store.blobs import Appender, Blobs
from nightrate.work.journal import Journal


def segment_name(claim: Claim) -> str:
    """Name the segment of a claim; with its epoch, so that no two owners ever share a name."""
    shard = claim.plan.index
    return f"{batch_folder(claim.tenant, claim.batch_id)}/segments/{shard:08d}.{claim.epoch}"


async def write_segment(
    blobs: Blobs, claim: Claim, journal: Journal, *, failures_last: bool = False
) -> Segment:
    """Write a shard's lines in input order and sync them.

    Not visible to anybody until `Store.seal` names it: a crash here leaves an orphan.

    Args:
        blobs: where it is written.
        claim: of the shard.
        journal: holds the outcome of every request.
        failures_last: whether the lines of failed requests follow those of all others.

    Raises:
        OSError: the disk refused; the claim is to be released.
    """
    writer = _Writer(blobs, segment_name(claim), journal, claim.plan.request_count)
    split = None
    try:
        if failures_last:
            succeeded, failed = journal.sorted_by_success()
            await writer.write(succeeded)
            split = writer.size_bytes
            await writer.write(failed)
        else:
            await writer.write(range(claim.plan.request_count))
    finally:
        await writer.close()
    return Segment(segment_name(claim), writer.size_bytes, writer.crc32, split)


class _Writer:
    """A segment being written; its last line is synced with all before it.

    One that fits into one piece, as most do, is written in one call to the disk.
    """

    def __init__(self, blobs: Blobs, name: str, journal: Journal, left: int) -> None:
        self.size_bytes = 0
        self.crc32 = 0
        self._blobs = blobs
        self._name = name
        self._journal = journal
        self._left = left
        self._blob: Appender | None = None

    async def write(self, indices: Sequence[int]) -> None:
        """Append the lines of some requests, in bounded pieces."""
        done = 0
        while done < len(indices):
            lines = await self._journal.chosen_lines(indices[done:], limits.SEGMENT_WRITE_BYTES)
            assert lines, "sealed only when every request has its outcome"
            done += len(lines)
            self._left -= len(lines)
            lines.append(b"")
            piece = b"\n".join(lines)
            self.crc32 = zlib.crc32(piece, self.crc32)
            await self._append(piece)

    async def _append(self, piece: bytes) -> None:
        if not self.size_bytes and not self._left:
            await self._blobs.put(self._name, [piece])
        else:
            if self._blob is None:
                self._blob = await self._blobs.create(self._name)
            await self._blob.append(piece, sync=not self._left)
        self.size_bytes += len(piece)

    async def close(self) -> None:
        """Let go of the file."""
        if self._blob is not None:
            await self._blob.close()
