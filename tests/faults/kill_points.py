"""Kill a server before each call that changes its disk, start it again, and count what was lost.

A small job is carried from the first file in an empty directory to the last event
(`tests.faults.life`). The process ends with ``os._exit`` before the N-th call, or in the middle of
it when it writes; in every third try its successor is killed too, somewhere. Then one is left
alone, and must finish.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from tests.faults.campaign import Campaign, Figures
from tests.faults.checker import Directory
from tests.faults.life import KILLED, Life, live, small_job
from tests.faults.tap import Call, Policy

SWEPT = 4
"""Of so many tries one waits until upkeep has swept, which takes as long as all the rest."""


class KillAt(Policy):
    """Ends the process before one call, or after half of its bytes."""

    def __init__(self, number: int, *, half: bool = False) -> None:
        self._number = number
        self._half = half

    def before(self, call: Call, number: int) -> None:
        """End it if this is the call."""
        if number != self._number:
            return
        if self._half and call.kind == "write" and len(call.data) > 1:
            call.half_written()
        os._exit(KILLED)


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder in memory where there is one: a kill leaves what the kernel has."""
    memory = Path("/dev/shm")
    base = str(memory) if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="nightrate-faults-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def points_of_a_life() -> int:
    """Count the calls of a life that nothing disturbs, which must be without fault."""
    with scratch() as folder:
        life = live(folder / "data", small_job(), Policy())
        assert life.complete, life.messages[-1:]
        assert not life.told.wrong, life.told.wrong
        (count,) = life.told_of("end")
        return int(count)


def wrong_after(before: Life, after: Life) -> list[str]:
    """Compare a life that was ended with the next one."""
    again = sorted(before.durable_answers() & set(after.told_of("asked")))
    return [f"{text[:40]!r} was asked again, though its answer was old" for text in again]


def ended_badly(life: Life) -> list[str]:
    """Say why the last life did not do everything, if it did not."""
    if life.complete:
        return []
    said = life.told_of("broken") + life.told_of("refused")
    return [f"the last life did not finish: {said or life.status}"]


class Tried(Struct):
    """What came of one try."""

    killed: bool
    """Whether it came to that: the numbers of calls differ a little from life to life."""
    wrong: list[str]
    seconds: float
    """How long the last life took."""


def try_point(number: int, *, half: bool, second: int | None) -> Tried:
    """Kill at one call, and perhaps once more."""
    swept = number % SWEPT == 0
    with scratch() as folder:
        data = folder / "data"
        lives = [live(data, small_job(), KillAt(number, half=half))]
        wrong = Directory(data).wrong_now()
        if second is not None and lives[-1].status == KILLED:
            # It may be done before it comes to that, and is then the last one.
            lives.append(live(data, lives[-1].told, KillAt(second), number=1, swept=swept))
            wrong += Directory(data).wrong_now()
        started = time.monotonic()
        if not lives[-1].complete:
            lives.append(live(data, lives[-1].told, Policy(), number=2, swept=swept))
        seconds = time.monotonic() - started
        for before, after in itertools.pairwise(lives):
            wrong += wrong_after(before, after)
        last = lives[-1]
        wrong += last.told.wrong + ended_badly(last)
        wrong += Directory(data).wrong_at_rest(swept=swept)
        return Tried(lives[0].status == KILLED, wrong, seconds)


def points_to_try(count: int | None, chance: random.Random) -> list[tuple[int, bool]]:
    """Choose calls, and whether to be killed before or within each; all of them for None."""
    last = points_of_a_life()
    every = [(number, False) for number in range(1, last + 1)]
    if count is None:
        return every + [(number, True) for number in range(1, last + 1)]
    # The first calls, which make the directory, and then evenly: no part of a life is left out.
    step = max(1.0, last / max(1, count))
    chosen = sorted({1 + int(step * at + chance.random() * step) for at in range(count)})
    return [(number, chance.random() < 0.3) for number in chosen if number <= last]


def run(count: int | None, seed: int) -> Figures:
    """Kill at so many points of a life."""
    chance = random.Random(seed)
    figures = Figures.none()
    rests, restarts = [], 0
    last = points_of_a_life()
    for number, half in points_to_try(count, chance):
        second = chance.randrange(1, last) if number % 3 == 0 else None
        tried = try_point(number, half=half, second=second)
        figures.tried += tried.killed
        restarts += 1 + (second is not None)
        rests.append(tried.seconds)
        place = f"killed {'within' if half else 'before'} call {number}, then {second}"
        figures.violations += [f"{place}: {sentence}" for sentence in tried.wrong]
    figures.notes = {
        "calls of a life": str(last),
        "restarts": str(restarts),
        "the whole rest of the job after a kill": f"{sorted(rests)[len(rests) // 2]:.2f} s median",
    }
    return figures


CAMPAIGNS = (
    Campaign(
        name="kill-at-each-call",
        what="a process ends before, or within, each call that changes its disk",
        run=run,
    ),
)
