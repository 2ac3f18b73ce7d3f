"""Kill a real server at its system calls, one kind after another, under strace.

What `tests.faults.kill_points` does in one process without threads happens here to the whole
server: strace ends it with SIGKILL when one of its threads makes the N-th call of a name. Without
strace there is no such campaign; it says so and tries nothing.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from tests.acceptance.server import COMMAND, Server
from tests.faults.campaign import Campaign, Figures
from tests.faults.checker import Directory
from tests.faults.customer import Customer, Job, Told
from tests.faults.real import Line, receiver, wait_seconds

CALLS = (
    *("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "mkdir", "rename", "unlink"),
    *("unlinkat", "rmdir", "openat", "close"),
)
"""System calls that change the disk, or lie between those that do."""

EVERY = {"openat": 40, "close": 40, "write": 3, "pwrite64": 3}
"""Of calls that are many, only one of so many is tried."""

ENOUGH_MISSES = 2
LIFE_SECONDS_MAX = 120.0


class Traced(Server):
    """A server whose first life ends at a system call."""

    def __init__(self, data: Path, log: Path, call: str, number: int) -> None:
        super().__init__(data, "--engine", "echo")
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        watched = ("-e", f"trace={call}", "-e", inject)
        self._strace = ("strace", "-f", "-qq", "-o", str(log), *watched)

    def spawn(self) -> None:
        """Start under strace the first time, and alone from then on."""
        self._command = COMMAND if self.starts else (*self._strace, *COMMAND)
        super().spawn()

    @property
    def ended(self) -> bool:
        """Whether the process is over."""
        return self.process.popen.poll() is not None


def job() -> Told:
    """Give a file in pieces, items, and a batch that is cancelled."""

    def answers(label: str, *delays: float) -> dict[str, str]:
        return {
            f"{label}-{at}": f"[[delay {delay}]] {label} {at}" for at, delay in enumerate(delays)
        }

    return Told(
        jobs=[
            Job(label="pieces", answers=answers("p", *[0.05] * 8, 0.4, 0.7), piece_bytes=600),
            Job(label="items", answers=answers("i", 0, 0.1), inline=True),
            Job(label="cancelled", answers=answers("c", 0, 600, 600), cancel_after=1),
            Job(label="deleted", answers=answers("d", 0), delete=True),
        ]
    )


async def try_call(folder: Path, call: str, number: int) -> tuple[bool, list[str]]:
    """Kill at one call; give whether it came to that, and what was wrong."""
    told = job()
    line = Line(Traced(folder / "data", folder / "log", call, number))
    try:
        async with receiver({"default": told}) as address, asyncio.timeout(LIFE_SECONDS_MAX):
            told.receiver = f"{address}/default"
            customer = Customer(told, line.ask, pause=wait_seconds)
            work = asyncio.create_task(customer.run())
            killed = await _until_killed(line, work)
            if killed:
                told.wrong += Directory(folder / "data").wrong_now()
                await line.start()
            await work
            await _heard(told)
        if killed:  # strace does not pass on what asks it to end
            await line.run(line.server.terminate)
    finally:
        line.close()
    end = Directory(folder / "data")
    return killed, told.wrong + (end.wrong_at_rest(swept=False) if killed else end.wrong_now())


async def _until_killed(line: Line, work: asyncio.Task[None]) -> bool:
    """Start the traced server and wait for its end; False when all was done before."""
    server = line.server
    assert isinstance(server, Traced)
    try:
        await line.start()
    except AssertionError:  # it never said that it was ready
        await line.run(lambda: server.process.popen.wait(30))
        return True
    while not server.ended:
        if work.done():
            await wait_seconds(1.0)
            return server.ended
        await wait_seconds(0.05)
    line.up.clear()
    return True


async def _heard(told: Told) -> None:
    owed = {job.name for job in told.jobs if not job.deleted}
    for _ in range(100):
        if owed <= set(told.heard.values()):
            return
        await wait_seconds(0.2)
    told.wrong.append(f"events were not heard: {owed - set(told.heard.values())}")


def run(count: int | None, seed: int) -> Figures:
    """Go through the calls of each name, or try so many in all, spread over the names."""
    figures = Figures.none()
    if shutil.which("strace") is None:
        figures.notes["skipped"] = "there is no strace here"
        return figures
    chance = random.Random(seed)
    tried: Counter[str] = Counter()
    numbers = dict.fromkeys(CALLS, 0)
    misses: Counter[str] = Counter()
    while figures.tried < (count or 1_000_000):
        names = [name for name in CALLS if misses[name] < ENOUGH_MISSES]
        if not names:
            break
        name = min(names, key=lambda one: tried[one])
        step = EVERY.get(name, 1) * (1 if count is None else 4)
        numbers[name] += chance.randint(1, 2 * step - 1)
        tried[name] += 1
        with tempfile.TemporaryDirectory(prefix="nightrate-faults-") as folder:
            killed, wrong = asyncio.run(try_call(Path(folder), name, numbers[name]))
        misses[name] += not killed
        figures.tried += killed
        place = f"{name} number {numbers[name]}"
        figures.violations += [f"{place}: {sentence}" for sentence in wrong]
    figures.notes["calls"] = ", ".join(f"{name} {number}" for name, number in tried.items())
    return figures


CAMPAIGNS = (
    Campaign(
        name="kill-at-each-system-call",
        what="strace kills a real server at its system calls, one name after another",
        run=run,
        points=200,
    ),
)
