"""A lane keeps its engine open, and takes each prompt through it with the retries it deserves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from nightrate import limits
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import (
    Candidate,
    Capability,
    Failure,
    Message,
    Outcome,
    Prompt,
    Reply,
    Usage,
)
from nightrate.engines.base import Capacity, Engine, Progress, ignore_progress
from nightrate.errors import Code, EngineDown, RequestFailed
from nightrate.service.lane import Lane
from tests.service.lanes import lane_of

REPLY = Reply((Candidate("yes"),), Usage(1, 1), "m")
BUSY = RequestFailed("Busy.", code=Code.UNAVAILABLE, retriable=True)
DIED = EngineDown("It died.", in_flight=True)


def fault_of(lane: Lane) -> str | None:
    return None if lane.fault is None else lane.fault.message


def prompt(text: str = "hello") -> Prompt:
    return Prompt(messages=(Message("user", text),))


class Puppet(Engine):
    """Does what the lists say, then answers."""

    name = "puppet"

    def __init__(self) -> None:
        self.opens: list[Exception] = []
        self.readies: list[Exception] = []
        self.answers: dict[str, list[Exception]] = {}
        self.counts: list[Exception] = []
        self.history: list[str] = []
        self.inside: list[str] = []
        self.together: list[set[str]] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.hangs = 0
        self.told_hung = asyncio.Event()
        self.vector: tuple[float, ...] | None = None
        self.abilities = {Capability.TEXT}

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(self.abilities)

    @property
    def capacity(self) -> Capacity:
        return Capacity(4)

    async def open(self, progress: Progress = ignore_progress) -> None:
        progress("opening", 0.5)
        self.history.append("open")
        if self.opens:
            raise self.opens.pop(0)

    async def close(self) -> None:
        self.history.append("close")

    async def ready(self) -> None:
        if self.readies:
            raise self.readies.pop(0)

    async def count_tokens(self, prompt: Prompt) -> int:
        if self.counts:
            raise self.counts.pop(0)
        return len(prompt.messages)

    async def generate(self, prompt: Prompt) -> Reply:
        text = prompt.messages[-1].text
        self.inside.append(text)
        self.together.append(set(self.inside))
        try:
            if text in self.gates:
                await self.gates[text].wait()
            if self.answers.get(text):
                raise self.answers[text].pop(0)
        finally:
            self.inside.remove(text)
        return REPLY

    def hung(self, since: float) -> None:
        del since
        self.hangs += 1
        self.told_hung.set()

    async def embed(self, passage: Passage) -> Embedding:
        if self.vector is None:
            return await super().embed(passage)
        return Embedding.of(self.vector, 1, "v")

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        reply = await self.generate(prompt)
        yield "y"
        text = f"{prompt.messages[-1].text} later"
        if text in self.gates:
            await self.gates[text].wait()
        if self.answers.get(text):
            raise self.answers[text].pop(0)
        yield "es"
        yield reply


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds_slept: list[float] = []

    async def sleep(seconds: float) -> None:
        seconds_slept.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr("nightrate.clock.sleep", sleep)
    monkeypatch.setattr("nightrate.clock.jitter", lambda: 1.0)
    return seconds_slept


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
async def lane(puppet: Puppet, slept: list[float]) -> AsyncIterator[Lane]:
    del slept
    async with lane_of(puppet, "puppet") as lane:
        yield lane


# opening on demand ----------------------------------------------------------------------------


async def test_an_engine_on_demand_is_opened_when_it_is_asked_for(
    puppet: Puppet, slept: list[float]
) -> None:
    puppet.on_demand = True
    async with lane_of(puppet, "puppet") as lane:
        assert puppet.history == []
        assert not lane.opened.is_set()
        await lane.wait_open(1)
        assert lane.opened.is_set()
        assert puppet.history == ["open"]
        await lane.wait_open(1)
    assert slept == []


async def test_an_engine_on_demand_that_failed_waits_for_the_next_demand(
    puppet: Puppet, slept: list[float]
) -> None:
    puppet.on_demand = True
    puppet.opens = [EngineDown("No weights.")]
    lane = Lane("puppet", puppet)
    task = asyncio.create_task(lane.keep_open())
    await lane.wait_open(0.05)
    assert fault_of(lane) == "No weights."
    for _ in range(10):
        await asyncio.sleep(0)
    assert puppet.history == ["open", "close"], "nobody asked again"
    await lane.wait_open(1)  # whoever asks now hears of the fault at once, and has it tried again
    await lane.opened.wait()
    assert fault_of(lane) is None
    assert slept == [limits.ENGINE_REOPEN_SECONDS]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_engine_that_opens_at_the_start_is_not_waited_for(puppet: Puppet) -> None:
    lane = Lane("puppet", puppet)
    await lane.wait_open(1000)
    assert not lane.opened.is_set()


# counting -------------------------------------------------------------------------------------


async def test_counting_is_tried_again_as_often_as_answering(lane: Lane, puppet: Puppet) -> None:
    puppet.counts = [BUSY, DIED]
    assert await lane.count_tokens(prompt()) == 1
    puppet.counts = [RequestFailed("Too long.", code=Code.INVALID_ARGUMENT)]
    assert await lane.count_tokens(prompt()) == Failure(Code.INVALID_ARGUMENT, "Too long.")


# prompts --------------------------------------------------------------------------------------


async def test_a_reply_is_the_outcome_and_gives_its_place_back(lane: Lane) -> None:
    assert await lane.outcome(prompt()) == REPLY
    assert lane.places.requests == 0


async def test_what_an_engine_cannot_do_is_refused_once(lane: Lane) -> None:
    outcome = await lane.outcome(Passage(text="hello"))
    assert outcome == Failure(Code.UNIMPLEMENTED, "The puppet engine makes no vectors.")
    assert lane.places.requests == 0


async def test_an_engine_that_only_makes_vectors_refuses_prompts() -> None:
    class Vectors(Engine):
        name = "vectors"
        capabilities = frozenset({Capability.EMBEDDINGS})
        capacity = Capacity(1)

        async def open(self, progress: Progress = ignore_progress) -> None:
            pass

        async def close(self) -> None:
            pass

        async def ready(self) -> None:
            pass

        async def embed(self, passage: Passage) -> Embedding:
            return Embedding.of((1.0,), len(passage.text), "v")

    lane = Lane("vectors", Vectors())
    assert await lane.outcome(Passage(text="hello")) == Embedding.of((1.0,), 5, "v")
    refused = Failure(Code.UNIMPLEMENTED, "The vectors engine gives no text.")
    assert await lane.outcome(prompt()) == refused
    async with aclosing(lane.stream(prompt())) as pieces:
        assert [piece async for piece in pieces] == [refused]
    assert await lane.count_tokens(prompt()) == Failure(
        Code.UNIMPLEMENTED, "The vectors engine reads no prompts."
    )


async def test_a_failure_that_is_final_is_not_tried_again(lane: Lane, puppet: Puppet) -> None:
    puppet.answers["hello"] = [RequestFailed("Too long.", code=Code.INVALID_ARGUMENT)]
    assert await lane.outcome(prompt()) == Failure(Code.INVALID_ARGUMENT, "Too long.")
    assert len(puppet.together) == 1
    assert lane.places.requests == 0


async def test_a_failure_that_may_pass_is_tried_again_later(
    lane: Lane, puppet: Puppet, slept: list[float]
) -> None:
    puppet.answers["hello"] = [BUSY] * (limits.ATTEMPTS_MAX - 1)
    assert await lane.outcome(prompt()) == REPLY
    first = limits.RETRY_FIRST_SECONDS
    assert slept == [first * 2**attempt for attempt in range(limits.ATTEMPTS_MAX - 1)]


async def test_what_the_engine_asks_to_wait_is_waited(
    lane: Lane, puppet: Puppet, slept: list[float]
) -> None:
    puppet.answers["hello"] = [
        RequestFailed("Busy.", retriable=True, after_seconds=7.5),
        RequestFailed("Busy.", retriable=True, after_seconds=10**6),
    ]
    assert await lane.outcome(prompt()) == REPLY
    assert slept == [7.5, limits.RETRY_LONGEST_SECONDS]


async def test_a_request_that_fails_too_often_has_failed(lane: Lane, puppet: Puppet) -> None:
    puppet.answers["hello"] = [BUSY] * 99
    assert await lane.outcome(prompt()) == Failure(Code.UNAVAILABLE, "Busy.")
    assert len(puppet.together) == limits.ATTEMPTS_MAX


async def test_a_waiting_retry_holds_no_place(
    lane: Lane, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    async def sleep(_seconds: float) -> None:
        held.append(lane.places.requests)

    monkeypatch.setattr("nightrate.clock.sleep", sleep)
    puppet.answers["hello"] = [BUSY]
    assert await lane.outcome(prompt()) == REPLY
    assert held == [0]


async def test_a_prompt_that_waited_outside_is_not_blamed_for_deaths(
    lane: Lane, puppet: Puppet
) -> None:
    puppet.answers["hello"] = [EngineDown("It died.")] * 50
    assert await lane.outcome(prompt()) == REPLY


async def test_a_prompt_that_kills_the_engine_again_and_again_has_failed(
    lane: Lane, puppet: Puppet
) -> None:
    puppet.answers["hello"] = [DIED] * 99
    outcome = await lane.outcome(prompt())
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.INTERNAL
    assert len(puppet.together) == limits.ENGINE_DEATHS_MAX
    assert lane.places.requests == 0


async def test_the_last_try_after_deaths_is_made_alone(lane: Lane, puppet: Puppet) -> None:
    puppet.gates["other"] = asyncio.Event()
    other = asyncio.create_task(lane.outcome(prompt("other")))
    puppet.answers["hello"] = [DIED] * (limits.ENGINE_DEATHS_MAX - 1)
    suspect = asyncio.create_task(lane.outcome(prompt()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not suspect.done()
    assert puppet.inside == ["other"]
    puppet.gates["other"].set()
    assert await other == await suspect == REPLY
    assert puppet.together[-1] == {"hello"}


async def test_a_vector_with_what_is_no_number_is_a_failure(lane: Lane, puppet: Puppet) -> None:
    puppet.vector = (0.5, float("nan"))
    outcome = await lane.outcome(Passage(text="hello"))
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.INTERNAL


async def test_cancelling_a_prompt_gives_its_place_back(lane: Lane, puppet: Puppet) -> None:
    puppet.gates["hello"] = asyncio.Event()
    task = asyncio.create_task(lane.outcome(prompt()))
    await asyncio.sleep(0)
    assert lane.places.requests == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lane.places.requests == 0


# the engine -----------------------------------------------------------------------------------


async def test_an_engine_that_gave_up_is_opened_again_and_its_prompts_have_no_outcome(
    lane: Lane, puppet: Puppet, slept: list[float]
) -> None:
    puppet.answers["hello"] = [DIED]
    puppet.readies = [EngineDown("It has given up.")]
    with pytest.raises(EngineDown, match="given up"):
        await lane.outcome(prompt())
    assert not lane.opened.is_set()
    assert fault_of(lane) == "It has given up."
    await lane.opened.wait()
    assert fault_of(lane) is None
    assert puppet.history == ["open", "close", "open"]
    assert slept == [limits.ENGINE_REOPEN_SECONDS]
    assert await lane.outcome(prompt()) == REPLY


async def test_an_engine_that_cannot_open_is_settled_and_tried_again(
    puppet: Puppet, slept: list[float]
) -> None:
    puppet.opens = [EngineDown("No weights."), EngineDown("Still none.")]
    async with lane_of(puppet, "puppet") as lane:
        assert not lane.opened.is_set()
        assert fault_of(lane) == "No weights."
        await lane.opened.wait()
        assert fault_of(lane) is None
        assert slept == [limits.ENGINE_REOPEN_SECONDS] * 2


async def test_stopping_closes_the_engine(puppet: Puppet) -> None:
    told: list[tuple[str, float | None]] = []
    lane = Lane("puppet", puppet)
    task = asyncio.create_task(lane.keep_open(lambda doing, share: told.append((doing, share))))
    await lane.opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert puppet.history == ["open", "close"]
    assert not lane.opened.is_set()
    assert told == [("opening", 0.5)]


# streams --------------------------------------------------------------------------------------


async def streamed(lane: Lane, text: str = "hello") -> list[str | Outcome]:
    async with aclosing(lane.stream(prompt(text), live=True)) as pieces:
        return [piece async for piece in pieces]


async def test_a_stream_gives_texts_and_then_the_reply(lane: Lane) -> None:
    assert await streamed(lane) == ["y", "es", REPLY]
    assert lane.places.requests == 0


async def test_a_stream_is_tried_again_until_its_first_text(lane: Lane, puppet: Puppet) -> None:
    puppet.answers["hello"] = [BUSY, DIED]
    assert await streamed(lane) == ["y", "es", REPLY]
    refused = RequestFailed("Too long.", code=Code.INVALID_ARGUMENT)
    puppet.answers["hello"] = [BUSY, refused]
    assert await streamed(lane) == [Failure(Code.INVALID_ARGUMENT, "Too long.")]
    assert lane.places.requests == 0


@pytest.mark.parametrize(("fault", "code"), [(BUSY, Code.UNAVAILABLE), (DIED, Code.UNAVAILABLE)])
async def test_a_stream_that_breaks_off_is_not_tried_again(
    lane: Lane, puppet: Puppet, fault: Exception, code: Code
) -> None:
    puppet.answers["hello later"] = [fault]
    text, failure = await streamed(lane)
    assert text == "y"
    assert isinstance(failure, Failure)
    assert failure.code is code
    assert len(puppet.together) == 1
    assert lane.places.requests == 0


async def test_a_stream_whose_engine_gives_up_before_the_first_text_has_no_outcome(
    lane: Lane, puppet: Puppet
) -> None:
    puppet.answers["hello"] = [EngineDown("It is gone.")]
    puppet.readies = [EngineDown("It gave up.")]
    with pytest.raises(EngineDown, match="It gave up"):
        await streamed(lane)


async def test_a_stream_holds_a_place_until_it_is_closed(lane: Lane, puppet: Puppet) -> None:
    puppet.gates["hello later"] = asyncio.Event()
    async with aclosing(lane.stream(prompt(), live=True)) as pieces:
        assert await anext(pieces) == "y"
        assert lane.places.requests == 1
    assert lane.places.requests == 0


async def test_a_stream_that_is_cancelled_while_it_waits_frees_its_place(
    lane: Lane, puppet: Puppet
) -> None:
    puppet.gates["hello"] = asyncio.Event()
    task = asyncio.create_task(streamed(lane))
    await asyncio.sleep(0)
    assert puppet.inside == ["hello"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert lane.places.requests == 0


async def test_a_live_stream_comes_before_waiting_rows(lane: Lane, puppet: Puppet) -> None:
    gate = puppet.gates["row"] = asyncio.Event()
    rows = [asyncio.create_task(lane.outcome(prompt("row"))) for _ in range(6)]
    await asyncio.sleep(0)
    assert len(puppet.inside) == 4
    live = asyncio.create_task(streamed(lane, "live"))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*rows, live)
    entered = [inside - {"row"} for inside in puppet.together]
    assert entered.index({"live"}) == 4
