"""A runner at work on a workshop's batches, with an engine that does what a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nightrate import limits
from nightrate.domain.generation import Candidate, Capability, Prompt, Reply, Usage
from nightrate.engines.base import Capacity, Engine, Progress, ignore_progress
from nightrate.errors import EngineDown
from nightrate.service.execute import Executor
from nightrate.service.grounding import Grounder
from nightrate.service.lane import Lane
from nightrate.work.runner import Runner
from tests.work.workshop import Workshop

TURNS_MAX = 20_000


class ScriptedEngine(Engine):
    """Answers with the question; holds, fails and goes down as it is told."""

    name = "scripted"

    def __init__(self, requests: int = 4) -> None:
        self._capacity = Capacity(requests)
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.inside: set[str] = set()
        self.most_inside = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.faults: dict[str, list[Exception]] = {}
        self.running = False
        self.given_up = False
        self.opened = 0

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.TEXT})

    @property
    def capacity(self) -> Capacity:
        return self._capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        progress("opening", None)
        if self.given_up:
            raise EngineDown("It does not start.")
        self.running = True
        self.opened += 1

    async def close(self) -> None:
        self.running = False

    async def ready(self) -> None:
        if self.given_up or not self.running:
            raise EngineDown("It has given up.")

    async def count_tokens(self, prompt: Prompt) -> int:
        return len(prompt.messages[-1].text)

    def hold(self, *texts: str) -> None:
        """Answer these only when they are let go."""
        for text in texts:
            self.gates[text] = asyncio.Event()

    def let_go(self) -> None:
        """Answer everything that is held, now and later."""
        for gate in self.gates.values():
            gate.set()

    async def generate(self, prompt: Prompt) -> Reply:
        text = prompt.messages[-1].text
        self.asked[text] += 1
        if self.given_up or not self.running:
            raise EngineDown("It has given up.")
        self.inside.add(text)
        self.most_inside = max(self.most_inside, len(self.inside))
        try:
            if text in self.gates:
                await self.gates[text].wait()
            for _ in range(len(text) % 3):
                await asyncio.sleep(0)
            if self.faults.get(text):
                raise self.faults[text].pop(0)
            if self.given_up:
                raise EngineDown("It has given up.", in_flight=True)
        finally:
            self.inside.discard(text)
        self.answered[text] += 1
        return Reply((Candidate(text),), Usage(2, 3, 1), "scripted-1")


class Waits:
    """Stands in for `clock.sleep`: nobody waits, except the journals for `tick`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        self._tick = asyncio.Event()
        self.monotonic = 0.0
        patch.setattr("nightrate.clock.sleep", self.sleep)
        patch.setattr("nightrate.clock.jitter", lambda: 1.0)
        patch.setattr("nightrate.clock.monotonic", lambda: self.monotonic)

    async def sleep(self, seconds: float) -> None:
        if seconds == limits.JOURNAL_SYNC_SECONDS:
            await self._tick.wait()
            self._tick.clear()
            return
        if seconds:
            self.slept.append(seconds)
        await asyncio.sleep(0)

    async def tick(self, seconds: float = 0.0) -> None:
        """Let so much time pass, and the journals be synced."""
        self.monotonic += seconds
        self._tick.set()
        for _ in range(50):
            await asyncio.sleep(0)


def keys(count: int) -> list[str]:
    """Name the keys of numbered lines."""
    return [str(number) for number in range(count)]


def refuse_once(patch: pytest.MonkeyPatch, where: Callable[[Path], bool]) -> list[Path]:
    """Let the disk refuse the first sync of a file that fits."""
    refused: list[Path] = []
    sync = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not refused and where(path):
            refused.append(path)
            raise OSError(errno.EIO, "the disk refuses")
        sync(descriptor)

    patch.setattr(os, "fdatasync", fdatasync)
    return refused


def fail_once(patch: pytest.MonkeyPatch, holder: object, name: str, error: Exception) -> list[int]:
    """Let a call fail the first time."""
    calls: list[int] = []
    real: Any = getattr(holder, name)

    async def call(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return await real(*arguments)

    patch.setattr(holder, name, call)
    return calls


async def until(true: Callable[[], object]) -> None:
    """Let the others work until something is true."""
    for _ in range(TURNS_MAX):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


class Site:
    """A runner and its lane."""

    def __init__(
        self, shop: Workshop, engine: Engine, owner: str, grounder: Grounder | None
    ) -> None:
        self.shop = shop
        self.lane = Lane("scripted", engine)
        self.runner = Runner(
            self.lane,
            Executor({"scripted": self.lane}, grounder=grounder),
            shop.store,
            shop.blobs,
            serves=lambda model: model != "other",
            owner=owner,
        )

    async def ended(self, batch_id: str = "b1") -> None:
        """Let them work until a batch has ended."""
        for _ in range(TURNS_MAX):
            if (await self.shop.batch(batch_id)).ended_at is not None:
                return
            self.runner.wake()
            await asyncio.sleep(0)
        raise AssertionError("the batch did not end")


@asynccontextmanager
async def working(
    shop: Workshop, engine: Engine, owner: str = "one", grounder: Grounder | None = None
) -> AsyncIterator[Site]:
    """Let a runner work while the block runs; what ends it early is raised."""
    site = Site(shop, engine, owner, grounder)
    tasks = [
        asyncio.create_task(site.lane.keep_open()),
        asyncio.create_task(site.runner.run()),
    ]
    try:
        yield site
    finally:
        broken = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert not broken
