"""Storms upstream: an endpoint that refuses, breaks and stalls in the middle of a batch.

The engine, the lane and the runner are those of production, and so are the connections; only time
is not. A storm is survived when every line has its answer, in order; when the endpoint is asked no
more than a fraction of what it is asked in calm, ten seconds after it began to refuse; when nothing
comes before the end of a `Retry-After`; and when a minute of calm brings the old rate back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email.utils import formatdate
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from msgspec import Struct

from nightrate import clock, limits
from nightrate.domain.states import BatchState
from nightrate.engines.base import Engine
from nightrate.service.execute import Executor
from nightrate.service.lane import Lane
from nightrate.work.runner import Runner
from tests.engines.gemini_upstream import GeminiUpstream, engine_of
from tests.engines.upstream import Upstream, answer, made, refusal, serving
from tests.faults.campaign import Campaign, Figures
from tests.faults.virtual_time import run
from tests.work.workshop import Workshop, numbered

WALL = 1_770_000_000_000_000
"""The wall time at the beginning, in microseconds."""

CALM_SECONDS = 30.0
LATENCY_SECONDS = 1.0
RECOVERY_SECONDS = 60.0
FALL_SECONDS = 10.0
FALLEN_SHARE = 0.25
RECOVERED_SHARE = 0.9
CONCURRENCY = 16
GONE_SECONDS = 180.0
RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5s"}

Trouble = Callable[["Weather", web.Request], Awaitable[web.StreamResponse]]


class Protocol(Struct, frozen=True):
    """An endpoint that speaks a protocol, and an engine for it."""

    serve: type[Upstream]
    engine: Callable[..., Engine]


OPENAI = Protocol(Upstream, made)
GEMINI = Protocol(GeminiUpstream, engine_of)


class Storm(Struct, frozen=True, kw_only=True):
    """What happens to a share of the requests, for how long."""

    name: str
    trouble: Trouble
    share: float = 0.9
    seconds: float = 600.0
    slower: bool = True
    """Whether less must be sent meanwhile."""
    concurrency: int = CONCURRENCY
    protocol: Protocol = OPENAI


class Weather:
    """What an endpoint does at which time, and when it was asked."""

    def __init__(self, storm: Storm, rng: random.Random) -> None:
        self.storm = storm
        self.rng = rng
        self.sent: list[float] = []
        self.closed = (0.0, 0.0)
        """From when to when nothing more may come."""
        self.early = 0
        """Requests that came before the time that a refusal had named."""
        self.begins = CALM_SECONDS
        self.ends = CALM_SECONDS + storm.seconds

    async def strike(self, request: web.Request) -> web.StreamResponse | None:
        """Treat one request."""
        now = asyncio.get_running_loop().time()
        self.sent.append(now)
        since, until = self.closed
        self.early += since < now < until
        if self.begins <= now < self.ends and self.rng.random() < self.storm.share:
            return await self.storm.trouble(self, request)
        await passes(LATENCY_SECONDS)
        return None

    def close(self, seconds: float) -> None:
        """Let nothing more come for a while; what is on its way at this moment may."""
        now = asyncio.get_running_loop().time()
        since, until = self.closed
        # A date has whole seconds, so it may name a moment that is a second sooner.
        self.closed = (since if now < until else now, max(until, now + seconds - 1))

    def rate(self, first: float, last: float) -> float:
        """Give how many requests came in a second, between two times."""
        count = bisect_left(self.sent, last) - bisect_left(self.sent, first)
        return count / (last - first)


async def passes(seconds: float) -> None:
    """Let time go by, as it does in an endpoint."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()


# troubles -------------------------------------------------------------------------------------


def refuse(status: int, after_seconds: float | None = None, *, dated: bool = False) -> Trouble:
    """Refuse, with or without a word of when to come back."""

    async def trouble(weather: Weather, _request: web.Request) -> web.StreamResponse:
        if after_seconds is None:
            return refusal(status)
        weather.close(after_seconds)
        moment = clock.now() / 1_000_000 + after_seconds
        text = formatdate(moment, usegmt=True) if dated else f"{after_seconds:g}"
        return refusal(status, text)

    return trouble


async def refuse_in_body(weather: Weather, _request: web.Request) -> web.StreamResponse:
    """Refuse as Google's services do: the body alone says when to come back."""
    weather.close(5)
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [RETRY_INFO]}
    return answer({"error": error}, 429)


async def cut(_weather: Weather, request: web.Request) -> web.StreamResponse:
    """Break the connection in the middle of the answer."""
    await request.read()
    response = web.StreamResponse(headers={"content-type": "application/json"})
    response.content_length = 5000
    await response.prepare(request)
    await response.write(b'{"choices":[{"message":{"content":"Once upon')
    await passes(LATENCY_SECONDS)
    assert request.transport is not None
    request.transport.close()
    return response


def drip(*, whole: bool) -> Trouble:
    """Answer a byte at a time, a quarter of a second apart, to the end or to the half of it."""

    async def trouble(_weather: Weather, request: web.Request) -> web.StreamResponse:
        await request.read()
        body = b'{"choices":[{"message":{"content":"at last"},"finish_reason":"stop"}]}'
        response = web.StreamResponse(headers={"content-type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        for place in range(len(body) if whole else len(body) // 2):
            await response.write(body[place : place + 1])
            await passes(0.25)
        if not whole:
            assert request.transport is not None
            request.transport.close()
        return response

    return trouble


STORMS = (
    Storm(name="429 with Retry-After", trouble=refuse(429, 5)),
    Storm(name="429 without a word", trouble=refuse(429)),
    Storm(name="503 with a date", trouble=refuse(503, 8, dated=True)),
    Storm(name="503 for everybody", trouble=refuse(503), share=1.0),
    Storm(name="429 now and then", trouble=refuse(429, 2), share=0.05, slower=False),
    Storm(name="502 from a gateway", trouble=refuse(502)),
    Storm(name="500 for most", trouble=refuse(500)),
    Storm(name="bodies cut in the middle", trouble=cut),
    Storm(name="slow tokens", trouble=drip(whole=True), slower=False),
    Storm(name="slow and cut", trouble=drip(whole=False), share=0.5),
    Storm(name="Gemini: 429 with RetryInfo", trouble=refuse_in_body, protocol=GEMINI),
    Storm(name="Gemini: 503 for everybody", trouble=refuse(503), share=1.0, protocol=GEMINI),
    Storm(name="Gemini: bodies cut in the middle", trouble=cut, protocol=GEMINI),
)


# the campaign ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(shop: Workshop, lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Let a runner work on an endpoint's answers; the event tells that a batch has ended."""
    ended = asyncio.Event()
    executor = Executor({lane.name: lane})
    runner = Runner(
        *(lane, executor, shop.store, shop.blobs),
        serves=lambda _model: True,
        owner="one",
        ended=lambda _batch: ended.set(),
    )
    tasks = [asyncio.create_task(lane.keep_open()), asyncio.create_task(runner.run())]
    try:
        yield ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def outlive(storm: Storm, lines: int, rng: random.Random, path: Path) -> Figures:
    """Take a batch through a storm and judge what became of it."""
    weather = Weather(storm, rng)
    shop = Workshop(path)
    figures = Figures.none()
    try:
        async with serving(storm.protocol.serve) as upstream:
            upstream.fault = weather.strike
            await shop.plan(numbered(lines))
            engine = storm.protocol.engine(upstream, concurrency_max=storm.concurrency)
            async with running(shop, Lane("far", engine)) as ended:
                await asyncio.wait_for(ended.wait(), 3000)
        figures.violations += await judge(shop, lines)
    finally:
        await shop.store.close()
    _judge_rates(weather, figures)
    figures.tried = 1
    return figures


async def judge(shop: Workshop, lines: int, failed: int = 0) -> list[str]:
    """Name what is wrong with a batch that has ended."""
    violations = []
    batch = await shop.batch()
    if batch.state is not BatchState.SUCCEEDED:
        violations.append(f"the batch is {batch.state}")
    if (batch.tally.succeeded, batch.tally.failed) != (lines - failed, failed):
        violations.append(f"{batch.tally.failed} of {lines} lines failed, not {failed}")
    if await shop.keys() != [str(number) for number in range(lines)]:
        violations.append("the lines are not those of the input, in its order")
    return violations


def _judge_rates(weather: Weather, figures: Figures) -> None:
    storm, end = weather.storm, weather.ends
    calm = weather.rate(FALL_SECONDS, weather.begins)
    during = weather.rate(weather.begins + FALL_SECONDS, end)
    after = weather.rate(end + RECOVERY_SECONDS, end + RECOVERY_SECONDS + 10)
    figures.notes = {
        f"{storm.name}: sent a second": f"{calm:.1f}, in the storm {during:.2f}, after {after:.1f}"
    }
    if storm.slower and during > calm * FALLEN_SHARE:
        figures.violations.append(
            f"{during:.2f} a second are sent into the storm, {calm:.1f} before"
        )
    if after < calm * RECOVERED_SHARE:
        figures.violations.append(f"{after:.1f} a second are sent after it, {calm:.1f} before")
    if weather.early:
        figures.violations.append(f"{weather.early} came before the time that was named")


def lines_for(storm: Storm) -> int:
    """Give how many lines keep the endpoint busy until the rate after the storm is measured."""
    calm = storm.concurrency / LATENCY_SECONDS
    still = CALM_SECONDS + RECOVERY_SECONDS + 15
    return int(calm * (still + storm.seconds * (1 - storm.share)))


def weather_storms(points: int | None, seed: int) -> Figures:
    """Send batches through so many storms, each kind in turn."""
    return weather_all([STORMS[at % len(STORMS)] for at in range(points or len(STORMS))], seed)


def weather_all(storms: Sequence[Storm], seed: int) -> Figures:
    """Send a batch through each storm."""
    total = Figures.none()
    for point, storm in enumerate(storms):
        rng = random.Random(f"{seed}-{point}")
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr("nightrate.clock.jitter", rng.random)
            found = run(outlive(storm, lines_for(storm), rng, Path(folder)), patch, WALL)
        total.tried += found.tried
        total.notes |= found.notes
        repeat = f"(--seed {seed}, point {point})"
        total.violations += [f"{storm.name}: {one} {repeat}" for one in found.violations]
    return total


# poison ---------------------------------------------------------------------------------------


async def poisoned(place: int, lines: int, path: Path) -> Figures:
    """Run a batch with a line that kills the endpoint whenever it is asked; it comes back."""
    figures = Figures(tried=1, violations=[], notes={})
    poison = f"say {place}"
    shop = Workshop(path)
    deaths = 0
    restarts: set[asyncio.Task[None]] = set()
    try:
        async with serving(Upstream) as upstream:

            async def die() -> None:
                port = upstream.port
                await upstream.stop()
                await passes(GONE_SECONDS)
                await upstream.start(port)

            async def strike(request: web.Request) -> web.StreamResponse | None:
                nonlocal deaths
                await passes(LATENCY_SECONDS)
                body = msgspec.json.decode(await request.read())
                if body["messages"][-1]["content"] == poison:
                    deaths += 1
                    restarts.add(asyncio.create_task(die()))
                    await asyncio.Event().wait()
                return None

            upstream.fault = strike
            await shop.plan(numbered(lines))
            lane = Lane("far", made(upstream, concurrency_max=CONCURRENCY))
            async with running(shop, lane) as ended:
                await asyncio.wait_for(ended.wait(), 3000)
            await asyncio.gather(*restarts)
        figures.violations += await judge(shop, lines, failed=1)
        if b'"error"' not in (await shop.output())[place]:
            figures.violations.append("another line than the poisoned one failed")
    finally:
        await shop.store.close()
    if deaths != limits.ENGINE_DEATHS_MAX:
        figures.violations.append(f"the poisoned line was tried {deaths} times")
    return figures


def poison_lines(points: int | None, seed: int) -> Figures:
    """Poison lines in so many places."""
    total = Figures.none()
    rng = random.Random(seed)
    for _ in range(points or 10):
        place, lines = rng.randrange(100), 100
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr("nightrate.clock.jitter", rng.random)
            found = run(poisoned(place, lines, Path(folder)), patch, WALL)
        total.tried += found.tried
        total.violations += [f"{one} (place {place})" for one in found.violations]
    return total


CAMPAIGNS: tuple[Campaign, ...] = (
    Campaign(
        name="upstream-storms",
        what="an endpoint that refuses nine of ten requests, cuts or stalls, for ten minutes",
        run=weather_storms,
        points=4 * len(STORMS),
    ),
    Campaign(
        name="upstream-poison",
        what="a line that kills the endpoint whenever it is asked",
        run=poison_lines,
        points=40,
    ),
)
