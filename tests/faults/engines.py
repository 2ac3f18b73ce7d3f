"""Engines that die, hang, run out of memory and return rubbish; lines that kill them."""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil

from nightrate import planning_limits
from tests.acceptance.server import Server, until
from tests.faults.campaign import Campaign, Figures
from tests.faults.troubled import CHILD, Order, Troubled, results

HARMS = (
    *("kill", "segfault", "terminate", "exit", "hang", "stuck", "memory"),
    *("truncated", "shape", "text", "length", "garbage", "misnumbered"),
)
"""What the child can be ordered to do; see `troubled_child`. A hang is silent, a stuck child shows
that it lives, and answers nothing."""

LINES = 40
ANSWER_SECONDS = 1.0


class Killer:
    """Kills the engine's process of a server at random moments, once it has begun to work."""

    def __init__(self, server: Server, engine: Troubled, seed: int, pause_seconds: float) -> None:
        self.kills = 0
        self._server = server
        self._tally = engine.tally
        self._chance = random.Random(seed)
        self._pause_seconds = pause_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        seen_bytes = 0
        while not self._stop.wait(self._chance.uniform(0, 2 * self._pause_seconds)):
            size_bytes = self._tally.stat().st_size
            if size_bytes == seen_bytes:
                continue  # else a slow machine would see it killed while it starts, again and again
            seen_bytes = size_bytes
            for child in self._server.process.descendants(CHILD):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
                    self.kills += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def troubled(**options: float) -> Iterator[tuple[Server, Troubled]]:
    """Give a server on the troubled engine while the block runs."""
    with tempfile.TemporaryDirectory(prefix="nightrate-faults-") as folder:
        engine = Troubled(Path(folder))
        server = engine.server(**options)
        try:
            yield server, engine
        finally:
            server.close()


def mistakes(server: Server) -> list[str]:
    """Give what the server itself calls a mistake of its own."""
    words = ("mistake of the server", "request failed", "Traceback")
    return [line for line in server.process.stderr.lines if any(word in line for word in words)]


def engine_deaths(points: int | None, seed: int) -> Figures:
    """Order every harm, once and again and again; then kill the engine from outside."""
    figures = Figures.none()
    chance = random.Random(seed)
    wanted = points or 2 * len(HARMS)
    orders = [f"{often}{harm}" for harm in HARMS for often in ("", "once ")]
    chance.shuffle(orders)
    harms = [orders[index % len(orders)] for index in range(-(-wanted // 2))]
    with troubled(answer_seconds=ANSWER_SECONDS) as (server, engine):
        for first in range(0, len(harms), 2):
            places = chance.sample(range(LINES), 2)
            order = Order(f"s{seed}h{first}", dict(zip(places, harms[first:], strict=False)), LINES)
            lines = results(server, server.submit(order.content))
            _judge(figures, order, lines, engine)
            figures.tried += len(harms[first : first + 2])
        figures.violations += mistakes(server)
    with troubled(delay_seconds=0.01, requests=4) as (server, engine):
        order = Order(f"s{seed}k", {}, 50 * wanted)
        with Killer(server, engine, seed, 0.2) as killer:
            name = server.submit(order.content)
            until(lambda: killer.kills >= wanted // 2 or server.batch(name)["done"], 600)
        _judge(figures, order, results(server, name), engine, unlucky=True)
        figures.tried += killer.kills
        figures.violations += mistakes(server)
        tries = engine.asked().values()
        figures.notes["lines, most tries of one"] = f"{len(tries)}, {max(tries)}"
    return figures


def _judge(
    figures: Figures, order: Order, lines: list[Any], engine: Troubled, *, unlucky: bool = False
) -> None:
    figures.violations += order.judged(lines, engine.asked(), unlucky=unlucky)


def poisoned_lines(points: int | None, seed: int) -> Figures:
    """Put a line that kills the engine at each position of a small first shard and of a full one.

    Every tenth batch has a second one.
    """
    figures = Figures.none()
    chance = random.Random(seed)
    shard = planning_limits.FIRST_SHARD_REQUESTS + planning_limits.SHARD_REQUESTS_MAX
    positions = list(range(shard if points is None else planning_limits.FIRST_SHARD_REQUESTS))
    if points is not None:
        ends = [0, len(positions) - 1, len(positions), shard - 1]
        more = chance.sample(range(shard), max(0, points - len(ends)))
        positions = (ends + more)[:points]
    with troubled(requests=16) as (server, engine):
        for number, position in enumerate(positions):
            harms = {position: "kill"}
            if number % 10 == 1:
                harms[chance.randrange(shard)] = "exit"
            # A poison in the small first shard needs no full one behind it.
            count = shard if max(harms) >= planning_limits.FIRST_SHARD_REQUESTS else 20
            order = Order(f"p{position}", harms, count)
            engine.tally.write_bytes(b"")
            _judge(figures, order, results(server, server.submit(order.content)), engine)
            figures.tried += len(harms)
        figures.violations += mistakes(server)
    return figures


CAMPAIGNS = (
    Campaign(
        name="engine-deaths",
        what="the engine is killed, hangs, runs out of memory and answers rubbish",
        run=engine_deaths,
        points=400,
    ),
    Campaign(
        name="poisoned-line",
        what="a line that kills the engine, at each position of a small and of a full shard",
        run=poisoned_lines,
    ),
)
