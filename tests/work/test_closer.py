"""What a batch finished before it was cancelled is handed out; the rest is told why it was not."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from nightrate import clock
from nightrate.domain.batch import Batch, BatchForm, PartialResults
from nightrate.domain.shard import Claim, Tally
from nightrate.domain.states import BatchState
from nightrate.store.blobs import Reader
from nightrate.work.closer import Closer
from nightrate.work.open_shard import open_shard
from nightrate.work.planner import Planner
from nightrate.work.upkeep import Upkeep
from tests.tallies import timeless
from tests.work.site import ScriptedEngine, Waits, fail_once, keys, until, working
from tests.work.workshop import TENANT, Workshop, answer, inline, numbered


class Desk:
    """A closer, and whom it told."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.planner = Planner(shop.store, shop.blobs, inline, lambda: None)
        self.shown: list[str] = []
        self.closer = Closer(
            *(shop.store, shop.blobs, self.planner),
            owner="closer",
            shown=lambda batch: self.shown.append(batch.batch_id),
        )

    async def cancel(self, batch_id: str = "b1") -> Batch:
        now = clock.now()
        batch = await self.shop.store.cancel_batch(TENANT, batch_id, now, partial_results=True)
        assert batch is not None
        return batch

    async def close(self) -> int:
        """Let it do everything there is; give the number of turns it took."""
        turns = 0
        while await self.closer.turn():
            turns += 1
        return turns

    async def lines(self, batch_id: str = "b1") -> list[Any]:
        return [msgspec.json.decode(line) for line in await self.shop.output(batch_id)]


@pytest.fixture
def desk(shop: Workshop) -> Desk:
    return Desk(shop)


async def test_a_cancelled_batch_keeps_its_answers_and_tells_of_the_rest(
    desk: Desk, shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(40))  # shards of 16 and 24
    held = {f"say {number}" for number in (3, 20, 21, 39)}
    engine.hold(*held)
    async with working(shop, engine) as site:
        await until(lambda: engine.inside == held)
        await site.runner.drop(await desk.cancel())
        await until(lambda: not engine.inside)
        assert site.lane.places.requests == 0
        await desk.close()
    assert await shop.keys() == keys(40)
    lines = await desk.lines()
    unfinished = [index for index, line in enumerate(lines) if "error" in line]
    assert unfinished == [3, 20, 21, 39]
    assert lines[3] == {
        "error": {
            "code": 1,
            "message": "The batch was cancelled before this request was finished.",
            "status": "CANCELLED",
        },
        "key": "3",
    }
    assert lines[4]["response"]["responseId"] == "b1-4"
    batch = await shop.batch()
    assert batch.state is BatchState.CANCELLED
    assert batch.partial is PartialResults.SHOWN
    assert timeless(batch.tally) == Tally(36, 4, 72, 108, 36)
    assert desk.shown == ["b1"]
    assert engine.asked.total() == 40


async def test_an_expired_batch_is_closed_alike(
    desk: Desk, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(2))
    end = clock.later(clock.now(), 3600)
    monkeypatch.setattr("nightrate.clock.now", lambda: end)
    stopped: list[str] = []

    async def stop(batch: Batch) -> None:
        stopped.append(batch.batch_id)

    await Upkeep(shop.store, shop.blobs, stopped=stop).turn()
    assert stopped == ["b1"]
    await desk.close()
    assert [line["error"]["code"] for line in await desk.lines()] == [4, 4]
    assert (await shop.batch()).state is BatchState.EXPIRED


@pytest.mark.parametrize("form", BatchForm)
async def test_a_batch_that_was_never_planned_has_a_line_for_each_request(
    desk: Desk, shop: Workshop, form: BatchForm
) -> None:
    request: dict[str, object] = {"contents": [{"parts": [{"text": "x"}]}]}
    lines = [
        msgspec.json.encode({"request": request, "metadata": {"key": str(number)}}) + b"\n"
        for number in range(20)
    ]
    await shop.submit([*lines, b"rubbish\n"], form=form)
    await desk.cancel()
    assert await desk.close() == 3  # the plan, and two shards
    shown = await desk.lines()
    assert [line.get("metadata") for line in shown] == [{"key": key} for key in keys(20)] + [None]
    assert {line["error"]["code"] for line in shown} == {1}
    batch = await shop.batch()
    assert (batch.request_count, timeless(batch.tally)) == (21, Tally(0, 21))


async def test_nothing_is_planned_twice_at_once(desk: Desk, shop: Workshop) -> None:
    await shop.submit(numbered(2))
    batch = await desk.cancel()
    desk.planner._planning.add("b1")
    assert await desk.close() == 0
    desk.planner._planning.clear()
    assert await desk.planner.plan_ended(batch)
    assert await desk.close() == 1


async def test_a_plan_is_not_written_anew_while_it_is_recorded(
    desk: Desk, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await shop.submit(numbered(2))
    record = shop.store.open_batch
    planned: list[bool] = []

    async def cancelled_before(*plan: Any) -> bool:
        monkeypatch.undo()
        planned.append(await desk.planner.plan_ended(await desk.cancel()))
        return await record(*plan)

    monkeypatch.setattr(shop.store, "open_batch", cancelled_before)
    await desk.planner._plan(batch)
    assert planned == [False]
    assert await desk.close() == 1
    assert [line["key"] for line in await desk.lines()] == keys(2)


async def test_an_input_without_requests_has_no_results(desk: Desk, shop: Workshop) -> None:
    await shop.submit([b"\n \n"])
    await desk.cancel()
    await desk.close()
    batch = await shop.batch()
    assert (batch.request_count, batch.partial) == (0, None)


async def test_an_input_that_is_gone_leaves_the_batch_without_results(
    desk: Desk, shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    batch = await shop.plan(numbered(2))
    await desk.cancel()
    shop.blobs.path(batch.input_blob).unlink()
    await desk.close()
    assert (await shop.batch()).partial is None
    assert "stay incomplete" in caplog.text


async def test_answers_that_were_synced_count_though_their_owner_died(
    desk: Desk, shop: Workshop
) -> None:
    batch = await shop.plan(numbered(3))
    shard = await open_shard(await shop.claim(), batch, shop.store, shop.blobs)
    shard.journal.add(1, answer('{"key":"1"}', thought=1, nanoseconds=700))
    await shard.journal.flush()
    await desk.cancel()
    await desk.close()
    shard.journal.add(2, answer('{"key":"too late"}'))
    await shard.journal.flush()
    await shard.close(shop.blobs, sealed=False)
    assert (await shop.output())[1] == b'{"key":"1"}'
    assert await shop.keys() == keys(3)
    assert (await shop.batch()).tally == Tally(1, 2, 3, 2, 1, 1, 700)


async def test_closing_goes_on_where_a_dead_process_left_it(desk: Desk, shop: Workshop) -> None:
    await shop.plan(numbered(40))
    batch = await desk.cancel()
    now = clock.now()
    await shop.store.claim_unfinished(batch, "dead", now, clock.later(now, 60))
    assert await desk.close() == 1  # the other shard
    assert (await shop.batch()).partial is PartialResults.DUE
    await shop.store.release_all()
    assert await desk.close() == 1
    assert await shop.keys() == keys(40)


async def test_a_giant_does_not_delay_a_small_one(desk: Desk, shop: Workshop) -> None:
    await shop.plan(numbered(1_100))
    await shop.plan(numbered(1), "b2")
    await desk.cancel()
    await desk.cancel("b2")
    await desk.closer.turn()
    assert desk.shown == ["b2"]


async def test_a_batch_that_is_deleted_while_it_is_closed_is_let_go(
    desk: Desk, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(2))
    await desk.cancel()
    read = Reader.read

    async def deleting(reader: Reader, offset: int, length: int) -> bytes:
        await shop.store.delete_batch(TENANT, "b1", clock.now())
        return await read(reader, offset, length)

    monkeypatch.setattr(Reader, "read", deleting)
    await desk.close()
    assert desk.shown == []
    await Upkeep(shop.store, shop.blobs).turn()
    assert shop.files() == []


async def test_a_disk_that_refuses_costs_another_try(
    desk: Desk, shop: Workshop, monkeypatch: pytest.MonkeyPatch, waits: Waits
) -> None:
    del waits
    await shop.plan(numbered(2))
    await desk.cancel()
    fail_once(monkeypatch, shop.blobs, "create", OSError(28, "no space left"))
    task = asyncio.create_task(desk.closer.run())

    def look() -> list[str]:
        desk.closer.wake()
        return desk.shown

    await until(look)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await shop.output()) == 2


async def test_what_closing_leaves_behind_is_tidied(desk: Desk, shop: Workshop) -> None:
    await shop.submit(numbered(2))
    await desk.cancel()
    await desk.close()
    await Upkeep(shop.store, shop.blobs).turn()
    folder = f"batches/{TENANT}/b1"
    assert shop.files() == [f"{folder}/input", f"{folder}/segments/00000000.1"]


async def test_dropping_one_batch_leaves_the_others_at_work(
    desk: Desk, shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(2))
    await shop.plan(numbered(2, first=5), "b2")
    engine.hold("say 0", "say 5")
    async with working(shop, engine) as site:
        await until(lambda: engine.inside == {"say 0", "say 5"})
        await site.runner.drop(await desk.cancel())
        await until(lambda: engine.inside == {"say 5"})
        engine.let_go()
        await site.ended("b2")
        await shop.plan(numbered(3, first=7), "b3")  # the workers are all still there
        await site.ended("b3")
    assert (await shop.batch("b2")).tally.succeeded == 2
    assert (await shop.batch("b3")).tally.succeeded == 3


async def test_a_claim_that_is_lost_keeps_the_last_answers(
    desk: Desk, shop: Workshop, engine: ScriptedEngine, waits: Waits
) -> None:
    """Without being told, a runner finds out at its next beat, and what it had counts."""
    await shop.plan(numbered(4))
    engine.hold("say 3")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 3)
        await desk.cancel()
        await waits.tick(2.0)
        await until(lambda: not site.runner._feed.open)
        await desk.close()
        engine.let_go()
        await until(lambda: not engine.inside)
    assert [("response" in line) for line in await desk.lines()] == [True, True, True, False]


async def test_a_batch_is_cancelled_though_its_last_answers_cannot_be_kept(
    desk: Desk, shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(2))
    engine.hold("say 1")
    async with working(shop, engine) as site:
        await until(lambda: engine.answered.total() == 1)
        fail_once(monkeypatch, shop.blobs, "create", OSError(5, "the disk refuses"))
        await site.runner.drop(await desk.cancel())
        await until(lambda: not engine.inside)
        await desk.close()
    assert [line["error"]["code"] for line in await desk.lines()] == [1, 1]


async def test_a_shard_whose_seal_comes_too_late_keeps_its_answers(
    desk: Desk, shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is answered and about to be sealed when the batch is cancelled."""
    await shop.plan(numbered(3))
    seal = shop.store.seal
    cancelled: list[Batch] = []

    async def late(claim: Claim, *rest: Any) -> Batch | None:
        if not claim.closing:
            cancelled.append(await desk.cancel())
        return await seal(claim, *rest)

    monkeypatch.setattr(shop.store, "seal", late)
    async with working(shop, engine) as site:
        await until(lambda: cancelled)
        await site.runner.drop(cancelled[0])
        await desk.close()
    assert ["response" in line for line in await desk.lines()] == [True] * 3
    assert (await shop.batch()).tally.succeeded == 3


async def test_a_closer_that_is_stopped_hands_its_claim_back(
    desk: Desk, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(3))
    await desk.cancel()
    reading = asyncio.Event()

    async def read(_reader: Reader, _offset: int, _length: int) -> bytes:
        reading.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Reader, "read", read)
    closing = asyncio.create_task(desk.closer.run())
    await reading.wait()
    assert shop.store._all("SELECT state FROM shard") == [("running",)]
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert shop.store._all("SELECT state FROM shard") == [("pending",)]
