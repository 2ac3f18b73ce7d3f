"""An engine that takes nobody costs no request of a batch, and a live one a bounded wait."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from nightrate import limits
from nightrate.domain.generation import Candidate, Failure, Message, Prompt, Reply, Usage
from nightrate.engines.base import Capacity, Engine, Progress, ignore_progress
from nightrate.errors import Code, EngineBusy, EngineDown, EngineFault, RequestFailed
from nightrate.service.lane import Lane

PROMPT = Prompt(messages=(Message("user", "hello"),))
REPLY = Reply((Candidate("yes"),), Usage(1, 1), "m")
BUSY = EngineBusy("Too many.", code=Code.RESOURCE_EXHAUSTED, after_seconds=4.0)
BROKEN = EngineBusy("It broke.", in_flight=True)


class Busy(Engine):
    """Fails as often as it is told, then answers."""

    name = "busy"
    capabilities = frozenset()
    capacity = Capacity(4)

    def __init__(self) -> None:
        self.faults: list[EngineFault] = []
        self.asked = 0
        self.back = asyncio.Event()

    async def open(self, progress: Progress = ignore_progress) -> None:
        del progress

    async def close(self) -> None:
        pass

    async def ready(self) -> None:
        await self.back.wait()

    async def generate(self, prompt: Prompt) -> Reply:
        del prompt
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)
        return REPLY

    async def count_tokens(self, prompt: Prompt) -> int:
        await self.generate(prompt)
        return 1


class Clock:
    """Time that goes on when somebody waits."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr("nightrate.clock.sleep", self.sleep)
        patch.setattr("nightrate.clock.monotonic", lambda: self.now)
        patch.setattr("nightrate.clock.jitter", lambda: 0.0)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def lane(clock: Clock) -> Lane:
    del clock
    return Lane("busy", Busy())


def engine_of(lane: Lane) -> Busy:
    assert isinstance(lane.engine, Busy)
    return lane.engine


async def test_a_request_of_a_batch_waits_for_ten_minutes_and_for_two_days(
    lane: Lane, clock: Clock
) -> None:
    engine_of(lane).faults = [BUSY] * (limits.BATCH_LIFETIME_SECONDS // 4)
    assert await lane.outcome(PROMPT) == REPLY
    assert clock.now == limits.BATCH_LIFETIME_SECONDS
    assert lane.places.requests == 0


async def test_without_a_word_of_the_engine_the_waits_double(lane: Lane, clock: Clock) -> None:
    engine_of(lane).faults = [EngineBusy("Too many.") for _ in range(4)]
    assert await lane.outcome(PROMPT) == REPLY
    assert clock.now == (0.5 + 1 + 2 + 4) / 2


async def test_being_refused_is_no_failed_try(lane: Lane) -> None:
    failed = RequestFailed("Try again.", retriable=True)
    counted: list[EngineFault] = [failed] * (limits.ATTEMPTS_MAX - 1)
    engine_of(lane).faults = [*[BUSY] * 50, *counted, *[BUSY] * 50, *[BROKEN] * 5]
    assert await lane.outcome(PROMPT) == REPLY


async def test_a_live_request_is_told_what_the_engine_says_while_there_is_time(
    lane: Lane, clock: Clock
) -> None:
    engine_of(lane).faults = [BUSY] * 100
    refused = Failure(Code.RESOURCE_EXHAUSTED, "Too many.")
    assert await lane.outcome(PROMPT, live=True) == refused
    assert 0 < clock.now <= limits.OPENING_PATIENCE_SECONDS
    began = clock.now
    async with aclosing(lane.stream(PROMPT, live=True)) as pieces:
        assert [piece async for piece in pieces] == [refused]
    assert await lane.count_tokens(PROMPT) == refused
    assert clock.now - began <= 2 * limits.OPENING_PATIENCE_SECONDS


async def test_a_live_request_that_would_wait_too_long_does_not_wait_at_all(
    lane: Lane, clock: Clock
) -> None:
    engine_of(lane).faults = [EngineBusy("Tomorrow.", after_seconds=86_400)]
    failure = Failure(Code.UNAVAILABLE, "Tomorrow.")
    assert await lane.outcome(PROMPT, live=True) == failure
    assert clock.now == 0


async def test_a_live_request_does_not_wait_for_an_engine_that_is_gone(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightrate.limits.OPENING_PATIENCE_SECONDS", 0.01)
    engine = engine_of(lane)
    engine.faults = [EngineDown("It is gone."), EngineDown("It is gone.")]
    gone = Failure(Code.UNAVAILABLE, "It is gone.")
    assert await lane.outcome(PROMPT, live=True) == gone
    patient = asyncio.create_task(lane.outcome(PROMPT))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not patient.done()
    engine.back.set()
    assert await patient == REPLY


async def test_connections_that_break_for_ten_minutes_lose_nothing(
    lane: Lane, clock: Clock
) -> None:
    engine_of(lane).faults = [BROKEN] * (limits.ENGINE_BREAKS_MAX - 1)
    assert await lane.outcome(PROMPT) == REPLY
    assert clock.now > 600


async def test_a_request_under_which_every_connection_breaks_fails_in_the_end(
    lane: Lane,
) -> None:
    engine_of(lane).faults = [BROKEN] * 1000
    outcome = await lane.outcome(PROMPT)
    assert isinstance(outcome, Failure)
    assert (outcome.code, engine_of(lane).asked) == (Code.UNAVAILABLE, limits.ENGINE_BREAKS_MAX)


async def test_what_keeps_requests_waiting_is_logged_once_a_minute(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    engine_of(lane).faults = [BUSY] * 31  # at 0, 60 and 120 seconds
    await lane.outcome(PROMPT)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["engine busy takes nobody now: Too many."] * 3
