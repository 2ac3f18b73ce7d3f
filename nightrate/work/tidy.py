"""What a finished batch leaves behind: journals that nothing names, segments that lost a race.

The plan file is kept until all of that is gone, and so marks a batch that is still to be tidied: a
crash in the middle costs nothing but another look (`work.orphans`).
"""

from __future__ import annotations

from nightrate import limits
from nightrate.domain.batch import Batch, batch_folder
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs


async def tidy_batch(store: Store, blobs: Blobs, batch: Batch) -> None:
    """Delete what a batch with all its results does not need: nobody works on it any more."""
    assert batch.has_results, "others may still be asked for their journals"
    folder = batch_folder(batch.tenant, batch.batch_id)
    named: set[str] = set()
    shard = 0
    while page := await store.segments(
        batch.tenant, batch.batch_id, shard, limits.SEGMENTS_PAGE_SIZE
    ):
        named.update(sealed.segment.blob for sealed in page)
        shard = page[-1].shard + 1
    written = {f"{folder}/segments/{name}" for name in await blobs.list(f"{folder}/segments")}
    await blobs.delete(*(written - named), f"{folder}/journal")
    await blobs.delete(f"{folder}/plan")
