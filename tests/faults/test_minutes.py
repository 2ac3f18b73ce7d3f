"""An endpoint that counts its minutes is never given a reason to refuse, and nothing is lost.

Engine, lane, runner and connections are those of production; only time is virtual.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from nightrate.engines.base import Engine
from nightrate.service.lane import Lane
from nightrate.testing.engine_samples import asked
from tests.engines.upstream import refusal, serving
from tests.faults.storms import GEMINI, OPENAI, WALL, Protocol, judge, passes, running
from tests.faults.virtual_time import run
from tests.work.workshop import Workshop, numbered

LINES = 240
MINUTE = 60.0


class Strict:
    """An endpoint that refuses whoever is beyond the limits of its last sixty seconds."""

    def __init__(self, requests: int, tokens: int) -> None:
        self._requests = requests
        self._tokens = tokens
        self.begun: list[float] = []
        self.used: list[int] = []
        self.refused = 0
        self.live: list[float] = []

    async def strike(self, request: web.Request) -> web.StreamResponse | None:
        now = asyncio.get_running_loop().time()
        body = await request.read()
        # As an endpoint reckons that cuts what it reads: four characters a token, and the output.
        tokens = len(_text(body)) // 4 + 5
        first = bisect_left(self.begun, now - MINUTE + 0.005)  # the way here has its jitter
        if (
            len(self.begun) - first >= self._requests
            or sum(self.used[first:]) + tokens > self._tokens
        ):
            self.refused += 1
            return refusal(429)
        self.begun.append(now)
        self.used.append(tokens)
        if b"live" in body:
            self.live.append(now)
        await passes(2.0)
        return None


def _text(body: bytes) -> str:
    tree = msgspec.json.decode(body)
    if "messages" in tree:
        return str(tree["messages"][-1]["content"])
    return str(tree["contents"][-1]["parts"][0]["text"])


async def live_calls(lane: Lane, waits: list[float]) -> None:
    """Ask every twenty seconds, as somebody does who waits for the answer."""
    number = 0
    while True:
        await passes(20.0)
        began = asyncio.get_running_loop().time()
        await lane.outcome(asked(f"live {number}", max_output_tokens=5), live=True)
        waits.append(asyncio.get_running_loop().time() - began - 2.0)
        number += 1


async def outlive(protocol: Protocol, path: Path, requests: int, tokens: int) -> Strict:
    strict = Strict(requests, tokens)
    shop = Workshop(path)
    waits: list[float] = []
    try:
        async with serving(protocol.serve) as upstream:
            upstream.fault = strict.strike
            await shop.plan(numbered(LINES))
            limits = {"requests_per_minute": requests, "tokens_per_minute": tokens}
            engine: Engine = protocol.engine(upstream, concurrency_max=16, **limits)
            lane = Lane("far", engine)
            async with running(shop, lane) as ended:
                calling = asyncio.create_task(live_calls(lane, waits))
                await asyncio.wait_for(ended.wait(), 3000)
                calling.cancel()
                await asyncio.wait([calling])
        assert await judge(shop, LINES) == []
    finally:
        await shop.store.close()
    assert max(waits) < 2 * MINUTE / requests + 0.5, "live requests do not wait behind the batch"
    return strict


@pytest.mark.parametrize("protocol", [OPENAI, GEMINI], ids=["openai", "gemini"])
def test_a_batch_within_its_minutes_is_never_refused(protocol: Protocol, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        strict = run(outlive(protocol, tmp_path, 60, 10**6), patch, WALL)
    assert strict.refused == 0
    assert len(strict.begun) >= LINES + len(strict.live)
    minutes = (strict.begun[-1] - strict.begun[0]) / MINUTE
    assert len(strict.begun) >= 0.95 * 60 * minutes
