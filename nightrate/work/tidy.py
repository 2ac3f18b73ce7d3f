"""What a finished batch leaves behind: journals that nothing names, segments that lost a race.

The plan file is kept until all of that is gone, and so marks a batch that is still to be tidied: a
crash in the middle costs nothing but another look (`work.orphans`). A batch that is repaired after
its end has a mark of its own.

Nobody works on a batch with all its results, except on one that is found damaged at that very
moment. What belongs to such a claim has an epoch beyond the sealed one, and is left alone.
"""

from __future__ import annotations

import re

from nightrate import limits
from nightrate.domain.batch import Batch, batch_folder
from nightrate.domain.states import ShardState
from nightrate.service.repairs import UNTIDY
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs

_SHARD_EPOCH = re.compile(r"([0-9]+)\.([0-9]+)")


async def tidy_batch(store: Store, blobs: Blobs, batch: Batch) -> None:
    """Delete what a batch with all its results does not need."""
    assert batch.has_results, "others may still be asked for their journals"
    folder = batch_folder(batch.tenant, batch.batch_id)
    epochs = await _sealed_epochs(store, batch)
    if epochs is None:  # tidied when it has been repaired
        return
    for kind, keeps_sealed in (("segments", True), ("journal", False)):
        written = await blobs.list(f"{folder}/{kind}")
        stale = [name for name in written if _is_stale(name, epochs, keeps_sealed=keeps_sealed)]
        await blobs.delete(*(f"{folder}/{kind}/{name}" for name in stale))
    await blobs.delete(f"{folder}/plan", f"{folder}/{UNTIDY}")


async def _sealed_epochs(store: Store, batch: Batch) -> dict[int, int] | None:
    """Give the epoch in the name of each shard's segment; None while one is made again."""
    epochs: dict[int, int] = {}
    while page := await store.shards(
        batch.tenant, batch.batch_id, len(epochs), limits.SEGMENTS_PAGE_SIZE
    ):
        for shard in page:
            if shard.state is not ShardState.SEALED:
                return None
            if shard.segment is None:  # nobody can ask for it any more
                epochs[shard.plan.index] = shard.epoch + 1
                continue
            parsed = _parsed(shard.segment.blob.rpartition("/")[2])
            assert parsed is not None, "named by `segment_name`"
            epochs[shard.plan.index] = parsed[1]
    return epochs


def _parsed(name: str) -> tuple[int, int] | None:
    """Give shard and epoch of a segment's or journal's name; None of what is neither."""
    match = _SHARD_EPOCH.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def _is_stale(name: str, epochs: dict[int, int], *, keeps_sealed: bool) -> bool:
    parsed = _parsed(name)
    if parsed is None:
        return False
    shard, epoch = parsed
    sealed = epochs.get(shard, -1)
    return epoch < sealed or (epoch == sealed and not keeps_sealed)
