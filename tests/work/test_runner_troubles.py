"""The runner loses nothing when it is stopped, when disks refuse, when claims are lost."""

from __future__ import annotations

import asyncio
import errno
import logging
import weakref
from typing import Any

import pytest

from nightrate import clock, limits
from nightrate.domain.states import BatchState
from nightrate.errors import Code, StoreFault
from nightrate.store.blobs import Appender, Reader
from nightrate.work.journal import Journal
from tests.work.site import ScriptedEngine, Waits, fail_once, keys, refuse_once, until, working
from tests.work.workshop import TENANT, Workshop, answer, numbered

# a slow disk ----------------------------------------------------------------------------------


async def test_behind_a_slow_disk_no_more_requests_are_begun(
    shop: Workshop, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    del waits
    monkeypatch.setattr(limits, "RUNNER_SLICE_SECONDS", 0.0)  # one request is begun in a round
    engine = ScriptedEngine(30)
    monkeypatch.setattr(limits, "JOURNAL_SYNC_BYTES", 1)
    monkeypatch.setattr(limits, "JOURNAL_HELD_BYTES_MAX", 1)
    append, moving = Appender.append, asyncio.Event()

    async def slowly(self: Appender, *pieces: bytes, sync: bool = False) -> None:
        await moving.wait()
        await append(self, *pieces, sync=sync)

    await shop.plan(numbered(30))
    monkeypatch.setattr(Appender, "append", slowly)
    async with working(shop, engine) as site:
        await until(engine.answered.total)
        for _ in range(100):
            await asyncio.sleep(0)
        begun = engine.asked.total()
        moving.set()
        await site.ended()
    assert begun < 10, "an answer came within three rounds"
    assert engine.answered.total() == 30


# large lines ----------------------------------------------------------------------------------


async def test_so_many_bytes_of_lines_are_asked_at_once_and_no_more(
    shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = numbered(12)
    monkeypatch.setattr(limits, "LINES_HELD_BYTES_MAX", len(lines[0]) + 1)
    monkeypatch.setattr(limits, "READ_BYTES", len(lines[0]) // 2)
    engine.hold(*(f"say {number}" for number in range(12)))
    await shop.plan(lines)
    async with working(shop, engine) as site:
        await until(lambda: len(engine.inside) == 2)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(engine.inside) == 2, "the second one reached the bound"
        engine.let_go()
        await site.ended()
    assert engine.most_inside == 2
    assert await shop.keys() == keys(12)


async def test_a_worker_that_waits_holds_nothing_of_its_last_request(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(5))
    async with working(shop, engine) as site:
        await until(lambda: site.runner._feed.open)
        shard = weakref.ref(site.runner._feed.open[0])
        await site.ended()
        await until(lambda: not site.runner._feed.open)
        await until(lambda: shard() is None)


# stopping and taking over ---------------------------------------------------------------------


async def test_a_stopped_runner_hands_back_and_the_next_one_repeats_nothing(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(30))
    engine.hold("say 3", "say 20")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 28)
        await site.runner.stop(0)
        assert (await shop.batch()).tally.succeeded == 28
        (claimable,) = await shop.store.claimable(clock.now(), 5)
        assert claimable.running_shards == 0
    engine.let_go()
    async with working(shop, engine, "two") as site:
        await site.ended()
    assert await shop.keys() == keys(30)
    assert {text for text, count in engine.asked.items() if count > 1} == {"say 3", "say 20"}


async def test_stopping_waits_for_running_requests_and_takes_no_new_ones(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(30))
    engine.hold(*(f"say {number}" for number in range(4)))
    async with working(shop, engine) as site:
        await until(lambda: len(engine.inside) == 4)
        stop = asyncio.create_task(site.runner.stop(60))
        await asyncio.sleep(0)
        engine.let_go()
        await stop
    assert engine.answered.total() == 4
    assert (await shop.batch()).tally.succeeded == 4


async def test_a_shard_that_was_answered_by_others_is_sealed_without_the_engine(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(5))
    journal = Journal(shop.blobs, await shop.claim("dead"))
    for number in range(5):
        journal.add(number, answer(f'{{"key":"{number}"}}'))
    await journal.flush()  # then its owner dies before the seal
    await journal.close()
    await shop.store.release_all()
    async with working(shop, engine) as site:
        await site.ended()
        await until(lambda: not site.runner._feed.open)
    assert not engine.asked
    assert await shop.keys() == keys(5)
    assert (await shop.batch()).tally.succeeded == 5
    assert not any("journal" in name for name in shop.files())


async def test_a_claim_that_is_being_made_while_stopping_is_handed_back(
    shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(1))
    claiming, go = asyncio.Event(), asyncio.Event()
    claim = shop.store.claim

    async def slow(*arguments: Any) -> Any:
        claiming.set()
        await go.wait()
        return await claim(*arguments)

    monkeypatch.setattr(shop.store, "claim", slow)
    async with working(shop, engine) as site:
        await claiming.wait()
        stop = asyncio.create_task(site.runner.stop(60))
        await asyncio.sleep(0)
        go.set()
        await stop
    assert shop.store._all("SELECT state, epoch FROM shard") == [("pending", 1)]


async def test_stopping_does_not_wait_for_an_engine_that_is_down(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(8))
    engine.hold("say 0")
    async with working(shop, engine) as site:
        await until(lambda: engine.inside == {"say 0"})
        engine.given_up = True
        engine.let_go()
        await until(lambda: not site.lane.opened.is_set())
        await until(lambda: not site.runner._busy)
        await site.runner.stop(10**6)


async def test_stopping_survives_a_store_that_refuses(
    shop: Workshop,
    engine: ScriptedEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await shop.plan(numbered(2))
    engine.hold("say 1")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 1)
        fail_once(monkeypatch, shop.store, "beat", StoreFault("the disk is full"))
        await site.runner.stop(0)
    assert "its lease will end" in caplog.text


async def test_a_shard_that_is_sealed_while_it_is_handed_back_keeps_its_segment(
    shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(2))
    engine.hold("say 1")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 1)
        flush = Journal.flush

        async def slow(journal: Journal) -> None:
            engine.let_go()
            await site.ended()
            await flush(journal)

        monkeypatch.setattr(Journal, "flush", slow)
        await site.runner.stop(0)
    assert await shop.keys() == keys(2)


# disks that refuse ----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["journal", "segments"])
async def test_a_refused_sync_costs_a_new_claim_and_no_answer(
    shop: Workshop,
    engine: ScriptedEngine,
    waits: Waits,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    await shop.plan(numbered(12))
    engine.hold("say 11")
    refused = refuse_once(monkeypatch, lambda path: path.parent.name == what)
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 11)
        await waits.tick(limits.BEAT_SECONDS)
        engine.let_go()
        await site.ended()
    assert len(refused) == 1
    assert limits.DISK_PAUSE_SECONDS in waits.slept
    assert await shop.keys() == keys(12)
    ((epoch, blob),) = shop.store._all("SELECT epoch, segment_blob FROM shard")
    assert epoch >= 2
    assert [name for name in shop.files() if "segments" in name] == [blob]
    assert (await shop.batch()).tally.succeeded == 12


async def test_requests_of_an_abandoned_shard_leave_the_engine_for_their_next_claim(
    shop: Workshop, engine: ScriptedEngine, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(6))
    held = [f"say {number}" for number in range(1, 5)]
    engine.hold(*held)  # as many as the engine takes at once
    refuse_once(monkeypatch, lambda path: path.parent.name == "journal")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 1 and len(engine.inside) == 4)
        await waits.tick()
        await until(lambda: all(engine.asked[text] == 2 for text in held))
        engine.let_go()
        await site.ended()
    assert await shop.keys() == keys(6)


async def test_what_a_refused_sync_left_is_not_counted_by_the_next_owner(
    shop: Workshop, engine: ScriptedEngine, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(6))
    engine.hold("say 5")
    refuse_once(monkeypatch, lambda path: path.parent.name == "journal")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 5)
        await waits.tick()
        await until(lambda: engine.answered.total() == 10)  # all five run again
        assert shop.store._all("SELECT journal FROM shard") == [("2:0",)]
        engine.let_go()
        await site.ended()
    assert await shop.keys() == keys(6)


async def test_a_journal_that_fails_beside_a_seal_does_not_take_the_segment_away(
    shop: Workshop, engine: ScriptedEngine, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(2))
    engine.hold("say 1")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 1)

        async def failing(_journal: Journal) -> None:
            engine.let_go()
            await until(lambda: site.runner._feed.open[0].sealing)
            raise OSError(errno.EIO, "the disk refuses")

        monkeypatch.setattr(Journal, "flush", failing)
        await waits.tick()
        await until(lambda: not site.runner._feed.open)
    assert await shop.keys() == keys(2)


async def test_a_seal_that_the_database_refuses_is_tried_again_by_the_next_owner(
    shop: Workshop, engine: ScriptedEngine, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(4))
    fail_once(monkeypatch, shop.store, "seal", StoreFault("the disk is full"))
    async with working(shop, engine) as site:
        await site.ended()
    assert limits.DISK_PAUSE_SECONDS in waits.slept
    assert await shop.keys() == keys(4)
    # Whether the first segment was named is known only to the database, so it was not deleted.
    assert sum("segments" in name for name in shop.files()) == 2


@pytest.mark.parametrize("verb", ["claimable", "claim", "get_batch"])
async def test_a_store_that_refuses_once_only_delays(
    shop: Workshop,
    engine: ScriptedEngine,
    waits: Waits,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    await shop.plan(numbered(3))
    calls = fail_once(monkeypatch, shop.store, verb, StoreFault("the disk is full"))
    async with working(shop, engine):
        await until(lambda: len(calls) > 1 and engine.answered.total() == 3)
    assert limits.DISK_PAUSE_SECONDS in waits.slept


async def test_an_input_that_cannot_be_read_once_is_read_again(
    shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(3))
    real = Reader.read
    failures = [OSError(errno.EIO, "the disk refuses")]

    async def read(reader: Reader, offset: int, length: int) -> bytes:
        if failures:
            raise failures.pop()
        return await real(reader, offset, length)

    monkeypatch.setattr(Reader, "read", read)
    async with working(shop, engine) as site:
        await site.ended()
    assert await shop.keys() == keys(3)


async def test_a_shard_that_cannot_be_opened_is_handed_back(
    shop: Workshop, engine: ScriptedEngine, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(3))
    fail_once(monkeypatch, shop.blobs, "open", OSError(errno.EMFILE, "too many open files"))
    async with working(shop, engine) as site:
        await site.ended()
    assert limits.DISK_PAUSE_SECONDS in waits.slept
    assert await shop.keys() == keys(3)
    assert shop.store._all("SELECT epoch FROM shard") == [(2,)]


# inputs that are gone -------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "shorter", "line lost", "line more"])
async def test_a_batch_whose_input_is_not_what_was_planned_fails_and_others_go_on(
    shop: Workshop, engine: ScriptedEngine, damage: str
) -> None:
    await shop.plan(numbered(5), "b1")
    await shop.plan(numbered(5, first=10), "b2")
    path = shop.blobs.path(f"batches/{TENANT}/b1/input")
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "shorter":
        path.write_bytes(data[:-5])
    elif damage == "line lost":
        path.write_bytes(data.replace(b"}\n", b"} ", 1))
    else:
        path.write_bytes(data.replace(b'":', b'"\n', 1))
    async with working(shop, engine) as site:
        await site.ended("b1")
        await site.ended("b2")
    failed = await shop.batch("b1")
    assert failed.state is BatchState.FAILED
    assert failed.failure is not None
    assert failed.failure.code is Code.NOT_FOUND
    assert "cannot be read any more" in failed.failure.message
    assert (await shop.batch("b2")).state is BatchState.SUCCEEDED


# claims that are lost -------------------------------------------------------------------------


async def test_an_expired_batch_is_dropped_at_the_next_beat(
    shop: Workshop, engine: ScriptedEngine, waits: Waits
) -> None:
    await shop.plan(numbered(6))
    engine.hold("say 5")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 5)
        ended = await shop.store.expire_batches(clock.later(clock.now(), 10**6))
        assert [batch.batch_id for batch in ended] == ["b1"]
        await waits.tick(limits.BEAT_SECONDS)
        await until(lambda: not site.runner._feed.open)
        engine.let_go()
        await until(lambda: not engine.inside)
        await shop.plan(numbered(2, first=50), "b2")
        await site.ended("b2")
    assert (await shop.batch()).tally.succeeded == 0
    assert await shop.output() == []


async def test_a_shard_that_another_took_over_is_dropped_at_its_seal(
    shop: Workshop, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    await shop.plan(numbered(3))
    engine.hold("say 2")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 2)
        await shop.store.release_all()
        other = await shop.claim("other")
        engine.let_go()
        with caplog.at_level(logging.INFO):
            await until(lambda: not site.runner._feed.open)
    assert "is another's" in caplog.text
    assert not any("segments" in name for name in shop.files())
    assert await shop.store.claim(TENANT, "b1", "x", 0, 1) is None
    assert other.epoch == 2
