"""Fill a real disk under a real server, give the space back, and count what was lost.

The data directory lies on a small file system in memory, which only root may mount; elsewhere the
campaign says so and tries nothing. What each call does when the disk refuses is tried by
`tests.faults.disk_errors` everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.server import Server
from tests.faults.campaign import Campaign, Figures
from tests.faults.checker import Directory
from tests.faults.customer import Customer, Job, Told
from tests.faults.real import Line, wait_seconds

DISK_BYTES = 24 << 20
FULL_SECONDS = 7.0
"""Longer than those who wait for the disk wait for once."""


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[str | None]:
    """Mount a small file system; give why there is none."""
    command = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        yield "there is no mount here"
        return
    if done.returncode:
        yield f"no small disk can be mounted here: {done.stderr.strip()}"
        return
    try:
        yield None
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)


def fill(path: Path) -> None:
    """Write until there is no space left, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def jobs(chance: random.Random) -> Told:
    """Give batches that are at work for a few seconds."""

    def answers(label: str, requests: int) -> dict[str, str]:
        return {
            f"{label}-{at}": f"[[delay {chance.random() * 2:.2f}]] {label} {at} {'.' * 300}"
            for at in range(requests)
        }

    return Told(
        jobs=[
            Job(label="one", answers=answers("one", 120), piece_bytes=9_000),
            Job(label="two", answers=answers("two", 60), piece_bytes=4_000),
            Job(label="items", answers=answers("items", 12), inline=True),
            Job(label="cancelled", answers=answers("cancelled", 80), cancel_after=5),
        ]
    )


async def fill_once(data: Path, chance: random.Random) -> tuple[int, list[str]]:
    """Fill the disk at some moment; give how many calls were refused, and what was wrong."""
    told = jobs(chance)
    line = Line(Server(data, "--engine", "echo"))
    try:
        await line.start()
        customer = Customer(told, line.ask, pause=wait_seconds, failures=True)
        async with asyncio.timeout(180):
            work = asyncio.create_task(customer.run())
            await wait_seconds(chance.random() * 3)
            filler = data.parent / "filler"
            await line.run(lambda: fill(filler))
            await wait_seconds(FULL_SECONDS)
            filler.unlink()
            await work
        status = await line.run(line.server.terminate)
        told.wrong += [f"it ended with status {status}"] if status else []
    finally:
        line.close()
    return told.refused, told.wrong + Directory(data).wrong_at_rest(swept=False)


def run(count: int | None, seed: int) -> Figures:
    """Fill it so many times."""
    figures, refused = Figures.none(), 0
    chance = random.Random(seed)
    for number in range(count or 1):
        with (
            tempfile.TemporaryDirectory(prefix="nightrate-faults-") as folder,
            small_disk(Path(folder)) as why,
        ):
            if why is not None:
                figures.notes["skipped"] = why
                return figures
            calls, wrong = asyncio.run(fill_once(Path(folder) / "data", chance))
        figures.tried += 1
        refused += calls
        figures.violations += [f"fill {number}: {sentence}" for sentence in wrong]
    figures.notes["calls refused"] = str(refused)
    return figures


CAMPAIGNS = (
    Campaign(
        name="full-disk",
        what="the disk of a real server is full for some seconds",
        run=run,
        points=20,
    ),
)
