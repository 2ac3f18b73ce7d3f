"""Tokens of what was looked up are told apart from those of the prompt."""

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.generation import Message, Prompt, Reply, Usage
from nightrate.domain.grounding import LookupWish
from nightrate.engines.base import Engine
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import EngineDown
from nightrate.service.execute import Executor
from nightrate.service.grounding import Grounder
from nightrate.service.lane import Lane
from nightrate.service.models import Models
from tests.service.lanes import lane_of
from tests.service.test_grounding import Found

MODEL = Models({"*": "echo"}).resolve("m")
BARE = Prompt(messages=(Message("user", "Who won?"),), system="Be brief.")
ASKED = msgspec.structs.replace(BARE, lookup=LookupWish("tools[0].googleSearch"))
BARE_TOKENS = 2 + 3
"""A token of `echo` is four characters."""


class Endpoint(EchoEngine):
    """Counts by asking somebody."""

    counts_itself = False

    async def count_tokens(self, prompt: Prompt) -> int:  # noqa: ARG002 - as the engine's
        raise AssertionError


class Ending(EchoEngine):
    """Ends when it has answered."""

    async def count_tokens(self, prompt: Prompt) -> int:  # noqa: ARG002 - as the engine's
        raise EngineDown("It ended.")


class Reusing(EchoEngine):
    """Reuses nearly all of each prompt."""

    stream = Engine.stream

    async def generate(self, prompt: Prompt) -> Reply:
        reply = await super().generate(prompt)
        usage = reply.usage
        reused = Usage(usage.prompt_tokens, usage.output_tokens, usage.prompt_tokens - 4)
        return msgspec.structs.replace(reply, usage=reused)


async def usage_of(lane: Lane) -> Usage:
    """Ask, live and streamed, and give what both say was used."""
    executor = Executor({"echo": lane}, grounder=Grounder(Found()))
    reply = await executor.live(MODEL, ASKED)
    assert isinstance(reply, Reply)
    *_, streamed = [piece async for piece in executor.stream(MODEL, ASKED)]
    assert streamed == reply
    return reply.usage


async def test_an_engine_that_counts_itself_counts_the_prompt_without_it() -> None:
    async with lane_of() as lane:
        usage = await usage_of(lane)
    assert usage.prompt_tokens - usage.lookup_tokens == BARE_TOKENS
    assert usage.lookup_tokens > 0


@pytest.mark.parametrize("engine", [Endpoint, Ending])
async def test_else_it_is_its_share_of_the_bytes(engine: type[EchoEngine]) -> None:
    async with lane_of() as lane:
        exact = await usage_of(lane)
    async with lane_of(engine(EchoOptions())) as lane:
        usage = await usage_of(lane)
    assert usage.prompt_tokens == exact.prompt_tokens
    assert usage.lookup_tokens == pytest.approx(exact.lookup_tokens, abs=1)


async def test_what_was_reused_counts_as_the_prompts_own() -> None:
    async with lane_of(Reusing(EchoOptions())) as lane:
        usage = await usage_of(lane)
    assert usage.lookup_tokens == 4
