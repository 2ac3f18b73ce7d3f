"""Freeze an owner at each of its calls for longer than its lease, and wake it up later.

Two runners work on one store, as two servers would if one had been taken for dead. The first stops
before its N-th call to the disk or the database, as under SIGSTOP, until its lease has ended and
the other has claimed its shards; then it wakes up in the middle of the other's work, or when all is
done. Nothing that a reader saw may change, and every request has one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from nightrate import limits, planning_limits
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.service.execute import Executor
from nightrate.service.lane import Lane
from nightrate.store.blobs import Blobs
from nightrate.store.sqlite import SQLiteStore
from nightrate.work.runner import Runner
from tests.faults import clockwork
from tests.faults.campaign import Campaign, Figures
from tests.faults.checker import Directory, wrong_in_lines
from tests.faults.kill_points import scratch
from tests.work.workshop import Workshop, line

T = TypeVar("T")

REQUESTS = 11
FROZEN_SECONDS = limits.LEASE_SECONDS + 5
LOOK_SECONDS = 0.7
LOOK_SECONDS_MAX = 8.0
QUIET_SECONDS_MAX = 900.0


class Owner(Struct):
    """What came of a try, as the child tells it."""

    calls: int
    """Calls that the first owner made, the frozen one included."""
    frozen: bool
    overtaken: bool
    """Whether another had claimed its shard when it woke up."""
    wrong: list[str]


class Freezer:
    """Where the calls of the first owner are made, but for one that waits."""

    def __init__(self, number: int, seconds: float) -> None:
        self._number = number
        self._seconds = seconds
        self.count = 0
        self.frozen = asyncio.Event()
        self.awake = asyncio.Event()
        self._moving = asyncio.Event()
        self._moving.set()

    async def run(self, call: Callable[[], T], /) -> T:
        """Make a call, when its turn has come and nobody is frozen."""
        self.count += 1
        if self.count == self._number:
            self._moving.clear()
            self.frozen.set()
            asyncio.get_running_loop().call_later(self._seconds, self._wake)
        await self._moving.wait()
        return await clockwork.inline(call)

    def _wake(self) -> None:
        self._moving.set()
        self.awake.set()


@contextlib.asynccontextmanager
async def runner_on(data: Path, owner: str, run: Callable[..., object]) -> AsyncIterator[Runner]:
    """Let a runner work, with a store and an engine of its own."""
    store = SQLiteStore(data / "state.sqlite", run)  # type: ignore[arg-type]
    lane = Lane(owner, EchoEngine(EchoOptions(requests=4)))
    executor = Executor({owner: lane})
    runner = Runner(
        *(lane, executor, store, Blobs(data / "blobs", run)),  # type: ignore[arg-type]
        serves=lambda _model: True,
        owner=owner,
    )
    tasks = [asyncio.create_task(lane.keep_open()), asyncio.create_task(runner.run())]
    try:
        yield runner
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()


class Reader:
    """Looks at what a client could see, again and again."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self.wrong: list[str] = []
        self._succeeded = 0
        self._visible = b""
        self.wait_seconds = LOOK_SECONDS

    async def pause(self) -> None:
        """Wait before the next look, each time a little longer."""
        await clockwork.pass_seconds(self.wait_seconds)
        self.wait_seconds = min(1.3 * self.wait_seconds, LOOK_SECONDS_MAX)

    async def look(self) -> bool:
        """Look once; tell whether the batch has ended."""
        batch = await self._shop.batch()
        if batch.tally.succeeded < self._succeeded:
            self.wrong.append(f"{self._succeeded} were counted, then {batch.tally.succeeded}")
        self._succeeded = batch.tally.succeeded
        content = b"\n".join(await self._shop.output())
        if not content.startswith(self._visible):
            self.wrong.append("sealed lines have changed")
        self._visible = content
        self.wrong += Directory(self._shop.path).wrong_now()
        return batch.ended_at is not None


async def freeze(data: Path, number: int, seconds: float) -> Owner:
    """Freeze the first owner at one call while a second one may take over."""
    shop = Workshop(data)
    delays = (0.0, 0.4, 0.0, 1.3, 0.2, 0.0, 3.0, 0.1, 0.0, 0.7, 80.0)
    answers = {
        str(at): (f"[[delay {delay}]] " if delay else "") + f"say {at}"
        for at, delay in enumerate(delays)
    }
    await shop.plan([line(text, key) for key, text in answers.items()])
    freezer, reader = Freezer(number, seconds), Reader(shop)
    async with asyncio.timeout(QUIET_SECONDS_MAX), runner_on(data, "first", freezer.run):
        while not freezer.frozen.is_set() and not await reader.look():
            await reader.pause()
        reader.wait_seconds = LOOK_SECONDS
        async with runner_on(data, "second", clockwork.inline):
            while not await reader.look():
                await reader.pause()
            if freezer.frozen.is_set():
                await freezer.awake.wait()
            await clockwork.pass_seconds(3 * limits.BEAT_SECONDS)
            await reader.look()
    rows = [msgspec.json.decode(row) for row in await shop.output()]
    wrong = reader.wrong + wrong_in_lines(rows, answers)
    (epoch,) = shop.store._all("SELECT max(epoch) FROM shard")[0]
    found = [path for path in (data / "blobs").rglob("segments/*") if path.is_file()]
    (sealed,) = shop.store._all("SELECT count(*) FROM shard WHERE state = 'sealed'")[0]
    if len(found) != sealed:
        wrong.append(f"{len(found)} segments lie there for {sealed} sealed shards")
    await shop.store.close()
    return Owner(freezer.count, freezer.frozen.is_set(), epoch > 1, wrong)


def try_freeze(number: int, seconds: float) -> Owner:
    """Do that in a process of its own, whose time can be changed."""
    with scratch() as folder:
        (folder / "data").mkdir()
        report = folder / "report"
        child = os.fork()
        if not child:
            logging.disable(logging.CRITICAL)
            planning_limits.SHARD_REQUESTS_MAX, planning_limits.FIRST_SHARD_REQUESTS = 5, 3
            try:
                told = clockwork.run(lambda: freeze(folder / "data", number, seconds))
            except BaseException:  # noqa: BLE001 - told to the parent, whatever it was
                told = Owner(0, True, False, [traceback.format_exc()[-2000:]])  # noqa: FBT003
            report.write_bytes(msgspec.msgpack.encode(told))
            os._exit(0)
        os.waitpid(child, 0)
        return msgspec.msgpack.decode(report.read_bytes(), type=Owner)


def run(count: int | None, seed: int) -> Figures:
    """Freeze at so many calls."""
    chance = random.Random(seed)
    last = try_freeze(0, 0.0).calls
    step = 1.0 if count is None else last / count
    figures, overtaken = Figures.none(), 0
    for at in range(count or last):
        number = 1 + int((at + chance.random()) * step) if count else at + 1
        seconds = FROZEN_SECONDS * chance.choice((1.0, 1.2, 1.6, 4.0))
        told = try_freeze(number, seconds)
        figures.tried += told.frozen
        overtaken += told.overtaken
        place = f"frozen for {seconds:.0f} s at call {number}"
        figures.violations += [f"{place}: {sentence}" for sentence in told.wrong]
    figures.notes = {"calls of an owner": str(last), "shards taken over in": f"{overtaken} tries"}
    return figures


CAMPAIGNS = (
    Campaign(
        name="zombies",
        what="an owner is frozen at each of its calls for longer than its lease, and wakes up",
        run=run,
    ),
)
