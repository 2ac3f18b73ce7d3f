"""The runner keeps the engine full, answers each request once, and survives what goes wrong."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate import clock, limits
from nightrate.domain.generation import Prompt, Reply
from nightrate.domain.shard import Tally
from nightrate.domain.states import BatchState
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import Code, EngineDown, RequestFailed, StoreFault
from nightrate.store.blobs import Reader
from nightrate.work.journal import Journal
from tests.work.site import ScriptedEngine, Waits, until, working
from tests.work.workshop import TENANT, Workshop, answer, line, numbered


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    return Waits(monkeypatch)


@pytest.fixture
def engine(waits: Waits) -> ScriptedEngine:
    del waits  # no test of this file waits for the clock
    return ScriptedEngine()


def keys(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def refuse_once(patch: pytest.MonkeyPatch, where: Callable[[Path], bool]) -> list[Path]:
    """Let the disk refuse the first sync of a file that fits."""
    refused: list[Path] = []
    sync = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not refused and where(path):
            refused.append(path)
            raise OSError(errno.EIO, "the disk refuses")
        sync(descriptor)

    patch.setattr(os, "fdatasync", fdatasync)
    return refused


def fail_once(patch: pytest.MonkeyPatch, holder: object, name: str, error: Exception) -> list[int]:
    """Let a call fail the first time."""
    calls: list[int] = []
    real: Any = getattr(holder, name)

    async def call(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return await real(*arguments)

    patch.setattr(holder, name, call)
    return calls


# the straight path ----------------------------------------------------------------------------


async def test_every_request_is_answered_once_in_input_order(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(60))
    async with working(shop, engine) as site:
        await site.ended()
    assert await shop.keys() == keys(60)
    assert set(engine.asked.values()) == {1}
    batch = await shop.batch()
    assert batch.state is BatchState.SUCCEEDED
    assert batch.tally == Tally(60, 0, 120, 180, 60)
    first = msgspec.json.decode((await shop.output())[17])
    assert first["response"]["responseId"] == "b1-17"
    assert first["response"]["candidates"][0]["content"]["parts"][0]["text"] == "say 17"


async def test_a_finished_shard_leaves_only_its_segment(
    shop: Workshop, engine: ScriptedEngine, waits: Waits
) -> None:
    await shop.plan(numbered(20))
    engine.hold("say 3", "say 19")
    async with working(shop, engine) as site:
        await until(lambda: len(engine.inside) == 2 and engine.answered.total() == 18)
        await waits.tick()
        assert any("journal" in name for name in shop.files())
        engine.let_go()
        await site.ended()
        await until(lambda: not site.runner._open)
    assert not any("journal" in name for name in shop.files())
    assert sum("segments" in name for name in shop.files()) == 2


@pytest.mark.parametrize("capacity", [1, 3, 7])
async def test_the_engine_is_full_and_never_over_its_capacity(
    shop: Workshop, waits: Waits, capacity: int
) -> None:
    del waits
    engine = ScriptedEngine(capacity)
    await shop.plan(numbered(50))
    async with working(shop, engine) as site:
        await site.ended()
    assert engine.most_inside == capacity


async def test_the_next_shard_begins_while_the_last_one_drains(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(40))  # shards of 16 and 24
    engine.hold("say 15")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 39)
        assert engine.inside == {"say 15"}
        assert await shop.keys() == []  # not even the second shard: there is a gap before it
        engine.let_go()
        await site.ended()
    assert await shop.keys() == keys(40)


async def test_batches_of_models_that_the_lane_does_not_serve_are_left_alone(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(2), "b1", model="other")
    await shop.plan(numbered(2), "b2")
    async with working(shop, engine) as site:
        await site.ended("b2")
    assert (await shop.batch("b1")).state is BatchState.PLANNED


async def test_a_batch_that_arrives_later_wakes_the_runner(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    async with working(shop, engine) as site:
        await until(site.lane.opened.is_set)
        for _ in range(20):
            await asyncio.sleep(0)
        await shop.plan(numbered(3))
        site.runner.wake()
        await until(lambda: engine.answered.total() == 3)


async def test_no_more_shards_are_held_than_the_bound(
    shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OPEN_SHARDS_MAX", 2)
    for name in ("b1", "b2", "b3"):
        await shop.plan([line(name)], name)
        engine.hold(name)
    async with working(shop, engine) as site:
        await until(lambda: len(engine.inside) == 2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(engine.inside) == len(site.runner._open) == 2
        engine.let_go()
        await until(lambda: engine.answered.total() == 3)


async def test_an_engine_that_never_waits_leaves_turns_to_others(
    shop: Workshop, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    del waits
    monkeypatch.setattr(limits, "RUNNER_SLICE_SECONDS", 0.0)
    await shop.plan(numbered(200))
    turns = 0
    async with working(shop, EchoEngine(EchoOptions(requests=4))) as site:
        while (await shop.batch()).ended_at is None:
            site.runner.wake()
            await asyncio.sleep(0)
            turns += 1
    assert turns >= 50  # 200 requests, 4 of them in a turn


# progress -------------------------------------------------------------------------------------


async def test_answers_are_synced_and_then_shown(
    shop: Workshop, engine: ScriptedEngine, waits: Waits
) -> None:
    await shop.plan(numbered(10))
    engine.hold("say 5")
    async with working(shop, engine):
        await until(lambda: engine.answered.total() == 9)
        assert (await shop.batch()).tally == Tally()
        await waits.tick(limits.BEAT_SECONDS / 2)
        assert (await shop.batch()).tally == Tally()  # synced, but no beat was due
        await waits.tick(limits.BEAT_SECONDS / 2)
        assert (await shop.batch()).tally.succeeded == 9


async def test_a_claim_without_progress_keeps_its_lease(
    shop: Workshop, engine: ScriptedEngine, waits: Waits
) -> None:
    await shop.plan(numbered(1))
    engine.hold("say 0")
    async with working(shop, engine):
        await until(lambda: engine.inside)
        before = shop.store._all("SELECT lease_until FROM shard")
        await waits.tick(limits.LEASE_SECONDS / 5)
        assert shop.store._all("SELECT lease_until FROM shard") == before
        await waits.tick(limits.LEASE_SECONDS / 5)
        assert shop.store._all("SELECT lease_until FROM shard") > before


async def test_many_gathered_bytes_are_synced_at_once(
    shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOURNAL_SYNC_BYTES", 500)
    await shop.plan(numbered(12))
    engine.hold("say 11")
    async with working(shop, engine):
        await until(lambda: engine.answered.total() == 11)
        (journal,) = [name for name in shop.files() if "journal" in name]
        assert shop.blobs.path(journal).stat().st_size > 500


async def test_progress_that_cannot_be_recorded_is_recorded_later(
    shop: Workshop,
    engine: ScriptedEngine,
    waits: Waits,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await shop.plan(numbered(3))
    engine.hold("say 2")
    fail_once(monkeypatch, shop.store, "beat", StoreFault("the disk is full"))
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 2)
        await waits.tick(limits.BEAT_SECONDS)
        assert "progress could not be recorded" in caplog.text
        await waits.tick(limits.LEASE_SECONDS / 4)
        assert (await shop.batch()).tally.succeeded == 2
        engine.let_go()
        await site.ended()


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
        await until(lambda: not site.runner._open)
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


# engines that fail ----------------------------------------------------------------------------


async def test_an_engine_that_gave_up_loses_its_claims_and_gets_them_back(
    shop: Workshop, engine: ScriptedEngine, waits: Waits
) -> None:
    await shop.plan(numbered(30))
    engine.hold("say 7", "say 20")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 28)
        engine.given_up = True
        engine.let_go()
        await until(lambda: not site.lane.opened.is_set())
        await until(lambda: not site.runner._open and not engine.inside)
        assert (await shop.batch()).tally.succeeded == 28
        assert await shop.store.release_all() == 0
        engine.given_up = False
        await site.ended()
    assert limits.ENGINE_REOPEN_SECONDS in waits.slept
    assert await shop.keys() == keys(30)
    assert {text: count for text, count in engine.answered.items() if count > 1} == {}
    assert (await shop.batch()).tally.succeeded == 30


async def test_a_request_that_kills_the_engine_hurts_only_itself(
    shop: Workshop, waits: Waits
) -> None:
    del waits
    answered = []

    class Counting(EchoEngine):
        async def generate(self, prompt: Prompt) -> Reply:
            reply = await super().generate(prompt)
            answered.append(prompt.messages[-1].text)
            return reply

    lines = numbered(20)
    lines[7] = line("[[down]]", "7")
    await shop.plan(lines)
    async with working(shop, Counting(EchoOptions(requests=4))) as site:
        await site.ended()
    assert await shop.keys() == keys(20)
    rows = [msgspec.json.decode(row) for row in await shop.output()]
    assert rows[7]["error"]["code"] == Code.INTERNAL
    assert f"{limits.ENGINE_DEATHS_MAX} times" in rows[7]["error"]["message"]
    assert all("response" in row for number, row in enumerate(rows) if number != 7)
    assert sorted(answered) == sorted(f"say {number}" for number in range(20) if number != 7)
    assert (await shop.batch()).tally.failed == 1


async def test_neighbours_of_a_dying_engine_are_answered(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(8))
    for number in range(4):
        engine.faults[f"say {number}"] = [EngineDown("It died.", in_flight=True)] * 2
    async with working(shop, engine) as site:
        await site.ended()
    assert await shop.keys() == keys(8)
    assert (await shop.batch()).tally.succeeded == 8


async def test_failures_that_may_pass_are_tried_again_with_growing_waits(
    shop: Workshop, engine: ScriptedEngine, waits: Waits
) -> None:
    await shop.plan(numbered(2))
    busy = RequestFailed("Busy.", code=Code.UNAVAILABLE, retriable=True)
    engine.faults["say 1"] = [busy] * 3
    async with working(shop, engine) as site:
        await site.ended()
    assert engine.asked == {"say 0": 1, "say 1": 4}
    first = limits.RETRY_FIRST_SECONDS
    assert waits.slept == [first, 2 * first, 4 * first]
    assert (await shop.batch()).tally.succeeded == 2


async def test_a_request_that_fails_every_time_becomes_an_error_line(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(2))
    busy = RequestFailed("Busy.", code=Code.UNAVAILABLE, retriable=True)
    engine.faults["say 1"] = [busy] * limits.ATTEMPTS_MAX
    async with working(shop, engine) as site:
        await site.ended()
    assert engine.asked["say 1"] == limits.ATTEMPTS_MAX
    error = msgspec.json.decode((await shop.output())[1])["error"]
    assert (error["code"], error["message"]) == (Code.UNAVAILABLE, "Busy.")


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
        assert shop.store._all("SELECT journal FROM shard") == [("1:0 2:0",)]
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
            await until(lambda: site.runner._open[0].sealing)
            raise OSError(errno.EIO, "the disk refuses")

        monkeypatch.setattr(Journal, "flush", failing)
        await waits.tick()
        await until(lambda: not site.runner._open)
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
        await until(lambda: not site.runner._open)
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
            await until(lambda: not site.runner._open)
    assert "is another's" in caplog.text
    assert not any("segments" in name for name in shop.files())
    assert await shop.store.claim(TENANT, "b1", "x", 0, 1) is None
    assert other.epoch == 2
