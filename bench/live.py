"""What a batch costs those who wait: the time to the first token, with and without a batch.

Live requests come at even intervals, so that they take a quarter of the machine by themselves,
through the whole server with the embedded engine, and their answers are streamed:

* calm: nothing else runs;
* busy: a batch fills the engine meanwhile.

The batch runs for a while by itself before, so that its rate can be compared, too. Run with
``python -m bench.live``; ``--prompt-tokens`` says how long live prompts are.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop
from msgspec import Struct

from bench.batch import MODEL, settings
from bench.engine import USUAL, Load, prompts
from nightrate.domain.batch import Order
from nightrate.domain.generation import Prompt
from nightrate.engines.openvino import OpenVINOEngine
from nightrate.measure import TENANT, inline_item
from nightrate.runtime import House, open_house

CONCURRENCY = 32
REQUESTS = 60
INTERVALS = 4
"""How many answers, by themselves, would fill the time between two live requests."""
BATCH_SECONDS = 20.0
BATCH_REQUESTS = 20_000
"""More than are answered while it is looked at; the rest is cancelled."""

LIVE = Load(512, 16)


class Waits(Struct, frozen=True):
    """Seconds to the first token, and how many tokens a second the batch made meanwhile."""

    seconds: list[float]
    batch_tokens_per_second: float = 0.0

    def percentile(self, share: float) -> float:
        """Give the wait that so large a share of the requests did not exceed, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


async def _wait(house: House, prompt: Prompt) -> float:
    """Ask once, have it all, and give the time to the first token."""
    model = house.models.resolve(MODEL)
    started = time.perf_counter()
    first = math.inf
    async for piece in house.executor.stream(model, prompt):
        if isinstance(piece, str):
            first = min(first, time.perf_counter() - started)
    assert first < math.inf, "an answer has a text"
    return first


async def _interval(house: House, live: Iterator[Prompt]) -> float:
    """Find the time between two requests."""
    seconds = []
    for prompt in itertools.islice(live, 6):
        started = time.perf_counter()
        await _wait(house, prompt)
        seconds.append(time.perf_counter() - started)
    return INTERVALS * statistics.median(seconds[1:])


async def _waits(
    house: House, live: Iterator[Prompt], count: int, interval_seconds: float
) -> list[float]:
    waits = []
    for prompt in itertools.islice(live, count):
        next_at = time.perf_counter() + interval_seconds
        waits.append(await _wait(house, prompt))
        await asyncio.sleep(max(0.0, next_at - time.perf_counter()))
    return waits


async def _wait_for_front(house: House, live: Iterator[Prompt]) -> None:
    """Have the process for live requests started: the first one that meets a batch does that."""
    engine = house.lanes[house.models.resolve(MODEL).engine].engine
    assert isinstance(engine, OpenVINOEngine)
    while engine.live_pid is None:
        await _waits(house, live, 1, 0.5)


class _Batch:
    """A batch that is under way."""

    def __init__(self, house: House, batch_id: str) -> None:
        self._house = house
        self.batch_id = batch_id

    async def tokens(self) -> int:
        """Count what it has made so far."""
        return (await self._house.batches.get(TENANT, self.batch_id)).tally.output_tokens

    async def rate(self, seconds: float) -> float:
        """Give the tokens a second that it makes for a while."""
        before, started = await self.tokens(), time.perf_counter()
        await asyncio.sleep(seconds)
        return (await self.tokens() - before) / (time.perf_counter() - started)


async def _begin(house: House) -> _Batch:
    asked = itertools.islice(prompts(1_000_000, "fast", USUAL), BATCH_REQUESTS)
    inline = tuple(map(inline_item, asked))
    order = Order(display_name="bench", priority=0, file_name=None, inline=inline)
    batch = await house.batches.submit(TENANT, MODEL, order)
    begun = _Batch(house, batch.batch_id)
    while not await begun.rate(0.1):
        pass
    return begun


async def measure(count: int, load: Load) -> tuple[Waits, Waits, float, float]:
    """Measure the waits without and with a batch, the rate of the batch alone, the interval."""
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as folder:
        house = open_house(settings(Path(folder), CONCURRENCY))
        try:
            async with house.working():
                await house.engines_settled()
                live = prompts(50_000_000, "fast", load)
                interval = await _interval(house, live)
                calm = Waits(await _waits(house, live, count, interval))
                batch = await _begin(house)
                alone = await batch.rate(BATCH_SECONDS)
                await _wait_for_front(house, live)
                await _waits(house, live, 2, interval)
                before, started = await batch.tokens(), time.perf_counter()
                seconds = await _waits(house, live, count, interval)
                made = (await batch.tokens() - before) / (time.perf_counter() - started)
                await house.batches.cancel(TENANT, batch.batch_id)
        finally:
            await house.close()
    return calm, Waits(seconds, made), alone, interval


def report(count: int, load: Load) -> None:
    """Measure and print."""
    calm, busy, alone, interval = uvloop.run(measure(count, load))
    print(
        f"Live first: {count} streamed requests of {load.prompt_tokens} prompt tokens, one every"
        f" {interval:.1f} s, beside a batch of {CONCURRENCY} at once"
    )
    for name, waits in (("calm", calm), ("busy", busy)):
        half, most = statistics.median(waits.seconds), waits.percentile(0.99)
        print(f"  {name}   first token after {half * 1e3:6.0f} ms, 99 of 100 {most * 1e3:6.0f} ms")
    ratio = busy.percentile(0.99) / calm.percentile(0.99)
    print(f"  busy / calm, 99 of 100        {ratio:.2f}   (wanted: at most 1.25)")
    kept = busy.batch_tokens_per_second / alone
    print(f"  what the batch keeps of its rate  {kept:.2f}   (wanted: at least 0.60)")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--prompt-tokens", type=int, default=LIVE.prompt_tokens)
    wanted = parser.parse_args()
    report(wanted.requests, Load(wanted.prompt_tokens, LIVE.output_tokens))


if __name__ == "__main__":
    main()
