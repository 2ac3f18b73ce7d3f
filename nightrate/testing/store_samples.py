"""Values and first steps for tests of a store."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from nightrate.domain.batch import Batch, BatchForm, Kind, Plan
from nightrate.domain.file import File, FileSource, Upload, UploadState
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Beat, Claim, JournalPart, Segment, ShardPlan, Tally
from nightrate.domain.states import BatchState
from nightrate.errors import Code
from nightrate.store.base import Store
from nightrate.store.sweeps import BatchKey

OURS, THEIRS = "ours", "theirs"
"""Two tenants."""

NOW = 1_000
LEASE = 100
"""How long the claims of these tests last."""

END = 1_000_000
"""When the files and batches of these tests expire."""

FAULT = Failure(Code.INTERNAL, "It broke.")


def make_upload(upload_id: str = "u1", file_id: str = "f1", *, created_at: int = NOW) -> Upload:
    """Make an active upload session."""
    return Upload(
        tenant=OURS,
        upload_id=upload_id,
        file_id=file_id,
        blob=f"files/{upload_id}",
        display_name="input",
        mime_type="application/jsonl",
        received_bytes=0,
        state=UploadState.ACTIVE,
        created_at=created_at,
    )


def make_file(file_id: str = "f1", *, tenant: str = OURS, created_at: int = NOW) -> File:
    """Make an uploaded file."""
    return File(
        tenant=tenant,
        file_id=file_id,
        blob=f"files/{tenant}-{file_id}",
        display_name=None,
        mime_type="application/jsonl",
        size_bytes=3,
        sha256="ab",
        source=FileSource.UPLOADED,
        created_at=created_at,
        updated_at=created_at,
        expires_at=END,
    )


def make_batch(
    batch_id: str = "b1",
    *,
    tenant: str = OURS,
    file: File | None = None,
    form: BatchForm = BatchForm.FILE,
    created_at: int = NOW,
    priority: int = 0,
) -> Batch:
    """Make a submitted batch, over an internal file unless it names one."""
    return Batch(
        tenant=tenant,
        batch_id=batch_id,
        model="m",
        display_name=f"batch {batch_id}",
        kind=Kind(form),
        state=BatchState.SUBMITTED,
        input_blob=f"batches/{batch_id}/input" if file is None else str(file.blob),
        input_file_id=None if file is None else file.file_id,
        input_bytes=3,
        priority=priority,
        request_count=None,
        tally=Tally(),
        created_at=created_at,
        updated_at=created_at,
        ended_at=None,
        expires_at=END,
        failure=None,
    )


def make_plan(shards: int, requests_each: int = 2) -> tuple[Plan, Iterator[ShardPlan]]:
    """Plan so many shards of the same size."""
    plan = Plan(
        request_count=shards * requests_each, invalid_count=1, shard_count=shards, faults=()
    )
    return plan, iter(
        [
            ShardPlan(n, n * requests_each, requests_each, n * requests_each + 1, n * 50, 50)
            for n in range(shards)
        ]
    )


def segment_of(claim: Claim) -> Segment:
    """Describe a segment as this claim would write it."""
    return Segment(f"segments/{claim.plan.index}.{claim.epoch}", 10 + claim.plan.index, 7)


def progress(claim: Claim, byte_length: int, tally: Tally) -> Beat:
    """Make a beat."""
    return Beat(claim=claim, byte_length=byte_length, tally=tally)


def frozen(claim: Claim, *earlier: JournalPart) -> Claim:
    """Give the claim as it stands after its freeze."""
    return msgspec.structs.replace(claim, parts=(*earlier, JournalPart(claim.epoch, 0)))


async def add_file(store: Store, file: File) -> File:
    """Make a file exist, by way of its upload."""
    upload = msgspec.structs.replace(
        make_upload(f"of-{file.file_id}", file.file_id),
        tenant=file.tenant,
        blob=str(file.blob),
    )
    await store.add_upload(upload)
    await store.finish_upload(upload, file)
    return file


async def add_planned(store: Store, batch: Batch, shards: int = 1) -> Batch:
    """Make a planned batch exist."""
    await store.add_batch(batch)
    assert await store.open_batch(batch, *make_plan(shards), NOW)
    return batch


async def take(store: Store, owner: str = "a", *, now: int = NOW, batch: str = "b1") -> Claim:
    """Claim the next shard of a batch, which must have one."""
    claim = await store.claim(OURS, batch, owner, now, now + LEASE)
    assert claim is not None
    return claim


async def found(store: Store, batch_id: str = "b1", tenant: str = OURS) -> Batch:
    """Find a batch that must be there."""
    batch = await store.get_batch(tenant, batch_id)
    assert batch is not None
    return batch


async def swept(store: Store, limit: int = 99) -> list[BatchKey]:
    """Drop what is over of batches in one step that finds everything; give those that are gone."""
    step = await store.sweep_batches(NOW, 0, limit)
    assert not step.more
    return list(step.batches)
