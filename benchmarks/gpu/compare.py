"""What a batch through Nightrate costs over vLLM's own offline loop, on a machine with a GPU.

The same model and the same prompts, every answer of the same length, on four ways:

* offline: ``LLM.generate`` over all prompts, vLLM's own way for many;
* engine: a batch through the whole server (planned, journaled, sealed) with the engine ``vllm``;
* alone: live requests through that server, one at a time;
* served: such a batch with the engine ``openai``, which asks a ``vllm serve`` on this machine.

One after the other, each in processes of its own, because each takes the memory of the whole GPU;
the passes of one way follow each other, with other prompts each time. Run with
``python benchmarks/gpu/compare.py --model NAME``; ``README.md`` beside this file says more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from nightrate import clock
from nightrate.domain.batch import Order
from nightrate.domain.generation import Message, Prompt, Reply, Sampling
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.engines.vllm import VLLMOptions, setup_of
from nightrate.engines.vllm_model import arguments_of
from nightrate.measure import TENANT, WORDS, inline_item
from nightrate.runtime import House, open_house
from nightrate.settings import Settings

NAME = "gemini-bench"
"""What the server calls the model."""

WANTED = 0.95
WARM_UP_REQUESTS = 8
ALONE_REQUESTS_MAX = 20

_LOOK_SECONDS = 0.05
_SERVE_SECONDS = 1800


class Wanted(Struct, frozen=True):
    """What is measured: the command line."""

    model: str
    requests: int
    rounds: int
    prompt_words: int
    output_tokens: int
    concurrency: int
    options: dict[str, Any] = {}
    """More options of the engine ``vllm``, by name."""


class Figures(Struct, frozen=True):
    """One pass: how many requests, the tokens they made, and the wall time of all of them."""

    requests: int
    output_tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens over wall time, reading the prompts included."""
        return self.output_tokens / self.seconds


def prompts(wanted: Wanted, way: str, number: int, count: int) -> list[Prompt]:
    """Give prompts that no other pass has, so that none is answered from another one's cache."""
    chance = clock.repeatable(f"{way} {number}".encode())
    sampling = Sampling(temperature=1.0, max_output_tokens=wanted.output_tokens)
    texts = (" ".join(chance.choices(WORDS, k=wanted.prompt_words)) for _ in range(count))
    return [
        Prompt(messages=(Message("user", f"Go on with this: {text}"),), sampling=sampling)
        for text in texts
    ]


def engine_options(wanted: Wanted) -> dict[str, Any]:
    """Give the options of the engine ``vllm``."""
    return {
        "model": wanted.model,
        "requests": wanted.concurrency,
        "ignore_eos": True,
        **wanted.options,
    }


def offline(wanted: Wanted) -> list[Figures]:
    """Measure vLLM's own loop, with the arguments that the engine gives it. In a child process."""
    from vllm import LLM, SamplingParams  # noqa: PLC0415 - where this way is measured only

    options = VLLMOptions(**engine_options(wanted))
    llm: Any = LLM(**arguments_of(setup_of(options)))
    params = SamplingParams(
        temperature=1.0,
        top_p=0.95,
        top_k=64,
        max_tokens=wanted.output_tokens,
        ignore_eos=True,
    )

    def one(number: int, count: int) -> Figures:
        asked = prompts(wanted, "offline", number, count)
        talks = [[{"role": "user", "content": one.messages[0].text}] for one in asked]
        started = time.perf_counter()
        made = llm.chat(talks, params, use_tqdm=False)
        took = time.perf_counter() - started
        return Figures(len(made), sum(len(one.outputs[0].token_ids) for one in made), took)

    one(-1, WARM_UP_REQUESTS)
    return [one(number, wanted.requests) for number in range(wanted.rounds)]


def offline_apart(wanted: Wanted) -> list[Figures]:
    """Run `offline` in a process of its own, whose end gives the GPU back."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        words = [sys.executable, __file__, "--offline-into", file.name, *arguments(wanted)]
        subprocess.run(words, check=True, stdout=sys.stderr)
        return [Figures(**one) for one in json.load(file)]


async def batch(house: House, asked: list[Prompt]) -> Figures:
    """Submit one batch and wait for its end."""
    order = Order(
        display_name="bench", priority=0, file_name=None, inline=tuple(map(inline_item, asked))
    )
    started = time.perf_counter()
    made = await house.batches.submit(TENANT, NAME, order)
    while made.state not in FINAL_STATES:
        await asyncio.sleep(_LOOK_SECONDS)
        made = await house.batches.get(TENANT, made.batch_id)
    took = time.perf_counter() - started
    assert made.state is BatchState.SUCCEEDED, made.failure
    assert made.tally.failed == 0, f"{made.tally.failed} requests failed"
    return Figures(made.tally.succeeded, made.tally.output_tokens, took)


async def alone(house: House, asked: list[Prompt]) -> Figures:
    """Answer live requests, one after the other."""
    model = house.models.resolve(NAME)
    tokens = 0
    started = time.perf_counter()
    for prompt in asked:
        outcome = await house.executor.live(model, prompt)
        assert isinstance(outcome, Reply), outcome
        tokens += outcome.usage.output_tokens
    return Figures(len(asked), tokens, time.perf_counter() - started)


async def through_nightrate(
    wanted: Wanted, kind: str, options: dict[str, Any]
) -> dict[str, list[Figures]]:
    """Measure a batch, and live requests one at a time, through the server with some engine."""
    found: dict[str, list[Figures]] = {"batch": [], "alone": []}
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as folder:
        engines = {"measured": {"kind": kind, **options}}
        house = open_house(Settings(data=folder, models={NAME: "measured"}, engines=engines))
        try:
            async with house.working():
                await house.engines_settled()
                await batch(house, prompts(wanted, kind, -1, WARM_UP_REQUESTS))
                for number in range(wanted.rounds):
                    asked = prompts(wanted, kind, number, wanted.requests)
                    found["batch"].append(await batch(house, asked))
                    few = min(ALONE_REQUESTS_MAX, wanted.requests)
                    asked = prompts(wanted, f"{kind} alone", number, few)
                    found["alone"].append(await alone(house, asked))
        finally:
            await house.close()
    return found


@contextlib.contextmanager
def serving(wanted: Wanted, port: int, more: list[str]) -> Iterator[str]:
    """Run ``vllm serve`` with the same model; gives the address of its API."""
    words = ["vllm", "serve", wanted.model, "--port", str(port), "--served-model-name", NAME]
    words += ["--max-num-seqs", str(wanted.concurrency), *more]
    base_url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(words, stdout=sys.stderr, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + _SERVE_SECONDS
            while not _answers(f"{base_url}/health"):
                assert process.poll() is None, "vllm serve ended"
                assert time.monotonic() < deadline, "vllm serve is not ready"
                time.sleep(1)
            yield f"{base_url}/v1"
        finally:
            process.terminate()
            process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - an address of our own making
            return True
    except (urllib.error.URLError, OSError):
        return False


def served(wanted: Wanted, port: int, more: list[str]) -> list[Figures]:
    """Measure a batch through Nightrate that asks a ``vllm serve``.

    Answers may end before their limit there, so a pass counts the tokens that came.
    """
    with serving(wanted, port, more) as base_url:
        options = {
            "server": "vllm",
            "base_url": base_url,
            "model": NAME,
            "concurrency_max": wanted.concurrency,
            "live_requests": 0,  # There are none, and the others have all places, too.
        }
        return asyncio.run(through_nightrate(wanted, "openai", options))["batch"]


def report(wanted: Wanted, found: dict[str, list[Figures]]) -> None:
    """Print what was measured, and the ratios that count."""
    print(
        f"{wanted.model}: {wanted.requests} requests of {wanted.prompt_words} words,"
        f" {wanted.output_tokens} output tokens, {wanted.concurrency} at once;"
        f" {wanted.rounds} rounds"
    )
    middle = {}
    for way, passes in found.items():
        speeds = [one.tokens_per_second for one in passes]
        middle[way] = statistics.median(speeds)
        each = "  ".join(f"{speed:.0f}" for speed in speeds)
        print(f"  {way:8} {middle[way]:10.1f} tokens/s   (rounds: {each})")
    for above, below, goal in (
        ("engine", "offline", f"    (wanted: at least {WANTED})"),
        ("served", "offline", f"    (wanted: at least {WANTED})"),
        ("engine", "alone", ""),
    ):
        if above in middle and below in middle:
            print(f"  {above} / {below}  {middle[above] / middle[below]:.3f}{goal}")
    if "engine" in middle and "alone" in middle:
        share = middle["alone"] / middle["engine"]
        print(f"  a token of a batch costs {share:.3f} of one that is asked for alone")


def arguments(wanted: Wanted) -> list[str]:
    """Give the words of the command line that say what is measured."""
    words = [f"--model={wanted.model}", f"--options={json.dumps(wanted.options)}"]
    names = ("requests", "rounds", "prompt_words", "output_tokens", "concurrency")
    return words + [f"--{name.replace('_', '-')}={getattr(wanted, name)}" for name in names]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="a name at Hugging Face, or a folder")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt-words", type=int, default=200)
    parser.add_argument("--output-tokens", type=int, default=128)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--options", type=json.loads, default={}, help="of the engine, as JSON")
    parser.add_argument("--ways", default="offline,engine,served")
    parser.add_argument("--port", type=int, default=8123, help="of vllm serve")
    parser.add_argument("--serve-with", nargs="*", default=[], help="more words for vllm serve")
    parser.add_argument("--offline-into", help=argparse.SUPPRESS)
    said = parser.parse_args()
    wanted = Wanted(
        *(said.model, said.requests, said.rounds, said.prompt_words, said.output_tokens),
        said.concurrency,
        said.options,
    )
    if said.offline_into:
        figures = [
            {"requests": one.requests, "output_tokens": one.output_tokens, "seconds": one.seconds}
            for one in offline(wanted)
        ]
        Path(said.offline_into).write_text(json.dumps(figures), "utf-8")
        return
    ways = said.ways.split(",")
    found: dict[str, list[Figures]] = {}
    if "offline" in ways:
        found["offline"] = offline_apart(wanted)
    if "engine" in ways:
        both = asyncio.run(through_nightrate(wanted, "vllm", engine_options(wanted)))
        found |= {"engine": both["batch"], "alone": both["alone"]}
    if "served" in ways:
        found["served"] = served(wanted, said.port, said.serve_with)
    report(wanted, found)


if __name__ == "__main__":
    main()
