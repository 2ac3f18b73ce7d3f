"""The world of one seed: its time, its chance, its faults and what happened in it."""

from __future__ import annotations

import asyncio
import hashlib
import types
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

from msgspec import Struct

from nightrate import limits
from nightrate.clock import Instant
from nightrate.testing.simulation.chance import Chance
from nightrate.testing.simulation.disk import Disk
from nightrate.testing.simulation.processes import CURRENT, Died, Process

BEGINNING: Final = 1_800_000_000_000_000
"""Microseconds since 1970 when every seed begins."""

TRACE_LINES: Final = 400
"""How much of what happened is kept for whoever looks for a reason."""


IDLE: Final = (
    *("claimable", "submitted_batches", "unclosed_batches", "due_deliveries", "expire_batches"),
    *("sweep", "sweep_caches", "sweep_batches", "sweep_deliveries", "sweep_idempotency"),
)
"""Verbs that ask for work, over and over: to die there is dull, and so it is made rare."""

IDLE_TIMES: Final = 0.1

DELICATE: Final = (
    *(".claim", ".claim_unfinished", ".freeze", ".seal", "open_shard", "readable_bytes"),
    *("Journal.recover", "write_segment", "_Writer.write", ".open_batch", "_cut"),
)
"""Where somebody holds what others want, or shows what others see."""

DELICATE_TIMES: Final = 6.0


class Violation(Exception):
    """A promise was broken."""


class Weather(Struct, frozen=True, kw_only=True):
    """What a seed has in store: not every fault every time, or the rare meetings never happen."""

    crash: float
    """How likely a process dies at a point before or after a call."""
    power: float
    """How likely all of them do, and lose what was not synced."""
    freeze: float
    """How likely a process stands still for a while."""
    refusal: float
    """How likely the disk refuses a sync."""
    jump: float
    """How likely the wall clock jumps."""
    runners: int
    """Runners beside the server."""
    pace: float
    """How many seconds an engine without trouble needs for an answer at most."""
    engine: float
    """How much trouble the engines make, from 0 to 1."""
    receiver: float
    """How likely a receiver does not take an event."""
    seconds: float
    """How long all this lasts."""

    @classmethod
    def of(cls, chance: Chance) -> Weather:
        """Draw it."""
        return cls(
            crash=chance.one_of((0.0, 0.005, 0.01, 0.03, 0.06)),
            power=chance.one_of((0.0, 0.001, 0.005)),
            freeze=chance.one_of((0.0, 0.005, 0.02)),
            refusal=chance.one_of((0.0, 0.0, 0.0, 0.01)),
            jump=chance.one_of((0.0, 0.0, 0.001)),
            runners=chance.one_of((0, 1, 2, 2)),
            pace=chance.one_of((0.3, 2, 6)),
            engine=chance.one_of((0.0, 0.3, 1.0)),
            receiver=chance.one_of((0.0, 0.3, 0.7)),
            seconds=chance.between(25, 60),
        )


class World:
    """What everybody in a seed shares.

    Args:
        seed: everything follows from it.
        root: an empty folder.
    """

    def __init__(self, seed: int, root: Path) -> None:
        self.seed = seed
        self.root = root
        self.chance = Chance(seed, "world")
        self.weather = Weather.of(self.chance)
        self.disk = Disk(root / "blobs", Chance(seed, "disk"), self._strike_disk)
        self.quiet = False
        """Set when all faults have stopped."""
        self.processes: list[Process] = []
        """Those that live."""
        self.crashes = self.freezes = self.refusals = self.calls = 0
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        self.looked: Callable[[], None] = lambda: None
        self._digest = hashlib.sha256()
        self._faults = Chance(seed, "faults")
        self._shift = 0
        self._latest = BEGINNING

    # time -------------------------------------------------------------------------------------

    def now(self) -> Instant:
        """See `clock.now`."""
        now = BEGINNING + self._shift + int(self.monotonic() * 1_000_000)
        self._latest = max(self._latest, now)
        return now

    @property
    def latest(self) -> Instant:
        """The latest that any clock has shown."""
        self.now()
        return self._latest

    def monotonic(self) -> float:
        """See `clock.monotonic`."""
        return asyncio.get_running_loop().time()

    def shift(self, seconds: float) -> None:
        """Let the wall clock jump."""
        self._shift += int(seconds * 1_000_000)
        self.now()
        self.tell(f"the wall clock jumps by {seconds:.0f} s")

    async def sleep(self, seconds: float) -> None:
        """See `clock.sleep`; who is frozen meanwhile sleeps longer."""
        loop, process = asyncio.get_running_loop(), CURRENT.get()
        while True:
            if seconds <= 0:
                await _turn()
            else:
                await self._pass(loop, seconds)
            seconds = 0.0 if process is None else process.freezes_for()
            if not seconds:
                return

    async def _pass(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        passed = loop.create_future()
        timer = loop.call_later(seconds, _settle, passed)
        try:
            await passed
        finally:
            timer.cancel()

    # chance -----------------------------------------------------------------------------------

    def own_chance(self) -> Chance:
        """Give the stream of whoever is running."""
        process = CURRENT.get()
        return self.chance if process is None else process.chance

    # faults -----------------------------------------------------------------------------------

    def strike(self, process: Process, where: str) -> None:
        """Decide what happens to a process at a point."""
        self.calls += 1
        self.tell(where, process)
        if self.quiet:
            return
        weather, chance = self.weather, self._faults
        times = 1.0
        if where.endswith(IDLE):
            times = IDLE_TIMES
        elif where.endswith(DELICATE):
            times = DELICATE_TIMES
        if chance.happens(times * weather.crash):
            self.kill(process, where)
        elif chance.happens(times * weather.power):
            self.cut_power()
        elif chance.happens(times * weather.freeze):
            lease = limits.LEASE_SECONDS
            long = lease + chance.between(1.5, 8)  # somebody else has the work by then
            seconds = chance.one_of((0.5, lease / 2, long, long, 3 * lease))
            self.freezes += 1
            self.tell(f"freezes for {seconds:.1f} s", process)
            process.freeze(self.monotonic() + seconds)
        elif chance.happens(weather.jump):
            self.shift(chance.one_of((-30, 20, 600)))

    def _strike_disk(self, where: str) -> bool:
        """Decide what happens at a sync; true when the disk refuses it."""
        process = CURRENT.get()
        assert process is not None, "only processes write"
        if self.quiet:
            return False
        if self._faults.happens(self.weather.refusal):
            self.refusals += 1
            self.tell("the disk refuses", process)
            return True
        self.strike(process, where)
        if not process.alive:
            raise Died
        return False

    def kill(self, process: Process, where: str) -> None:
        """Let one process die."""
        self.crashes += 1
        self.tell(f"dies {where}", process)
        process.die()

    def cut_power(self) -> None:
        """Let all of them die, and take what was not synced."""
        self.crashes += 1
        self.tell("the power fails")
        for process in list(self.processes):
            process.die()
        self.disk.cut_power()
        self.looked()

    # what happened ----------------------------------------------------------------------------

    def tell(self, what: str, process: Process | None = None) -> None:
        """Write down what happened; two worlds of one seed write the same."""
        who = "" if process is None else f"{process.name} "
        line = f"{self.monotonic():10.4f} {who}{what}"
        self.trace.append(line)
        self._digest.update(line.encode())

    def note(self, what: str) -> None:
        """Write down what only explains."""
        self.trace.append(f"{'':10} {what}")

    @property
    def digest(self) -> str:
        """All that was told, in short."""
        return self._digest.hexdigest()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@types.coroutine
def _turn() -> Generator[None, None, None]:
    """Let everybody else have a turn."""
    yield
