"""What it gains that requests which begin alike are read once.

Requests of a batch through the whole server, on the embedded engine, 32 tokens of their own and 32
tokens of answer after a beginning of 1,000 tokens, in turns:

* apart: every request has a beginning of its own;
* shared: all of them begin alike, or with one of some beginnings, interleaved.

Fewer requests run apart, since each takes as long as any other. Run with
``python -m bench.prefixes``.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop
from msgspec import Struct

from bench.batch import run_batch, settings
from bench.engine import WORDS, Figures, Load, prompts
from bench.passes import tell
from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.engines.openvino import OpenVINOEngine
from nightrate.runtime import open_house

CONCURRENCY = 32
BEGINNING_WORDS = 1_000
OWN = Load(64, 32)
"""What comes after the beginning; the template's tokens among it."""


class Case(Struct, frozen=True):
    """How many requests share how many beginnings, how many run apart, and what is wanted."""

    requests: int
    beginnings: int
    apart: int
    gain_min: float
    cache_gib: int = 2


SHARED = Case(100, 1, 16, 4)
INTERLEAVED = Case(400, 10, 16, 3)
MANY = Case(360, 120, 16, 2, cache_gib=1)
"""More beginnings than the attention cache holds: only their order lets them be reused."""


def _beginning(number: int) -> str:
    words = (
        WORDS[(number * 11 + at * at * 3 + at * (number % 7 + 1)) % len(WORDS)]
        for at in range(BEGINNING_WORDS - 1)
    )
    return f"{number} {' '.join(words)}"


def asked(first: int, requests: int, beginnings: int) -> Iterator[Prompt]:
    """Give different prompts that begin, one after the other, with each of some beginnings."""
    sampling = Sampling(max_output_tokens=OWN.output_tokens)
    kept = [_beginning(first + number) for number in range(beginnings)]
    own = prompts(first, "fast", OWN)
    for beginning, prompt in zip(
        itertools.cycle(kept), itertools.islice(own, requests), strict=False
    ):
        text = f"{beginning} {prompt.messages[0].text}"
        yield Prompt(messages=(Message("user", text),), sampling=sampling)


async def measure(case: Case, rounds: int) -> dict[str, list[Figures]]:
    """Measure both ways, in turns."""
    found: dict[str, list[Figures]] = {"apart": [], "shared": []}
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as folder:
        house = open_house(settings(Path(folder), CONCURRENCY, kv_cache_gib=case.cache_gib))
        try:
            async with house.working():
                await house.engines_settled()
                await run_batch(house, itertools.islice(prompts(0, "fast"), 4))
                for number in range(rounds):
                    first = (number + 1) * 1_000_000
                    apart = asked(first, case.apart, case.apart)
                    found["apart"].append(await run_batch(house, apart))
                    shared = asked(first + 1_000, case.requests, case.beginnings)
                    found["shared"].append(await run_batch(house, shared))
                    for name, passes in found.items():
                        tell(number, rounds, name, passes[-1].speed)
        finally:
            await house.close()
    return found


def report(case: Case, rounds: int) -> None:
    """Measure and print."""
    found = uvloop.run(measure(case, rounds))
    print(
        f"Prefixes: {case.requests} requests with {case.beginnings} beginnings of"
        f" {BEGINNING_WORDS:,} tokens, {case.apart} with one each; {rounds} rounds, in turns"
    )
    rates = {name: [one.requests / one.seconds for one in passes] for name, passes in found.items()}
    for name, each in rates.items():
        told = "  ".join(f"{rate:.2f}" for rate in each)
        print(f"  {name:6} {statistics.median(each):7.2f} requests/s   (rounds: {told})")
    gain = statistics.median(
        shared / apart for shared, apart in zip(rates["shared"], rates["apart"], strict=True)
    )
    print(f"  shared / apart  {gain:.2f}   (wanted: at least {case.gain_min:g})")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    cases = parser.add_mutually_exclusive_group()
    cases.add_argument("--interleaved", action="store_true", help="ten beginnings, in turns")
    cases.add_argument(
        "--many", action="store_true", help="more beginnings than the cache holds, in turns"
    )
    parser.add_argument(
        "--arrival-order", action="store_true", help="leave the requests in the order they came"
    )
    wanted = parser.parse_args()
    if wanted.arrival_order:
        OpenVINOEngine.reuses_beginnings = False
    case = INTERLEAVED if wanted.interleaved else MANY if wanted.many else SHARED
    report(case, wanted.rounds)


if __name__ == "__main__":
    main()
