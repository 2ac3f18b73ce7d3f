"""A shard in the hands of one owner: read on, recorded, taken over, sealed, let go."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from nightrate import limits
from nightrate.domain.shard import JournalPart
from nightrate.errors import ClaimLost, Damaged, StoreFault
from nightrate.work.open_shard import OpenShard, open_shard
from tests.work.workshop import Workshop, answer, line, numbered


async def opened(shop: Workshop, owner: str = "a") -> OpenShard:
    claim = await shop.claim(owner)
    return await open_shard(claim, await shop.batch(), shop.store, shop.blobs)


async def rows_of(shard: OpenShard) -> list[tuple[int, int]]:
    rows: list[tuple[int, int]] = []
    while not shard.exhausted:
        rows += [(index, row.number) for index, row in await shard.read()]
    return rows


async def test_requests_are_handed_out_in_order_with_their_line_numbers(shop: Workshop) -> None:
    await shop.plan([b"\n", *numbered(2), b"\r\n", *numbered(1)])
    shard = await opened(shop)
    assert await rows_of(shard) == [(0, 2), (1, 3), (2, 5)]
    assert shard.response_id(2) == "b1-2"
    await shard.close(shop.blobs, sealed=False)


async def test_a_line_longer_than_a_read_is_handed_out_whole(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan([*numbered(1), line("x" * 1000), *numbered(1)])
    monkeypatch.setattr(limits, "READ_BYTES", 64)
    shard = await opened(shop)
    assert await rows_of(shard) == [(0, 1), (1, 2), (2, 3)]
    await shard.close(shop.blobs, sealed=False)


async def test_shards_side_by_side_have_their_input_open_once(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens: list[str] = []
    open_ = shop.blobs.open

    async def counted(name: str) -> Any:
        opens.append(name)
        return await open_(name)

    monkeypatch.setattr(shop.blobs, "open", counted)
    batch = await shop.plan(numbered(20))  # shards of 16 and 4
    first = await opened(shop)
    second = await open_shard(await shop.claim(), batch, shop.store, shop.blobs, first)
    await first.close(shop.blobs, sealed=False)
    assert first.share_input() is None
    assert await first.read() == []
    assert len(await rows_of(second)) == 4
    third = second.share_input()
    assert third is not None
    await second.close(shop.blobs, sealed=False)
    await second.close(shop.blobs, sealed=False)  # twice is once
    assert await third.reader.read(0, 1) == b"{"
    await third.leave()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await third.reader.read(0, 1)
    assert opens == [batch.input_blob]


async def test_only_unanswered_requests_are_handed_out_again(shop: Workshop) -> None:
    await shop.plan(numbered(5))
    first = await opened(shop)
    for index in (0, 3):
        first.journal.add(index, answer(str(index)))
    await first.journal.flush()
    await shop.store.release([first.claim])
    second = await opened(shop, "b")
    assert [index for index, _ in await rows_of(second)] == [1, 2, 4]
    assert second.claim.parts == (
        JournalPart(1, first.journal.counted_bytes),
        JournalPart(2, 0),
    )
    assert not second.complete
    for shard in (first, second):
        await shard.close(shop.blobs, sealed=False)


async def test_a_lost_shard_hands_out_nothing(shop: Workshop) -> None:
    await shop.plan(numbered(2))
    shard = await opened(shop)
    shard.lost = True
    assert await shard.read() == []
    await shard.close(shop.blobs, sealed=False)


async def test_a_beat_tells_only_what_is_synced(shop: Workshop) -> None:
    await shop.plan(numbered(3))
    shard = await opened(shop)
    shard.journal.add(0, answer("zero"))
    assert shard.beat().tally.succeeded == 0
    await shard.journal.flush()
    shard.journal.add(1, answer("one"))
    beat = shard.beat()
    assert beat.tally.succeeded == 1
    assert beat.byte_length == shard.journal.counted_bytes
    await shard.close(shop.blobs, sealed=False)


async def test_a_beat_is_due_after_news_and_before_the_lease_ends(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: now)
    await shop.plan(numbered(3))
    shard = await opened(shop)
    now += limits.BEAT_SECONDS
    assert shard.due_beat() is None
    shard.journal.add(0, answer("zero"))
    assert shard.due_beat() is None  # not synced yet
    await shard.journal.flush()
    assert shard.due_beat() is not None
    assert shard.due_beat() is None
    now += limits.LEASE_SECONDS / 4
    assert shard.due_beat() is not None
    await shard.close(shop.blobs, sealed=False)


async def test_a_sealed_shard_leaves_no_journal_of_any_owner(shop: Workshop) -> None:
    await shop.plan(numbered(3))
    shards = []
    for turn in range(3):
        shard = await opened(shop, f"o{turn}")
        shard.journal.add(turn, answer(f"by {turn}"))
        await shard.journal.flush()
        shards.append(shard)
        if turn < 2:
            await shop.store.release([shard.claim])
    assert shards[-1].complete
    await shards[-1].seal(shop.store, shop.blobs)
    for shard in shards:
        await shard.close(shop.blobs, sealed=shard is shards[-1])
    assert not any("journal" in name for name in shop.files())
    assert await shop.output() == [b"by 0", b"by 1", b"by 2"]


async def test_journals_that_cannot_be_deleted_are_reported_only(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await shop.plan(numbered(1))
    shard = await opened(shop)
    shard.journal.add(0, answer("zero"))
    await shard.journal.flush()
    await shard.seal(shop.store, shop.blobs)

    def refuse(_path: Path, **_options: Any) -> None:
        raise OSError(errno.EIO, "the disk refuses")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        await shard.close(shop.blobs, sealed=True)
    assert "could not be deleted" in caplog.text
    assert await shop.output() == [b"zero"]


async def test_a_segment_that_lost_the_race_is_deleted(shop: Workshop) -> None:
    await shop.plan(numbered(1))
    shard = await opened(shop)
    shard.journal.add(0, answer("zero"))
    await shop.store.release_all()
    await shop.claim("b")
    with pytest.raises(ClaimLost):
        await shard.seal(shop.store, shop.blobs)
    assert not any("segments" in name for name in shop.files())
    await shard.close(shop.blobs, sealed=False)


async def test_a_segment_that_the_database_may_have_named_is_kept(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(1))
    shard = await opened(shop)
    shard.journal.add(0, answer("zero"))
    seal = shop.store.seal

    async def cut_off(*arguments: Any) -> None:
        await seal(*arguments)
        raise StoreFault("the connection was cut off: who knows")

    with monkeypatch.context() as patch:
        patch.setattr(shop.store, "seal", cut_off)
        with pytest.raises(StoreFault, match="who knows"):
            await shard.seal(shop.store, shop.blobs)
    await shard.close(shop.blobs, sealed=False)
    assert await shop.output() == [b"zero"]


async def test_a_missing_input_is_damage_and_leaves_nothing_open(shop: Workshop) -> None:
    batch = await shop.plan(numbered(1))
    await shop.blobs.delete(batch.input_blob)
    with pytest.raises(Damaged, match="input is missing"):
        await opened(shop)


async def test_a_take_over_that_fails_leaves_nothing_open(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(2))
    first = await opened(shop)
    first.journal.add(0, answer("zero"))
    await first.journal.flush()
    await first.close(shop.blobs, sealed=False)
    await shop.store.release_all()
    descriptors = open_descriptors()

    async def refuse(*_arguments: Any) -> None:
        raise StoreFault("the disk is full")

    monkeypatch.setattr(shop.store, "freeze", refuse)
    with pytest.raises(StoreFault, match="full"):
        await opened(shop, "b")
    assert open_descriptors() == descriptors


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
