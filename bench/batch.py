"""What a durable batch costs over a bare loop, and what it gains over one request at a time.

The same requests, of 64 prompt tokens and 64 output tokens unless the command says otherwise, the
same model and settings, in turns:

* plain: the library's own pipeline, stepped in a bare loop in a process of its own, before the
  batch and after it, since a machine changes its pace within a minute;
* batch: a batch through the whole server (planned, journaled, sealed), from its creation to its
  final state, by the server's own clock;
* alone: live requests through the same server, one at a time.

Run with ``python -m bench.batch``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import uvloop

from bench.engine import OUTPUT_TOKENS, PROMPT_TOKENS, USUAL, Figures, Load, plain_loop, prompts
from bench.passes import tell
from nightrate.domain.batch import Order
from nightrate.domain.generation import Prompt, Reply
from nightrate.engines import weights
from nightrate.engines.openvino import OpenVINOOptions, setup_of
from nightrate.engines.packages import cache_directory
from nightrate.measure import inline_item, run_to_its_end
from nightrate.runtime import House, open_house
from nightrate.settings import Settings

MODEL = "gemini-bench"
ROUNDS = 3

LONG = Load(512, 32)
"""Reading fills the processor at once here, so batching gains little."""

_GAINS = {USUAL: 5, LONG: 1.7}
"""What a batch is wanted to gain over one request at a time."""


def settings(data: Path, concurrency: int, **more: object) -> Settings:
    """Give the settings of the measured server, with more options of the engine."""
    options = {"requests": concurrency, "ignore_eos": True, **more}
    return Settings(data=str(data), engines={"openvino": options})


async def run_batch(house: House, asked: Iterable[Prompt]) -> Figures:
    """Submit one batch and wait for its end."""
    order = Order(
        display_name="bench", priority=0, file_name=None, inline=tuple(map(inline_item, asked))
    )
    batch, seconds = await run_to_its_end(house, MODEL, order)
    return Figures(batch.tally.succeeded, batch.tally.output_tokens, seconds)


async def run_alone(house: House, asked: Iterable[Prompt]) -> Figures:
    """Answer live requests, one after the other."""
    model = house.models.resolve(MODEL)
    count = tokens = 0
    started = time.perf_counter()
    for prompt in asked:
        outcome = await house.executor.live(model, prompt)
        assert isinstance(outcome, Reply), outcome
        count, tokens = count + 1, tokens + outcome.usage.output_tokens
    return Figures(count, tokens, time.perf_counter() - started)


async def measure(
    concurrency: int, requests: int, rounds: int, load: Load
) -> dict[str, list[Figures]]:
    """Measure all three ways, in turns."""
    options = OpenVINOOptions(requests=concurrency, ignore_eos=True)
    prepared = await asyncio.to_thread(
        weights.prepare, options.model, cache_directory(options.cache_directory)
    )
    setup = setup_of(options, prepared)
    found: dict[str, list[Figures]] = {"plain": [], "batch": [], "alone": []}
    few = max(6, requests // 10)
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as folder:
        house = open_house(settings(Path(folder), concurrency))
        try:
            async with plain_loop(setup, "fast") as plain, house.working():
                await house.engines_settled()
                await run_alone(house, itertools.islice(prompts(0, "fast"), 2))
                for number in range(rounds):
                    # Different prompts in every pass: none is answered from another one's cache.
                    first = (number + 1) * 1_000_000
                    before = await plain.run(first, requests, load)
                    asked = itertools.islice(prompts(first, "fast", load), requests)
                    found["batch"].append(await run_batch(house, asked))
                    after = await plain.run(first + 500_000, requests, load)
                    found["plain"].append(before.and_then(after))
                    asked = itertools.islice(prompts(first + requests, "fast", load), few)
                    found["alone"].append(await run_alone(house, asked))
                    for name, passes in found.items():
                        tell(number, rounds, name, passes[-1].speed)
        finally:
            await house.close()
    return found


def ratio(found: dict[str, list[Figures]], above: str, below: str) -> float:
    """Give the median over the rounds of one way's speed over another's in the same round."""
    pairs = zip(found[above], found[below], strict=True)
    return statistics.median(a.tokens_per_second / b.tokens_per_second for a, b in pairs)


def print_speeds(found: dict[str, list[Figures]]) -> None:
    """Print how fast each way was, in all rounds."""
    for name, passes in found.items():
        speeds = [one.tokens_per_second for one in passes]
        each = "  ".join(f"{speed:.0f}" for speed in speeds)
        print(f"  {name:6} {statistics.median(speeds):7.1f} tokens/s   (rounds: {each})")


def report(concurrency: int, requests: int, rounds: int, load: Load = USUAL) -> None:
    """Measure and print."""
    found = uvloop.run(measure(concurrency, requests, rounds, load))
    print(
        f"Embedded engine: {requests} requests, {load.prompt_tokens} prompt and"
        f" {load.output_tokens} output tokens, {concurrency} at once; {rounds} rounds, in turns"
    )
    print_speeds(found)
    print(f"  batch / plain  {ratio(found, 'batch', 'plain'):.3f}   (wanted: at least 0.95)")
    wanted = _GAINS.get(load)
    told = "" if wanted is None else f"    (wanted: at least {wanted})"
    print(f"  batch / alone  {ratio(found, 'batch', 'alone'):.2f}{told}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--prompt-tokens", type=int, default=PROMPT_TOKENS)
    parser.add_argument("--output-tokens", type=int, default=OUTPUT_TOKENS)
    wanted = parser.parse_args()
    load = Load(wanted.prompt_tokens, wanted.output_tokens)
    report(wanted.concurrency, wanted.requests, wanted.rounds, load)


if __name__ == "__main__":
    main()
