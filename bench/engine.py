"""What the embedded engine's process boundary costs, and what its batching gains.

Three ways to answer requests of 64 prompt tokens and 64 output tokens with the same model and the
same settings, taken in turns so that a noisy machine hurts them alike:

* plain: the library's own pipeline, stepped in a bare loop in a process of its own;
* engine: `OpenVINOEngine` through its child process, as many at once as the plain loop;
* alone: the same engine, one request at a time.

Run with ``python -m bench.engine``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.engines import weights
from nightrate.engines.likelihood import Mode
from nightrate.engines.openvino import OpenVINOEngine, OpenVINOOptions, setup_of
from nightrate.engines.openvino_model import Model, ModelSetup
from nightrate.engines.packages import cache_directory

PROMPT_TOKENS = 64
OUTPUT_TOKENS = 64
ROUNDS = 3

_TEMPLATE_TOKENS = 37

WORDS = [
    *("river", "stone", "lamp", "garden", "winter", "bread", "ship", "letter", "bridge", "market"),
    *("forest", "window", "harbour", "clock", "mountain", "teacher", "engine", "paper", "silver"),
    *("orchard", "village", "thunder", "candle", "meadow", "anchor", "copper"),
]
"""26 common words, one token each with the space before."""


class Figures(Struct, frozen=True):
    """One pass: how many requests, the tokens they made, and the wall time of all of them."""

    requests: int
    output_tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens over wall time, reading the prompts included."""
        return self.output_tokens / self.seconds

    @property
    def speed(self) -> str:
        """Give it in words."""
        return f"{self.tokens_per_second:.1f} tokens/s"

    def and_then(self, other: Figures) -> Figures:
        """Give two passes as one."""
        return Figures(
            self.requests + other.requests,
            self.output_tokens + other.output_tokens,
            self.seconds + other.seconds,
        )


class Load(Struct, frozen=True):
    """How long the prompts of a benchmark are, and their answers."""

    prompt_tokens: int = PROMPT_TOKENS
    output_tokens: int = OUTPUT_TOKENS


USUAL = Load()


class Pass(Struct, frozen=True):
    """What the plain loop is asked to do once: one line of its standard input."""

    first: int
    requests: int
    load: Load = USUAL


class Results(Struct, frozen=True):
    """All passes, in rounds."""

    concurrency: int
    mode: Mode
    plain: list[Figures]
    engine: list[Figures]
    alone: list[Figures]

    def ratio(self, above: str, below: str) -> float:
        """Give the median over the rounds of one way's speed over another's in the same round."""
        pairs: Iterable[tuple[Figures, Figures]]
        pairs = zip(getattr(self, above), getattr(self, below), strict=True)
        return statistics.median(a.tokens_per_second / b.tokens_per_second for a, b in pairs)


def prompts(first: int, mode: Mode, load: Load = USUAL) -> Iterator[Prompt]:
    """Give different prompts without end; their length is about that, with the chat template."""
    sampling = Sampling(max_output_tokens=load.output_tokens, seed=7 if mode == "exact" else None)
    words = load.prompt_tokens - _TEMPLATE_TOKENS
    for number in itertools.count(first):
        picked = [WORDS[(number * 7 + at * at * 5 + at) % len(WORDS)] for at in range(words)]
        text = f"{number} {' '.join(picked)}"
        yield Prompt(messages=(Message("user", text),), sampling=sampling)


def run_plain(model: Model, pipeline: Any, asked: Iterable[Prompt], concurrency: int) -> Figures:
    """Answer prompts in the barest loop there is: encode, add, step, read."""
    waiting = list(asked)[::-1]
    requests, tokens, numbers = len(waiting), 0, itertools.count(1)
    live: dict[int, Any] = {}
    started = time.perf_counter()
    while waiting or live:
        while waiting and len(live) < concurrency:
            prompt = waiting.pop()
            encoded = model.encode(prompt)
            config = model.config(prompt, encoded.tokens, 8192)
            number = next(numbers)
            live[number] = pipeline.add_request(number, encoded.ids, config)
        pipeline.step()
        for number, handle in list(live.items()):
            if handle.get_status() != model.running:
                ids = list(handle.read_all()[0].generated_ids)
                model.decode(ids)
                tokens += len(ids)
                del live[number]
    return Figures(requests, tokens, time.perf_counter() - started)


async def run_engine(engine: OpenVINOEngine, asked: Iterable[Prompt], concurrency: int) -> Figures:
    """Answer prompts through the engine, always so many in flight."""
    waiting = iter(list(asked))
    tokens: list[int] = []

    async def one_after_the_other() -> None:
        for prompt in waiting:
            reply = await engine.generate(prompt)
            tokens.append(reply.usage.output_tokens)

    started = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(concurrency)))
    return Figures(len(tokens), sum(tokens), time.perf_counter() - started)


def serve_plain(setup: ModelSetup, mode: Mode) -> None:
    """Be the process of the plain loop: one pass for each line of standard input."""
    model = Model(setup)
    pipeline, _ = model.pipeline(mode)
    run_plain(model, pipeline, itertools.islice(prompts(0, mode), 2), 2)
    print("ready", flush=True)
    for line in sys.stdin:
        wanted = msgspec.json.decode(line, type=Pass)
        asked = itertools.islice(prompts(wanted.first, mode, wanted.load), wanted.requests)
        figures = run_plain(model, pipeline, asked, setup.requests)
        print(msgspec.json.encode(figures).decode(), flush=True)


class PlainLoop:
    """The plain loop in its process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, first: int, requests: int, load: Load = USUAL) -> Figures:
        """Have it make one pass."""
        assert self._process.stdin
        self._process.stdin.write(msgspec.json.encode(Pass(first, requests, load)) + b"\n")
        return msgspec.json.decode(await self.line(), type=Figures)

    async def line(self) -> bytes:
        """Give its next line."""
        assert self._process.stdout
        return await self._process.stdout.readline()


@asynccontextmanager
async def plain_loop(setup: ModelSetup, mode: Mode) -> AsyncIterator[PlainLoop]:
    """Start the plain loop's process, and end it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.engine", "--plain", msgspec.json.encode(setup), mode),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        loop = PlainLoop(process)
        await loop.line()
        yield loop
    finally:
        process.kill()
        await process.communicate()


@asynccontextmanager
async def opened(options: OpenVINOOptions, mode: Mode) -> AsyncIterator[OpenVINOEngine]:
    """Open the engine, warm it up, and close it."""
    engine = OpenVINOEngine(options)
    await engine.open()
    try:
        await run_engine(engine, itertools.islice(prompts(0, mode), 2), 2)
        yield engine
    finally:
        await engine.close()


async def measure(concurrency: int, requests: int, rounds: int, mode: Mode) -> Results:
    """Measure all three ways, in turns."""
    options = OpenVINOOptions(requests=concurrency, ignore_eos=True)
    prepared = await asyncio.to_thread(
        weights.prepare, options.model, cache_directory(options.cache_directory)
    )
    setup = setup_of(options, prepared)
    results = Results(concurrency, mode, [], [], [])
    few = max(6, requests // 10)
    async with plain_loop(setup, mode) as plain, opened(options, mode) as engine:
        for number in range(rounds):
            # Different prompts in every pass: none is answered from another one's cache.
            first = (number + 1) * 1_000_000
            results.plain.append(await plain.run(first, requests))
            asked = itertools.islice(prompts(first, mode), requests)
            results.engine.append(await run_engine(engine, asked, engine.capacity.requests))
            asked = itertools.islice(prompts(first + requests, mode), few)
            results.alone.append(await run_engine(engine, asked, 1))
    return results


def table(results: Results) -> str:
    """Write the results for a person."""
    sizes = f"{PROMPT_TOKENS} prompt and {OUTPUT_TOKENS} output tokens"
    lines = [
        f"{results.concurrency} at once, {results.mode} mode, {sizes}",
        f"{'':8} {'requests/s':>10} {'tokens/s':>9}   tokens/s in each round",
    ]
    for name in ("plain", "engine", "alone"):
        passes: list[Figures] = getattr(results, name)
        speeds = [one.tokens_per_second for one in passes]
        per_second = statistics.median(one.requests / one.seconds for one in passes)
        each = "  ".join(f"{speed:.0f}" for speed in speeds)
        lines.append(f"{name:8} {per_second:10.2f} {statistics.median(speeds):9.1f}   {each}")
    lines.append(f"engine / plain  {results.ratio('engine', 'plain'):.3f}")
    lines.append(f"engine / alone  {results.ratio('engine', 'alone'):.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--plain"]:
        mode: Mode = "exact" if sys.argv[3] == "exact" else "fast"
        serve_plain(msgspec.json.decode(sys.argv[2], type=ModelSetup), mode)
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--mode", choices=["fast", "exact"], default="fast")
    wanted = parser.parse_args()
    results = asyncio.run(measure(wanted.concurrency, wanted.requests, wanted.rounds, wanted.mode))
    print(table(results))


if __name__ == "__main__":
    main()
