"""A store, blobs and planned batches, for tests of those who work on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nightrate import clock
from nightrate.domain.batch import Batch, BatchForm, Dialect, Kind
from nightrate.domain.shard import Answer, Claim, JournalPart, ShardPlan, Tally
from nightrate.domain.states import BatchState
from nightrate.store.blobs import Blobs
from nightrate.store.sqlite import SQLiteStore
from nightrate.work.plan import read_plan
from nightrate.work.planning_process import plan_file

T = TypeVar("T")

TENANT = "default"


async def inline(call: Callable[[], T]) -> T:
    return call()


def line(text: str, key: str = "k") -> bytes:
    """Write one line of a batch file."""
    request = {"contents": [{"parts": [{"text": text}]}]}
    return msgspec.json.encode({"key": key, "request": request}) + b"\n"


def numbered(count: int, first: int = 0) -> list[bytes]:
    """Write lines whose key is their number and whose text tells it."""
    return [line(f"say {number}", str(number)) for number in range(first, first + count)]


def chat_line(key: str, text: str = "x", model: str = "m", **members: Any) -> bytes:
    """Write one line of OpenAI's batch file."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **members}
    row = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return msgspec.json.encode(row) + b"\n"


def answer(text: str, *, ok: bool = True, thought: int = 0, nanoseconds: int = 0) -> Answer:
    """Make an answer."""
    return Answer(text.encode(), Tally(int(ok), int(not ok), 3, 2, 1, thought, nanoseconds))


def make_claim(epoch: int = 1, requests: int = 10, *earlier: JournalPart) -> Claim:
    """Make a claim that no store knows."""
    return Claim(
        tenant=TENANT,
        batch_id="b1",
        plan=ShardPlan(0, 0, requests, 1, 0, 100),
        epoch=epoch,
        owner=f"owner-{epoch}",
        lease_until=0,
        parts=(*earlier, JournalPart(epoch, 0)),
    )


class Workshop:
    """A data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SQLiteStore(path / "state.sqlite", inline)
        self.blobs = Blobs(path / "blobs", inline)

    async def submit(  # noqa: PLR0913 - what a batch has
        self,
        lines: list[bytes],
        batch_id: str = "b1",
        *,
        tenant: str = TENANT,
        model: str = "m",
        priority: int = 0,
        form: BatchForm = BatchForm.FILE,
        dialect: Dialect = Dialect.GEMINI,
        strict: bool = False,
    ) -> Batch:
        """Submit a batch of lines, not planned yet."""
        blob = f"batches/{tenant}/{batch_id}/input"
        data = b"".join(lines)
        await self.blobs.put(blob, [data])
        now = clock.now()
        batch = Batch(
            tenant=tenant,
            batch_id=batch_id,
            model=model,
            display_name=batch_id,
            kind=Kind(form, dialect=dialect),
            state=BatchState.SUBMITTED,
            input_blob=blob,
            input_file_id=None,
            input_bytes=len(data),
            priority=priority,
            request_count=None,
            tally=Tally(),
            created_at=now,
            updated_at=now,
            ended_at=None,
            expires_at=clock.later(now, 3600),
            failure=None,
            strict=strict,
        )
        await self.store.add_batch(batch)
        return batch

    async def plan(
        self,
        lines: list[bytes],
        batch_id: str = "b1",
        *,
        model: str = "m",
        priority: int = 0,
        form: BatchForm = BatchForm.FILE,
        dialect: Dialect = Dialect.GEMINI,
    ) -> Batch:
        """Submit a batch of lines and cut it into shards."""
        batch = await self.submit(
            lines, batch_id, model=model, priority=priority, form=form, dialect=dialect
        )
        output = self.path / "plan"
        plan_file(self.blobs.path(batch.input_blob), output, batch.model, batch.kind)
        plan, shards = read_plan(output)
        assert await self.store.open_batch(batch, plan, shards, clock.now())
        return batch

    async def claim(
        self, owner: str = "a", batch_id: str = "b1", *, now: int | None = None
    ) -> Claim:
        """Claim a shard, which must be there."""
        now = clock.now() if now is None else now
        claim = await self.store.claim(TENANT, batch_id, owner, now, clock.later(now, 60))
        assert claim is not None
        return claim

    async def batch(self, batch_id: str = "b1") -> Batch:
        """Find a batch, which must be there."""
        batch = await self.store.get_batch(TENANT, batch_id)
        assert batch is not None
        return batch

    async def output(self, batch_id: str = "b1", tenant: str = TENANT) -> list[bytes]:
        """Give the lines of everything that is sealed without a gap."""
        sealed = await self.store.segments(tenant, batch_id, 0, 10_000)
        pieces = [self.blobs.path(one.segment.blob).read_bytes() for one in sealed]
        return b"".join(pieces).splitlines()

    async def keys(self, batch_id: str = "b1") -> list[str]:
        """Give the keys of the output lines."""
        return [msgspec.json.decode(row)["key"] for row in await self.output(batch_id)]

    def files(self) -> list[str]:
        """Name every blob on the disk."""
        root = self.path / "blobs"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Workshop]:
    """Open a workshop."""
    shop = Workshop(path)
    try:
        yield shop
    finally:
        await shop.store.close()
