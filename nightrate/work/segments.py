"""Sealing: a shard's outcomes become one ordered, immutable piece of the result file."""

from __future__ import annotations

import zlib

from nightrate import limits
from nightrate.domain.batch import batch_folder
from nightrate.domain.shard import Claim, Segment
from nightrate.store.blobs import Blobs
from nightrate.work.journal import Journal


def segment_name(claim: Claim) -> str:
    """Name the segment of a claim; with its epoch, so that no two owners ever share a name."""
    shard = claim.plan.index
    return f"{batch_folder(claim.tenant, claim.batch_id)}/segments/{shard:08d}.{claim.epoch}"


async def write_segment(blobs: Blobs, claim: Claim, journal: Journal) -> Segment:
    """Write a shard's lines in input order and sync them.

    Not visible to anybody until `Store.seal` names it: a crash here leaves an orphan.

    Raises:
        OSError: the disk refused; the claim is to be released.
    """
    name = segment_name(claim)
    blob = await blobs.create(name)
    crc32 = done = 0
    try:
        while done < claim.plan.request_count:
            lines = await journal.lines(done, limits.WRITE_BYTES)
            assert lines, "sealed only when every request has its outcome"
            piece = b"\n".join(lines) + b"\n"
            crc32 = zlib.crc32(piece, crc32)
            done += len(lines)
            await blob.append(piece, sync=done == claim.plan.request_count)
    finally:
        await blob.close()
    return Segment(name, blob.size_bytes, crc32)
