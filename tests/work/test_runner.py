"""The runner keeps the engine full, answers each request once, and survives failing engines."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from nightrate import limits, planning_limits
from nightrate.domain.generation import Prompt, Reply
from nightrate.domain.shard import Tally
from nightrate.domain.states import BatchState
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import Code, EngineDown, RequestFailed, StoreFault
from tests.tallies import timeless
from tests.work.site import ScriptedEngine, Waits, fail_once, keys, until, working
from tests.work.workshop import Workshop, line, numbered

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
    assert timeless(batch.tally) == Tally(60, 0, 120, 180, 60)
    first = msgspec.json.decode((await shop.output())[17])
    assert first["response"]["responseId"] == "b1-17"
    assert first["response"]["candidates"][0]["content"]["parts"][0]["text"] == "say 17"


@pytest.mark.parametrize("gains", [True, False])
async def test_requests_that_begin_alike_run_together_where_the_engine_gains_by_it(
    shop: Workshop, *, gains: bool
) -> None:
    books = ["War and peace. " * 60, "Dead souls. " * 80]
    await shop.plan([line(f"{books[number % 2]}{number}", str(number)) for number in range(40)])
    engine = ScriptedEngine(1)
    engine.reuses_beginnings = gains
    async with working(shop, engine) as site:
        await site.ended()
    numbers = [int(text.rsplit(". ", 1)[1]) for text in engine.answered]
    evens_first = [*range(0, 16, 2), *range(1, 16, 2), *range(16, 40, 2), *range(17, 40, 2)]
    assert numbers == (evens_first if gains else list(range(40)))
    assert await shop.keys() == keys(40), "the output is in the order of the input"


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
        await until(lambda: not site.runner._feed.open)
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


async def test_more_is_ready_the_more_is_taken_while_a_claim_takes_its_time(
    shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning_limits, "SHARD_REQUESTS_MAX", 50)
    await shop.plan(numbered(1_500))
    claim = shop.store.claim
    few: list[int] = []
    slow_claims = 4

    async with working(shop, engine) as site:
        feed = site.runner._feed

        async def claimed(*arguments: Any) -> Any:
            few.append(feed._few)
            found = await claim(*arguments)
            if len(few) <= slow_claims:
                await until(lambda: not feed.ready)  # all that is ready is taken meanwhile
            return found

        monkeypatch.setattr(shop.store, "claim", claimed)
        await site.ended()
    assert few[:4] == [4, 4, 8, 16], "nothing was taken before the first claim"
    assert few[-1] <= 8, "what slow claims taught is forgotten"
    assert await shop.keys() == keys(1_500)


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


async def test_an_engine_on_demand_is_opened_for_work_that_it_serves(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    engine.on_demand = True
    await shop.plan(numbered(3), "b0", model="other")
    async with working(shop, engine) as site:
        for _ in range(50):
            site.runner.wake()
            await asyncio.sleep(0)
        assert engine.opened == 0
        await shop.plan(numbered(3))
        site.runner.wake()
        await site.ended()
        assert engine.opened == 1


async def test_a_store_that_cannot_be_asked_for_work_is_asked_again(
    shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.on_demand = True
    asked = 0
    claimable = shop.store.claimable

    async def fails_once(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise StoreFault("The disk is away.")
        return await claimable(*arguments)

    monkeypatch.setattr(shop.store, "claimable", fails_once)
    await shop.plan(numbered(3))
    async with working(shop, engine) as site:
        await site.ended()


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
        assert len(engine.inside) == len(site.runner._feed.open) == 2
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
        await until(lambda: not site.runner._feed.open and not engine.inside)
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
