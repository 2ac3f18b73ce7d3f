"""An engine's allowance is kept where requests are let in: live first, and nobody waits inside.

Time is virtual: an hour takes seconds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Coroutine
from functools import partial
from typing import Any

import pytest

from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Asked, Candidate, Capability, Message, Prompt, Reply, Usage
from nightrate.engines.allowance import Allowance
from nightrate.engines.base import Capacity, Engine, Progress, ignore_progress
from nightrate.errors import EngineBusy
from nightrate.service.lane import Lane
from nightrate.service.places import Places
from tests.engines.test_allowance import HOUR, MINUTE, most_in_a_minute
from tests.faults.virtual_time import VirtualLoop

COST = 1000


class Far(Engine):
    """An engine behind an allowance; answers use less than they were estimated to."""

    name = "far"

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        *,
        used: int = COST,
        seconds: float = 1.0,
        places: Capacity | None = None,
    ) -> None:
        self.allowance = Allowance(requests, tokens)
        self.used = used
        self.seconds = seconds
        self.begun: list[float] = []
        self.texts: list[str] = []
        self.busy_until = 0.0
        self.inside = 0
        self.most_inside = 0
        self._capacity = places or Capacity(64)
        self._rng = random.Random(1)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.TEXT, Capability.EMBEDDINGS})

    @property
    def capacity(self) -> Capacity:
        return self._capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        del progress

    async def close(self) -> None:
        pass

    async def ready(self) -> None:
        pass

    def cost(self, asked: Asked) -> int:
        del asked
        return COST

    async def generate(self, prompt: Prompt) -> Reply:
        await self._work(prompt.messages[0].text)
        return Reply((Candidate("a"),), Usage(self.used, 0), "far")

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        reply = await self.generate(prompt)
        yield "a"
        yield reply

    async def embed(self, passage: Passage) -> Embedding:
        await self._work(passage.text)
        return Embedding.of((1.0,), self.used, "far")

    async def _work(self, text: str) -> None:
        assert self.allowance is not None
        now = asyncio.get_running_loop().time()
        if now < self.busy_until:
            self.allowance.unspend(COST)
            raise EngineBusy("not now", after_seconds=self.busy_until - now)
        self.begun.append(now)
        self.texts.append(text)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await passes(self.seconds * self._rng.uniform(0.5, 1.5))
            self.allowance.settle(COST, self.used)
        finally:
            self.inside -= 1


async def passes(seconds: float) -> None:
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()


def prompt(text: str) -> Prompt:
    return Prompt(messages=(Message("user", text),))


def play(main: Coroutine[Any, Any, None]) -> None:
    """Run something in virtual time; there are no sockets that would need any real one."""
    loop_factory = partial(VirtualLoop, grace_seconds=0.0)
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=loop_factory) as runner:
        patch.setattr("nightrate.clock.monotonic", runner.get_loop().time)
        runner.run(main)


async def work_an_hour(lane: Lane, workers: int = 64, seconds: float = HOUR) -> int:
    """Let as many workers as a runner has ask one request after the other; count the answers."""
    answers = 0
    started = 0

    async def work() -> None:
        nonlocal answers, started
        while True:
            started += 1
            answer = await lane.outcome(prompt(f"batch {started}"))
            assert isinstance(answer, Reply), "it delays, and never fails"
            answers += 1

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    await passes(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return answers


@pytest.mark.parametrize(("limit", "minutes"), [(3, 60), (60, 60), (1000, 5)])
def test_an_hour_of_a_batch_keeps_the_limit_of_requests_and_uses_it(
    limit: int, minutes: int
) -> None:
    async def hour() -> None:
        engine = Far(requests=limit)
        answers = await work_an_hour(Lane("far", engine), seconds=minutes * MINUTE)
        assert most_in_a_minute(engine.begun, [1] * len(engine.begun)) <= limit
        assert answers >= 0.95 * limit * minutes - 64
        assert len(set(engine.texts)) == len(engine.texts), "nothing is asked twice"

    play(hour())


@pytest.mark.parametrize("used", [COST, COST // 10])
def test_an_hour_of_a_batch_keeps_the_limit_of_tokens_and_uses_it(used: int) -> None:
    limit = 60_000
    minutes = 60 if used == COST else 10

    async def hour() -> None:
        engine = Far(tokens=limit, used=used)
        answers = await work_an_hour(Lane("far", engine), seconds=minutes * MINUTE)
        minute = most_in_a_minute(engine.begun, [used] * len(engine.begun))
        # What was reckoned too high may be used at once: that of all who are inside.
        assert minute <= limit + 64 * (COST - used)
        assert answers * used >= 0.95 * limit * minutes - 64 * used

    play(hour())


def test_live_requests_do_not_wait_behind_a_batch_that_has_spent_the_minute() -> None:
    async def hour() -> None:
        engine = Far(requests=60)
        lane = Lane("far", engine)
        batch = asyncio.create_task(work_an_hour(lane))
        await passes(10 * MINUTE)
        waits = []
        for number in range(30):
            began = asyncio.get_running_loop().time()
            answer = await lane.outcome(prompt(f"live {number}"), live=True)
            assert isinstance(answer, Reply)
            waits.append(engine.begun[engine.texts.index(f"live {number}")] - began)
            await passes(3)
        assert max(waits) <= 1.1, "until there is enough for one, and no longer"
        pieces = [piece async for piece in lane.stream(prompt("live stream"), live=True)]
        assert pieces[0] == "a"
        await batch
        assert most_in_a_minute(engine.begun, [1] * len(engine.begun)) <= 60

    play(hour())


def test_several_live_requests_at_once_go_before_the_batch_in_their_order() -> None:
    async def hour() -> None:
        engine = Far(requests=30)
        lane = Lane("far", engine)
        batch = asyncio.create_task(work_an_hour(lane, seconds=10 * MINUTE))
        await passes(5 * MINUTE)
        before = len(engine.texts)
        live = [
            asyncio.create_task(lane.outcome(prompt(f"live {number}"), live=True))
            for number in range(8)
        ]
        await asyncio.gather(*live)
        assert engine.texts[before : before + 8] == [f"live {number}" for number in range(8)]
        await batch

    play(hour())


def test_places_for_live_requests_alone_keep_the_allowance_too() -> None:
    async def hour() -> None:
        engine = Far(requests=30, places=Capacity(8, live=2))
        lane = Lane("far", engine)
        batch = asyncio.create_task(work_an_hour(lane, workers=8, seconds=10 * MINUTE))
        await passes(5 * MINUTE)
        before = len(engine.texts)
        await asyncio.gather(*(lane.outcome(prompt(f"l{n}"), live=True) for n in range(6)))
        assert engine.texts[before : before + 6] == [f"l{n}" for n in range(6)]
        await batch
        assert most_in_a_minute(engine.begun, [1] * len(engine.begun)) <= 30

    play(hour())


def test_nobody_waits_inside_and_nobody_looks_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    look_again = Places._look_again

    def counted(self: Places) -> None:
        nonlocal looks
        looks += 1
        look_again(self)

    monkeypatch.setattr(Places, "_look_again", counted)

    async def hour() -> None:
        engine = Far(requests=6, seconds=0.1)
        answers = await work_an_hour(Lane("far", engine))
        assert engine.most_inside == 1
        # Once a second, as whenever somebody waits, and once for each request.
        assert looks <= HOUR + 2 * answers + 64

    play(hour())


def test_cancelling_who_waits_spends_nothing() -> None:
    async def hour() -> None:
        engine = Far(requests=2)
        lane = Lane("far", engine)
        await lane.outcome(prompt("first"))
        waiting = [asyncio.create_task(lane.outcome(prompt(str(n)))) for n in range(5)]
        await passes(1)
        for task in waiting[:4]:
            task.cancel()
        await asyncio.wait(waiting)
        assert engine.texts == ["first", "4"]
        assert engine.begun[1] - engine.begun[0] <= MINUTE / 2 * 1.05
        assert lane.places.requests == 0

    play(hour())


def test_one_who_is_let_in_and_cancelled_in_the_same_moment_spends_nothing() -> None:
    async def moment() -> None:
        allowance = Allowance(None, 100_000)
        places = Places(lambda: Capacity(1), allowance)
        await places.take(3000)
        taking = asyncio.create_task(places.take(1000))
        await asyncio.sleep(0)
        places.give(3000)
        assert allowance.wait_seconds(1000), "it was let in, and has not run yet"
        taking.cancel()
        await asyncio.wait([taking])
        assert taking.cancelled()
        assert not allowance.wait_seconds(1000)
        assert places.requests == places.tokens == 0

    play(moment())


def test_an_endpoint_that_is_asked_nothing_for_a_while_takes_nothing_off_the_allowance() -> None:
    async def hour() -> None:
        engine = Far(requests=2, seconds=0.1)
        engine.busy_until = 30.0
        lane = Lane("far", engine)
        await asyncio.gather(*(lane.outcome(prompt(str(n))) for n in range(3)))
        assert len(engine.begun) == 3
        assert engine.begun[0] >= 30.0
        assert engine.begun[2] - engine.begun[0] <= MINUTE * 1.05

    play(hour())


def test_a_passage_and_one_that_must_be_alone_keep_the_allowance_too() -> None:
    async def hour() -> None:
        engine = Far(requests=2)
        lane = Lane("far", engine)
        assert isinstance(await lane.outcome(Passage(text="a")), Embedding)
        assert not lane.places.try_take(COST)
        began = asyncio.get_running_loop().time()
        await lane.places.take(COST, alone=True)
        assert asyncio.get_running_loop().time() - began >= 27
        lane.places.give(COST, alone=True)

    play(hour())
