"""A wall clock that jumps: while shards are held, between create and expiry, around restarts."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tests.acceptance.server import Server, counters, request_line, text_of, until
from tests.faults.campaign import Campaign, Figures
from tests.faults.patched import command

HOUR = 3600.0
DAYS = 48 * HOUR
JUMPS = (HOUR, -HOUR, DAYS + 60, -DAYS, 600.0, DAYS - HOUR)
"""Ten minutes end a lease and no batch; two days less an hour end neither batch nor file."""

WHEN = ("running", "restart", "there and back", "twice")
LINES = 48
LONGEST_SECONDS = 2.0
FINISH_SECONDS = 40.0


class Point(Struct, frozen=True):
    """One jump."""

    when: str
    seconds: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.when}, {self.seconds / HOUR:+.1f} h, seed {self.seed}"

    @property
    def ends(self) -> set[str]:
        """How a batch may end that was not over when the clock jumped."""
        if self.seconds < DAYS:
            return {"JOB_STATE_SUCCEEDED"}
        if self.when == "there and back":  # nobody may have looked meanwhile
            return {"JOB_STATE_SUCCEEDED", "JOB_STATE_EXPIRED"}
        return {"JOB_STATE_EXPIRED"}


class World:
    """A server whose wall clock can be set."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.jump(0)
        world = command(f"clock={self._file}", "UPKEEP_SECONDS=0.3", "FOLLOW_POLL_SECONDS=0.3")
        self.server = Server(folder / "data", "--engine", "echo", command=world)

    def jump(self, seconds: float) -> None:
        """Be wrong by so much from now on."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds}")
        beside.replace(self._file)


class Batch:
    """A batch of some seconds, and what was seen of it."""

    def __init__(self, server: Server, chance: random.Random) -> None:
        self._server = server
        delays = [0.0] * 20 + [chance.uniform(0.3, LONGEST_SECONDS) for _ in range(LINES - 20)]
        self._texts = [f"{n} [[delay {delay:.2f}]]" for n, delay in enumerate(delays)]
        lines = [request_line(n, text) for n, text in enumerate(self._texts)]
        self.name = server.submit(b"".join(lines))
        self._prefix = b""

    def some_answered(self) -> bool:
        """Tell whether some lines have their answers, but not all; takes what is sealed."""
        document = self._server.batch(self.name)
        if document["state"] == "JOB_STATE_RUNNING":
            file = f"files/batch-{self.name.removeprefix('batches/')}"
            answer = self._server.ask("GET", f"/download/v1beta/{file}:download?alt=media")
            self._prefix = answer.body if answer.status == 200 else self._prefix
        return counters(document)[2] >= 20

    def ended(self) -> Any:
        """Give the document of the batch once its results are complete; None before."""
        document = self._server.batch(self.name)
        return document if document["done"] and "dest" in document else None

    def judged(self, document: Any, ends: set[str]) -> list[str]:
        """Hold the end against the promises."""
        state = document["state"]
        content = self._server.download(document["dest"]["fileName"])
        lines = [msgspec.json.decode(line) for line in content.splitlines()]
        answered = [line for line in lines if "response" in line]
        broken = []
        if state not in ends:
            broken.append(f"the batch is {state}, not {' or '.join(sorted(ends))}")
        if [line["key"] for line in lines] != [*range(LINES)]:
            broken.append(f"{len(lines)} lines for {LINES} requests, or in another order")
        broken += [
            f"request {line['key']} has another's answer"
            for line in answered
            if text_of(line) != self._texts[line["key"]]
        ]
        if len(answered) != counters(document)[2]:
            broken.append(f"{len(answered)} answers, {counters(document)[2]} counted")
        if len(answered) < (LINES if state == "JOB_STATE_SUCCEEDED" else 20):
            broken.append(f"{len(answered)} answers are handed out, more had been seen")
        if not content.startswith(self._prefix):
            broken.append("what could be read before has changed")
        return broken


def _jump(world: World, point: Point) -> None:
    if point.when == "restart":
        world.server.kill()
        world.jump(point.seconds)
        world.server.restart()
    elif point.when == "there and back":
        world.jump(point.seconds)
        world.server.get("/v1beta/batches")
        world.jump(0)
    elif point.when == "twice":
        world.jump(-point.seconds if abs(point.seconds) < DAYS else point.seconds / 2)
        world.server.get("/v1beta/batches")
        world.jump(point.seconds)
    else:
        world.jump(point.seconds)


def _try(point: Point, folder: Path) -> tuple[list[str], float]:
    """Let the clock jump under one batch; gives what broke, and how long the rest took."""
    world = World(folder)
    server = world.server
    with contextlib.closing(server):
        server.start()
        batch = Batch(server, random.Random(point.seed))
        until(batch.some_answered, FINISH_SECONDS)
        began = time.monotonic()
        _jump(world, point)
        document = until(batch.ended, FINISH_SECONDS)
        took = time.monotonic() - began
        broken = batch.judged(document, point.ends)
        if document["state"] == "JOB_STATE_EXPIRED":
            world.jump(0)  # nothing brings it back
            server.kill()
            server.restart()
            again = until(batch.ended, FINISH_SECONDS)
            if again["state"] != document["state"] or batch.judged(again, point.ends):
                broken.append(f"after its expiry the batch became {again['state']}")
        later = Batch(server, random.Random(point.seed + 1))  # the server works on
        until(later.ended, FINISH_SECONDS)
        broken += [line for line in server.process.stderr.lines if '"level":"error"' in line]
    return [f"{point.name}: {one}" for one in broken], took


def clock_jumps(points: int | None, seed: int) -> Figures:
    """Try every jump at every moment, or so many of them."""
    figures = Figures.none()
    grid = [Point(when, seconds, seed) for seconds in JUMPS for when in WHEN]
    chance = random.Random(seed)
    more = [Point(chance.choice(WHEN), chance.choice(JUMPS), seed + n) for n in range(points or 0)]
    if points is not None and points < len(grid):
        grid = [*grid[8:10], *chance.sample(grid, len(grid))][:points]
    longest = 0.0
    for point in (grid + more)[: points or None]:
        with tempfile.TemporaryDirectory(prefix="nightrate-faults-") as folder:
            try:
                broken, took = _try(point, Path(folder))
            except AssertionError as error:
                broken, took = [f"{point.name}: {error}"], 0.0
        figures.violations += broken
        longest = max(longest, took)
        figures.tried += 1
    figures.notes["longest from the jump to the end"] = f"{longest:.1f} s"
    return figures


CAMPAIGNS = (
    Campaign(
        name="clock-jumps",
        what="the wall clock jumps by minutes, hours and days under running batches",
        run=clock_jumps,
        points=24,
    ),
)
