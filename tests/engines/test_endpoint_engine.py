"""What engines over the wire spend and keep for live requests, whatever protocol they speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from nightrate import endpoint_limits
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Message, Prompt, Reply
from nightrate.engines.allowance import Allowance
from nightrate.engines.base import Capacity
from nightrate.engines.endpoint_engine import EndpointEngine
from nightrate.engines.registry import create_engine
from nightrate.errors import EngineBusy, RequestFailed, SettingsFault
from nightrate.service.lane import Lane
from nightrate.testing.engine_samples import asked, pieces_of
from tests.engines.gemini_upstream import GeminiUpstream, engine_of
from tests.engines.upstream import Upstream, breaks, made, refuses, serving

LIMITS = {"requests_per_minute": 600, "tokens_per_minute": 1_000_000}
BOTH: Any = [
    pytest.param((Upstream, made), id="openai"),
    pytest.param((GeminiUpstream, engine_of), id="gemini"),
]


class Ledger(Allowance):
    """Writes down what is settled, and what turned out not to have been spent."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self.settled: list[tuple[int, int]] = []
        self.unspent: list[int] = []

    def settle(self, cost: int, tokens: int) -> None:
        self.settled.append((cost, tokens))

    def unspend(self, cost: int) -> None:
        self.unspent.append(cost)


@pytest.fixture(params=BOTH)
async def both(request: pytest.FixtureRequest) -> AsyncIterator[tuple[EndpointEngine, Upstream]]:
    kind, make = request.param
    async with serving(kind) as upstream:
        engine = make(upstream, embeddings=True, **LIMITS)
        await engine.open()
        engine.allowance = Ledger()
        yield engine, upstream
        await engine.close()


def ledger(engine: EndpointEngine) -> Ledger:
    assert isinstance(engine.allowance, Ledger)
    return engine.allowance


async def test_an_answer_settles_what_it_was_estimated_to_cost(
    both: tuple[EndpointEngine, Upstream],
) -> None:
    engine, _ = both
    prompt = asked("twelve bytes", max_output_tokens=50)
    reply = await engine.generate(prompt)
    used = reply.usage.prompt_tokens + reply.usage.output_tokens
    await pieces_of(engine, prompt)
    assert engine.cost(prompt) == 54
    assert ledger(engine).settled == [(54, used), (54, used)]
    vector = await engine.embed(Passage(text="twelve bytes"))
    assert ledger(engine).settled[2:] == [(4, vector.prompt_tokens)]
    assert not ledger(engine).unspent


async def test_an_estimate_is_rather_too_high(both: tuple[EndpointEngine, Upstream]) -> None:
    engine, _ = both
    turns = (Message("user", "漢字 and more"), Message("model", "x"), Message("user", "y"))
    prompt = Prompt(messages=turns, system="Be brief.")
    reply = await engine.generate(prompt)
    cost = engine.cost(prompt)
    assert cost >= reply.usage.prompt_tokens + endpoint_limits.ESTIMATED_OUTPUT_TOKENS
    assert engine.cost(Passage(text="abc", title="abc")) == 2
    assert engine.cost(asked("\ud800", max_output_tokens=1)) == 2


async def test_what_is_not_sent_is_not_spent(both: tuple[EndpointEngine, Upstream]) -> None:
    engine, upstream = both
    with pytest.raises(RequestFailed, match="Unicode"):
        await engine.generate(asked("\ud800", max_output_tokens=1))
    assert ledger(engine).unspent == [2]
    upstream.faults = [refuses(429, after="7")]
    with pytest.raises(EngineBusy):
        await engine.generate(asked("abc", max_output_tokens=1))
    assert ledger(engine).unspent == [2], "the endpoint counts it, too"
    with pytest.raises(EngineBusy):
        await engine.generate(asked("abc", max_output_tokens=1))
    with pytest.raises(EngineBusy):
        await anext(engine.stream(asked("abc", max_output_tokens=1)))
    with pytest.raises(EngineBusy):
        await engine.embed(Passage(text="abc"))
    assert ledger(engine).unspent == [2, 2, 2, 1]
    assert not ledger(engine).settled


async def test_of_a_request_that_failed_the_estimate_stays_spent(
    both: tuple[EndpointEngine, Upstream],
) -> None:
    engine, upstream = both
    upstream.faults = [refuses(400), breaks(b'{"')]
    for kind in (RequestFailed, EngineBusy):
        with pytest.raises(kind):
            await engine.generate(asked("abc"))
    pieces = engine.stream(asked("once upon a time"))
    await anext(pieces)
    await pieces.aclose()
    assert not ledger(engine).settled
    assert not ledger(engine).unspent


async def test_counting_tokens_costs_nothing(both: tuple[EndpointEngine, Upstream]) -> None:
    engine, _ = both
    await engine.count_tokens(asked("abc"))
    assert not ledger(engine).settled
    assert not ledger(engine).unspent


@pytest.mark.parametrize("name", ["openai", "gemini"])
def test_limits_are_those_of_the_settings_and_outlive_a_restart(name: str) -> None:
    base = {"base_url": "http://far/v1"}
    assert create_engine(name, base).allowance is None
    assert create_engine(name, base).cost(asked("abc")) == 0
    requests = create_engine(name, {**base, "requests_per_minute": 1})
    assert requests.cost(asked("abc")) == 0, "nobody asks for it"
    assert requests.allowance is not None
    requests.allowance.spend(0)
    assert requests.allowance.wait_seconds(0) > 50
    assert create_engine(name, {**base, "tokens_per_minute": 1}).cost(asked("abc"))


@pytest.mark.parametrize("name", ["openai", "gemini"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("requests_per_minute", 0),
        ("requests_per_minute", -1),
        ("requests_per_minute", 1.5),
        ("requests_per_minute", endpoint_limits.REQUESTS_PER_MINUTE_MAX + 1),
        ("tokens_per_minute", 0),
        ("tokens_per_minute", True),
        ("tokens_per_minute", endpoint_limits.TOKENS_PER_MINUTE_MAX + 1),
    ],
)
def test_a_limit_has_a_range(name: str, option: str, value: object) -> None:
    with pytest.raises(SettingsFault, match=rf"engines\.{name}\.{option}: "):
        create_engine(name, {"base_url": "http://far/v1", option: value})


async def test_a_lane_lets_nobody_in_beyond_the_allowance_of_its_engine(
    both: tuple[EndpointEngine, Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, upstream = both
    make = engine_of if isinstance(upstream, GeminiUpstream) else made
    engine = make(upstream, requests_per_minute=1)
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: 1000.0)
    engine.allowance = Allowance(1, None)
    await engine.open()
    lane = Lane("far", engine)
    assert lane.places.try_take(0)
    assert not lane.places.try_take(0)
    assert not lane.places.try_take(0, live=True)
    lane.places.give(0)
    assert not lane.places.try_take(0)
    await engine.open()
    assert not lane.places.try_take(0)
    await engine.close()


# live requests --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openai", "gemini"])
@pytest.mark.parametrize(
    ("options", "capacity"),
    [
        ({}, Capacity(56, live=8)),
        ({"concurrency_max": 1}, Capacity(1)),
        ({"concurrency_max": 2}, Capacity(1, live=1)),
        ({"live_requests": 0}, Capacity(64)),
        ({"live_requests": 63}, Capacity(1, live=63)),
    ],
)
def test_a_part_of_what_an_endpoint_gets_is_kept_for_live_requests(
    name: str, options: dict[str, Any], capacity: Capacity
) -> None:
    assert create_engine(name, {"base_url": "http://far/v1", **options}).capacity == capacity


@pytest.mark.parametrize("name", ["openai", "gemini"])
@pytest.mark.parametrize("live", [-1, 64])
def test_live_requests_leave_batches_a_place(name: str, live: int) -> None:
    with pytest.raises(SettingsFault, match="live_requests: "):
        create_engine(name, {"base_url": "http://far/v1", "live_requests": live})


async def test_a_live_request_is_answered_beside_a_batch_that_fills_the_pace(
    both: tuple[EndpointEngine, Upstream],
) -> None:
    _, upstream = both
    make = engine_of if isinstance(upstream, GeminiUpstream) else made
    engine = make(upstream, concurrency_max=3, live_requests=1)
    await engine.open()
    lane = Lane("far", engine)
    full = asyncio.Event()

    async def look(_request: web.Request) -> None:
        if upstream.inside > 1:
            full.set()

    upstream.fault = look
    lasting = asked("[[delay 3600]]")
    rows = [asyncio.create_task(lane.outcome(lasting)) for _ in range(5)]
    await full.wait()
    outcome = await lane.outcome(asked("hello"), live=True)
    assert isinstance(outcome, Reply)
    assert not any(row.done() for row in rows)
    assert upstream.most_inside == 3
    live = [asyncio.create_task(lane.outcome(lasting, live=True)) for _ in range(2)]
    rows[0].cancel()
    await asyncio.wait(rows[:1])
    assert (lane.places.live, lane.places.requests) == (2, 3)
    for task in (*rows, *live):
        task.cancel()
    await asyncio.gather(*rows, *live, return_exceptions=True)
    assert upstream.most_inside == 3
    await engine.close()
