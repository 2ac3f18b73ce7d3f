"""A result file is read while it grows, and ends when it will grow no more."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from nightrate import clock, limits
from nightrate.domain.batch import Batch, BatchForm
from nightrate.domain.shard import Reopening
from nightrate.errors import Damaged, NotReady
from nightrate.service.followers import Followers
from nightrate.service.repairs import Repairs
from tests.service.home import TENANT
from tests.service.test_results import Bench

FILE = "batch-b1"


class Reading:
    """A reader, and what it has read."""

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        self.read = b""
        self._more = asyncio.Condition()
        self.task = asyncio.create_task(self._run(lines))

    async def _run(self, lines: AsyncGenerator[bytes, None]) -> bytes:
        async with aclosing(lines):
            async for piece in lines:
                async with self._more:
                    self.read += piece
                    self._more.notify_all()
        return self.read

    async def has(self, content: bytes) -> None:
        async with self._more:
            await self._more.wait_for(lambda: self.read == content)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.store.close()


@pytest.fixture
def followers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Followers:
    monkeypatch.setattr(limits, "FOLLOW_POLL_SECONDS", 3600)
    return Followers(bench.store, bench.results)


async def found(bench: Bench) -> Batch:
    batch = await bench.store.get_batch(TENANT, "b1")
    assert batch is not None
    return batch


async def test_lines_come_as_shards_are_sealed_and_end_with_the_batch(
    bench: Bench, followers: Followers
) -> None:
    batch = await bench.plan(3)
    await bench.seal(b"a\n")
    readers = [Reading(followers.lines(batch)) for _ in range(2)]
    for reader in readers:
        await reader.has(b"a\n")
    await bench.seal(b"b\n")
    followers.tell(batch)
    for reader in readers:
        await reader.has(b"a\nb\n")
    await bench.seal(b"c\n")
    followers.tell(batch)
    followers.tell(batch, over=True)  # both at once: neither is missed
    for reader in readers:
        assert await reader.task == b"a\nb\nc\n"


async def test_a_seal_while_one_reads_is_not_missed(bench: Bench, followers: Followers) -> None:
    batch = await bench.plan(2)
    await bench.seal(b"a\n")
    reading = followers.lines(batch)
    async with aclosing(reading):
        assert await anext(reading) == b"a\n"
        await bench.seal(b"b\n")
        followers.tell(batch, over=True)
        assert await anext(reading) == b"b\n"
        with pytest.raises(StopAsyncIteration):
            await anext(reading)


@pytest.mark.parametrize("partial", [True, False])
async def test_a_cancelled_batch_ends_the_reading(
    bench: Bench, followers: Followers, *, partial: bool
) -> None:
    batch = await bench.plan(2)
    await bench.seal(b"a\n")
    reader = Reading(followers.lines(batch))
    await reader.has(b"a\n")
    await bench.store.cancel_batch(TENANT, "b1", clock.now(), partial_results=partial)
    followers.tell(batch, over=True)
    if partial:  # a status line is still to come
        now = clock.now()
        claim = await bench.store.claim_unfinished(await found(bench), "me", now, now + 10**7)
        assert claim is not None
        assert await followers.growing(TENANT, FILE) is not None
        await bench.seal_claim(claim, b"status\n")
        followers.tell(batch)
        followers.tell(batch, over=True)
        assert await reader.task == b"a\nstatus\n"
    else:
        assert await reader.task == b"a\n"
    assert await followers.growing(TENANT, FILE) is None


async def test_a_deleted_batch_ends_the_reading(bench: Bench, followers: Followers) -> None:
    batch = await bench.plan(2)
    reader = Reading(followers.lines(batch))
    await bench.store.delete_batch(TENANT, "b1", clock.now())
    followers.tell(batch, over=True)
    assert await reader.task == b""


async def test_what_nobody_tells_is_found_by_looking(
    bench: Bench, followers: Followers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FOLLOW_POLL_SECONDS", 0.01)
    batch = await bench.plan(2)
    reader = Reading(followers.lines(batch))
    await bench.seal(b"a\n")
    await reader.has(b"a\n")
    await bench.seal(b"b\n")
    assert await reader.task == b"a\nb\n"


async def test_a_server_that_stops_breaks_readers_off(bench: Bench, followers: Followers) -> None:
    batch = await bench.plan(2)
    await bench.seal(b"a\n")
    reader = Reading(followers.lines(batch))
    await reader.has(b"a\n")
    followers.stop()
    with pytest.raises(NotReady, match="stopping"):
        await reader.task
    with pytest.raises(NotReady):
        await Reading(followers.lines(batch)).task


async def test_nothing_is_kept_for_readers_who_left(bench: Bench, followers: Followers) -> None:
    batch = await bench.plan(2)
    reader = Reading(followers.lines(batch))
    await asyncio.sleep(0)
    reader.task.cancel()
    await asyncio.wait({reader.task})
    del reader
    gc.collect()
    assert len(followers._news) == 0
    followers.tell(batch)


async def test_only_the_result_of_a_live_batch_over_a_file_grows(
    bench: Bench, followers: Followers
) -> None:
    for name in (FILE, "f1"):
        assert await followers.growing(TENANT, name) is None
    await bench.plan(1)
    assert await followers.growing(TENANT, FILE) is not None
    assert await followers.growing("other", FILE) is None
    await bench.seal(b"a\n")
    assert await followers.growing(TENANT, FILE) is None


async def test_inline_answers_are_no_file(bench: Bench, followers: Followers) -> None:
    await bench.plan(1, BatchForm.INLINE)
    assert await followers.growing(TENANT, FILE) is None


async def test_a_damaged_segment_is_waited_for(bench: Bench, followers: Followers) -> None:
    batch = await bench.plan(2)
    (blob,) = await bench.seal(b"a\n")
    bench.blobs.path(blob).write_bytes(b"x\n")
    reopened = asyncio.Event()
    bench.results._repairs = Repairs(bench.store, bench.blobs, reopened.set)
    reader = Reading(followers.lines(batch))
    await reopened.wait()
    await bench.seal(b"a\n", name="again")
    followers.tell(batch)
    await reader.has(b"a\n")
    await bench.seal(b"b\n")
    followers.tell(batch, over=True)
    assert await reader.task == b"a\nb\n"


async def test_results_that_have_ended_are_followed_while_they_are_repaired(
    bench: Bench, followers: Followers
) -> None:
    await bench.plan(2)
    _, blob = await bench.seal(b"a\n", b"b\n")
    assert await followers.growing(TENANT, FILE) is None
    bench.blobs.path(blob).write_bytes(b"x\n")
    with pytest.raises(NotReady):
        await bench.results.verify(await found(bench))
    growing = await followers.growing(TENANT, FILE)
    assert growing is not None
    reader = Reading(followers.lines(growing))
    await reader.has(b"a\n")
    await bench.seal(b"b\n", name="again")
    followers.tell(growing, over=True)
    assert await reader.task == b"a\nb\n"


async def test_a_gap_that_opens_at_the_end_is_no_end(bench: Bench, followers: Followers) -> None:
    batch = await bench.plan(2)
    await bench.seal(b"a\n")
    reader = Reading(followers.lines(batch))
    await reader.has(b"a\n")
    (blob,) = await bench.seal(b"b\n")
    bench.blobs.path(blob).write_bytes(b"x\n")
    outcome = await bench.store.reopen_shard(TENANT, "b1", 1, blob, clock.now())
    assert outcome is Reopening.AGAIN
    followers.tell(batch, over=True)
    await bench.seal(b"b\n", name="again")
    followers.tell(batch, over=True)
    assert await reader.task == b"a\nb\n"


async def test_damage_for_good_ends_the_reading(bench: Bench, followers: Followers) -> None:
    batch = await bench.plan(2)
    (blob,) = await bench.seal(b"a\n")
    bench.blobs.path(blob).write_bytes(b"x\n")
    bench.blobs.path(batch.input_blob).unlink()
    with pytest.raises(Damaged, match=f"{blob} is damaged.*is gone"):
        await Reading(followers.lines(batch)).task
