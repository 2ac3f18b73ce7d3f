"""Rows that wait for pages or a search leave the engine to others."""

from __future__ import annotations

import asyncio

import pytest

from nightrate import clock, tool_limits
from nightrate.domain.generation import Failure
from nightrate.domain.grounding import Source
from nightrate.domain.states import BatchState
from nightrate.errors import Code
from nightrate.service.grounding import Grounder
from nightrate.tools.search import Search
from tests.work.site import ScriptedEngine, Waits, until, working
from tests.work.test_steps import searched
from tests.work.workshop import TENANT, Workshop, numbered


class Slow(Search):
    """Finds nothing before it is let go; "fail" fails then."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.inside: set[str] = set()
        self.let_go = asyncio.Event()

    async def search(self, query: str, limit: int, *, live: bool) -> list[Source] | Failure:
        assert limit
        assert not live
        self.asked.append(query)
        self.inside.add(query)
        try:
            await self.let_go.wait()
        finally:
            self.inside.discard(query)
        if query == "fail":
            return Failure(Code.UNAVAILABLE, "No search was made.")
        return []


def slow_rows(count: int) -> list[bytes]:
    return [searched(f"slow {number}", f"slow {number}") for number in range(count)]


async def test_other_batches_are_answered_while_all_rows_of_one_wait_for_a_search(
    shop: Workshop, waits: Waits
) -> None:
    del waits
    search, engine = Slow(), ScriptedEngine(2)
    await shop.plan(slow_rows(10), "b1", priority=1)
    await shop.plan(numbered(30), "b2")
    async with working(shop, engine, grounder=Grounder(search)) as site:
        await until(lambda: len(search.inside) == 10)
        await site.ended("b2")
        assert len(search.inside) == 10, "all of them still wait"
        assert engine.asked.total() == 30
        search.let_go.set()
        await site.ended("b1")
        await until(lambda: len(site.runner._workers) == 2)
    assert engine.most_inside == 2, "the engine is never over its capacity"
    assert len(search.asked) == 10, "each was made once"
    assert [(await shop.batch(name)).tally.succeeded for name in ("b1", "b2")] == [10, 30]


async def test_so_many_rows_look_something_up_and_no_more(
    shop: Workshop, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_limits, "LOOKUPS_ASIDE_MAX", 3)
    search, engine = Slow(), ScriptedEngine(2)
    await shop.plan(slow_rows(10))
    async with working(shop, engine, grounder=Grounder(search)) as site:
        await until(lambda: len(search.inside) == 5)
        await waits.tick()
        assert len(search.asked) == 5, "three aside, and the two workers that are always there"
        search.let_go.set()
        await site.ended()
        await until(lambda: len(site.runner._workers) == 2)
    assert (await shop.batch()).tally.succeeded == 10


async def test_what_was_looked_up_does_not_gather_before_a_slow_engine(
    shop: Workshop, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_limits, "LOOKUPS_ASIDE_MAX", 3)
    search, engine = Slow(), ScriptedEngine(2)
    search.let_go.set()
    await shop.plan(slow_rows(20))
    engine.hold(*(f"slow {number}" for number in range(20)))
    async with working(shop, engine, grounder=Grounder(search)) as site:
        await until(lambda: len(engine.inside) == 2)
        await waits.tick()
        assert len(search.asked) <= 2 + 3
        engine.let_go()
        await site.ended()
        await until(lambda: len(site.runner._workers) == 2)
    assert (await shop.batch()).tally.succeeded == 20


async def test_whoever_stood_in_leaves_after_searches_that_fail(
    shop: Workshop, waits: Waits
) -> None:
    del waits
    search, engine = Slow(), ScriptedEngine(2)
    await shop.plan([searched("fail", str(number)) for number in range(8)])
    async with working(shop, engine, grounder=Grounder(search)) as site:
        await until(lambda: len(search.asked) == 8)
        assert len(site.runner._workers) > 8
        search.let_go.set()
        await site.ended()
        await until(lambda: len(site.runner._workers) == 2)
    assert (await shop.batch()).tally.failed == 8


async def test_a_batch_that_is_dropped_stops_what_it_looks_up(shop: Workshop, waits: Waits) -> None:
    del waits
    search, engine = Slow(), ScriptedEngine(2)
    await shop.plan(slow_rows(8))
    async with working(shop, engine, grounder=Grounder(search)) as site:
        await until(lambda: len(search.inside) == 8)
        batch = await shop.store.cancel_batch(TENANT, "b1", clock.now(), partial_results=True)
        assert batch is not None
        await site.runner.drop(batch)
        await until(lambda: not search.inside)
        await until(lambda: len(site.runner._workers) == 2)
        await shop.plan(numbered(10), "b2")
        await site.ended("b2")
    assert (await shop.batch("b2")).state is BatchState.SUCCEEDED
