"""The engine's time is shared by whoever is inside, over all tries of each."""

from __future__ import annotations

import asyncio

import pytest

from nightrate.domain.generation import Candidate, Capability, Message, Prompt, Reply, Usage
from nightrate.engines.base import Capacity, Engine, Progress, ignore_progress
from nightrate.errors import Code, RequestFailed
from nightrate.service.lane import Lane
from nightrate.service.places import Meter

REPLY = Reply((Candidate("yes"),), Usage(1, 1), "m")
BUSY = RequestFailed("Busy.", code=Code.UNAVAILABLE, retriable=True)


def prompt(text: str) -> Prompt:
    return Prompt(messages=(Message("user", text),))


class Gates(Engine):
    """Answers each prompt when its gate is opened, or refuses it the first time."""

    name = "gates"

    def __init__(self) -> None:
        self.gates = {name: asyncio.Event() for name in ("row", "live")}
        self.refuses = ["row"]
        self.inside: list[str] = []

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.TEXT})

    @property
    def capacity(self) -> Capacity:
        return Capacity(4)

    async def open(self, progress: Progress = ignore_progress) -> None:
        progress("opening", None)

    async def close(self) -> None:
        """Nothing is open."""

    async def ready(self) -> None:
        """It always is."""

    async def count_tokens(self, prompt: Prompt) -> int:
        return len(prompt.messages)

    async def generate(self, prompt: Prompt) -> Reply:
        text = prompt.messages[-1].text
        self.inside.append(text)
        await self.gates[text].wait()
        self.inside.remove(text)
        if text in self.refuses:
            self.refuses.remove(text)
            raise BUSY
        return REPLY


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_engines_time_is_shared_by_those_inside_over_all_their_tries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    now = 100.0
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: now)
    monkeypatch.setattr("nightrate.clock.sleep", no_sleep)
    engine = Gates()
    lane = Lane("gates", engine)
    meter = Meter()
    row = asyncio.create_task(lane.outcome(prompt("row"), meter=meter))
    await settle()
    now += 4  # the row alone
    live = asyncio.create_task(lane.outcome(prompt("live"), live=True))
    await settle()
    now += 2  # both
    engine.gates["row"].set()
    engine.gates["row"] = asyncio.Event()
    await settle()
    assert engine.inside == ["live", "row"]  # its second try
    assert meter.seconds == 4 + 2 / 2
    now += 6  # both
    engine.gates["live"].set()
    assert await live == REPLY
    now += 1  # the row alone
    engine.gates["row"].set()
    assert await row == REPLY
    assert meter.seconds == 4 + 2 / 2 + 6 / 2 + 1
