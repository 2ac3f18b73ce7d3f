"""What a batch costs beside live requests, measured on this machine with one's own model.

The same kind of requests is answered twice through the rooms of the server: one after the other,
as a single client would ask them live, and as a batch. The engine is busy all the time in both, so
the time that a token of the answer takes is what it costs.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from nightrate import clock, limits
from nightrate.domain.batch import Batch, Order
from nightrate.domain.generation import Failure, Message, Prompt, Sampling
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.engines.base import Progress
from nightrate.errors import Fault
from nightrate.runtime import House, open_house
from nightrate.settings import Settings

TENANT = "default"

WORDS = (
    *("river", "stone", "lamp", "garden", "winter", "bread", "ship", "letter", "bridge", "market"),
    *("forest", "window", "harbour", "clock", "mountain", "teacher", "engine", "paper", "silver"),
)

_LOOK_SECONDS = 0.25
"""Between two looks at a batch, for those who watch; its server's own clock times it. Fifty looks a
second took the engine three hundredths of two cores."""

Watch = Callable[[str, int, int], None]
"""Told what is measured, how many requests that has, and how many of them are answered."""


class Load(Struct, frozen=True):
    """What is asked: so many requests in a batch and live, in rounds, and how long each is."""

    batch_requests: int
    live_requests: int
    rounds: int
    prompt_words: int
    output_tokens: int


class Rate(Struct, rename="camel"):
    """What was answered on one way, all rounds together."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens of answers over the time of all, the reading of prompts included."""
        return self.output_tokens / self.seconds


class Measured(Struct):
    """Both ways, and what really ran."""

    model: str
    model_version: str
    live: Rate
    batch: Rate

    @property
    def batch_price(self) -> float:
        """The time that a token of an answer takes in a batch, as a share of that of a live one."""
        return self.live.tokens_per_second / self.batch.tokens_per_second


class NotMeasured(Fault):
    """The engine cannot run here, or answers with failures."""


async def measure(
    settings: Settings, model: str, load: Load, *, progress: Progress, watch: Watch
) -> Measured:
    """Measure both ways, in turns, so that a noisy machine hurts them alike.

    Args:
        settings: engines and models; ``data`` is replaced by a directory for the moment.
        model: the served name to measure.
        load: what is asked.
        progress: told what opening engines are doing.
        watch: told how far it is.

    Raises:
        NotMeasured: the engine cannot run here, or a request failed.
        NotFound: no engine serves the model.
    """
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as folder:
        free = {"file_storage_bytes_max": limits.FILE_BYTES_MAX, "enqueued_tokens_max": {}}
        data = str(Path(folder) / "data")
        house = open_house(msgspec.structs.replace(settings, data=data, **free))
        try:
            async with house.working(progress):
                return await _measure(house, model, load, watch)
        finally:
            await house.close()


async def _measure(house: House, model: str, load: Load, watch: Watch) -> Measured:
    lane = house.lanes[house.models.resolve(model).engine]
    lane.demand()
    await house.engines_settled()
    await lane.wait_open(limits.OPENING_PATIENCE_SECONDS)
    if lane.fault is not None:
        raise NotMeasured(lane.fault.message)
    found = Measured(model, "", Rate(), Rate())
    prompts = _prompts(load)
    await _ask(house, found, next(prompts), Rate())  # what is loaded late is loaded now
    for turn in range(load.rounds):
        round_name = f"round {turn + 1} of {load.rounds}"
        for number in range(load.live_requests):
            watch(f"{round_name}, one at a time", load.live_requests, number)
            await _ask(house, found, next(prompts), found.live)
        asked = list(itertools.islice(prompts, load.batch_requests))
        tell = partial(watch, f"{round_name}, as a batch", load.batch_requests)
        await _run(house, found, asked, tell)
    return found


def _prompts(load: Load) -> Iterator[Prompt]:
    """Give prompts without end; each begins with a number, so that none is read from a cache."""
    sampling = Sampling(max_output_tokens=load.output_tokens)
    for number in itertools.count():
        words = (WORDS[(number + at * (at + 3)) % len(WORDS)] for at in range(load.prompt_words))
        text = f"{number}. Tell a story of these: {', '.join(words)}."
        yield Prompt(messages=(Message("user", text),), sampling=sampling)


async def _ask(house: House, found: Measured, prompt: Prompt, rate: Rate) -> None:
    """Answer one live request, and add it to a rate."""
    model = house.models.resolve(found.model)
    started = clock.monotonic()
    reply = await house.executor.live(model, prompt)
    rate.seconds += clock.monotonic() - started
    if isinstance(reply, Failure):
        raise NotMeasured(f"A live request failed: {reply.message}")
    found.model_version = reply.model_version
    rate.requests += 1
    rate.prompt_tokens += reply.usage.prompt_tokens
    rate.output_tokens += reply.usage.output_tokens


async def _run(
    house: House, found: Measured, asked: list[Prompt], watch: Callable[[int], None]
) -> None:
    """Answer a batch, from its creation to its end."""
    order = Order(
        display_name=None, priority=0, file_name=None, inline=tuple(map(inline_item, asked))
    )
    batch, seconds = await run_to_its_end(house, found.model, order, watch)
    rate = found.batch
    rate.seconds += seconds
    rate.requests += batch.tally.succeeded
    rate.prompt_tokens += batch.tally.prompt_tokens
    rate.output_tokens += batch.tally.output_tokens


def _watch_nothing(_succeeded: int) -> None:
    """Look away."""


async def run_to_its_end(
    house: House, model: str, order: Order, watch: Callable[[int], None] = _watch_nothing
) -> tuple[Batch, float]:
    """Have a batch answered; gives it, and its seconds by the server's own clock.

    Args:
        house: the server.
        model: the served name.
        order: what is asked.
        watch: told now and then how many requests are answered.

    Raises:
        NotMeasured: it failed, or a request of it.
    """
    batch = await house.batches.submit(TENANT, model, order)
    while batch.state not in FINAL_STATES:
        watch(batch.tally.succeeded)
        await clock.sleep(_LOOK_SECONDS)
        batch = await house.batches.get(TENANT, batch.batch_id)
    if batch.state is not BatchState.SUCCEEDED or batch.tally.failed:
        why = batch.failure.message if batch.failure else f"{batch.tally.failed} requests failed"
        raise NotMeasured(f"The batch was not answered: {why}")
    assert batch.ended_at is not None, "it has ended"
    return batch, clock.seconds_between(batch.created_at, batch.ended_at)


def inline_item(prompt: Prompt) -> bytes:
    """Write a prompt as an inline request."""
    content = {"role": "user", "parts": [{"text": prompt.messages[0].text}]}
    config = {"maxOutputTokens": prompt.sampling.max_output_tokens}
    return msgspec.json.encode({"request": {"contents": [content], "generationConfig": config}})
