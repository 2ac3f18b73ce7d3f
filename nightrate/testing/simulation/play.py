"""One seed from its beginning to its verdict."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Final

from msgspec import Struct

from nightrate import clock, limits
from nightrate.testing.simulation.chance import Chance
from nightrate.testing.simulation.clients import Client
from nightrate.testing.simulation.doors import Doors
from nightrate.testing.simulation.judge import Judge
from nightrate.testing.simulation.ledger import Ledger
from nightrate.testing.simulation.loop import Standstill, VirtualLoop
from nightrate.testing.simulation.place import Workplace
from nightrate.testing.simulation.processes import CURRENT, Died, Process, adopting
from nightrate.testing.simulation.receivers import Receivers
from nightrate.testing.simulation.rooms import Rooms, Server
from nightrate.testing.simulation.stage import staged
from nightrate.testing.simulation.verdict import (
    check_promises,
    leftovers,
    orphans,
    unrest,
)
from nightrate.testing.simulation.world import Violation, World

REQUESTS: Final = 50
REST_SECONDS_MAX: Final = 900
"""Within which everything ends once the faults have stopped: leases, pauses and the waits between
the tries of a delivery, one after the other."""

TENANTS: Final = ("red", "green", "blue")
UPKEEP_TURNS_MAX: Final = 30

AFTER_ALL_SECONDS: Final = 50 * 86400
"""By then every file, result and upload has outlived its time."""


class Report(Struct, kw_only=True):
    """What came of a seed."""

    seed: int
    digest: str
    violation: str | None
    trace: tuple[str, ...]
    virtual_seconds: float
    crashes: int
    freezes: int
    calls: int
    takeovers: int
    batches: int
    """How many ended."""


class Play:
    """A world with its people."""

    def __init__(self, world: World, place: Workplace, requests: int) -> None:
        self.world = world
        self._vault = place.vault
        self.ledger = Ledger()
        self.judge = Judge(world, self.ledger)
        self._requests = requests
        self._receives = Receivers(world, self.judge.heard, self._fail)
        self._starts = 0
        self._rooms: dict[str, Rooms | None] = {}
        self._failed: asyncio.Future[None] | None = None
        self._alone = world.weather.runners == 0
        self._wanted: tuple[str, ...] = ()
        self._nobody = asyncio.Event()
        """Set while no process lives."""

    # processes --------------------------------------------------------------------------------

    def _start(self, name: str) -> None:
        """Start a process; it is started again whenever it has died."""
        world = self.world
        self._starts += 1
        chance = Chance(world.seed, f"{name} {self._starts}")
        process = Process(name, self._starts, chance, world.strike, self._look)
        world.tell("starts", process)
        world.processes.append(process)
        self._nobody.clear()
        self.judge.owners.add(process.name)
        token = CURRENT.set(process)
        try:
            if name == "server":
                rooms: Rooms = Server(
                    *(world, process, self.judge.figures),
                    vault=self._vault,
                    receives=self._receives,
                    alone=self._alone,
                )
            else:
                rooms = Rooms(world, process, self.judge.figures)
        finally:
            CURRENT.reset(token)
        self._rooms[name] = rooms
        process.when_buried(lambda: self._died(name, rooms))
        process.spawn(rooms.run()).add_done_callback(lambda task: self._ended(process, task))

    def _died(self, name: str, rooms: Rooms) -> None:
        rooms.close()
        self.world.processes.remove(rooms.process)
        if not self.world.processes:
            self._nobody.set()
        self._rooms[name] = None
        if name in self._wanted:
            delay = self.world.chance.one_of((0.1, 0.5, 2, 8))
            asyncio.get_running_loop().call_later(delay, self._start_again, name)

    def _start_again(self, name: str) -> None:
        if name in self._wanted:  # still
            self._start(name)

    def _ended(self, process: Process, task: asyncio.Task[None]) -> None:
        """No process ends while it lives, unless by a mistake."""
        if process.alive and not task.cancelled():
            self._fail(Violation(f"{process.name} ended by itself: {task.exception()!r}"))

    def _server(self) -> Server | None:
        rooms = self._rooms.get("server")
        return rooms if isinstance(rooms, Server) and rooms.process.alive else None

    # what may go wrong ------------------------------------------------------------------------

    def _fail(self, violation: Violation) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(violation)

    def _unhandled(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Died):
            self._fail(Violation(f"{context['message']}: {error!r}"))

    def _look(self, *, again: bool = False) -> None:
        try:
            self.judge.look(again=again)
        except Violation as violation:
            self._fail(violation)

    # the acts ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play; what a promise breaks is raised.

        Raises:
            Violation: a promise was broken.
        """
        world = self.world
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        loop.set_exception_handler(lambda _loop, context: self._unhandled(context))
        world.looked = lambda: self._look(again=True)
        self.judge.open(world.root / "state.sqlite")
        self._wanted = ("server", *(f"runner{n}" for n in range(world.weather.runners)))
        acts = asyncio.ensure_future(self._acts())
        try:
            await asyncio.wait([acts, self._failed], return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            acts.result()
        finally:
            acts.cancel()
            self._failed.cancel()
            await asyncio.wait([acts])
            await self._stop()
            self.judge.close()

    async def _acts(self) -> None:
        world = self.world
        for name in self._wanted:
            self._start(name)
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(client.run()) for client in self._clients()]
            group.create_task(self._maintain())
            await clock.sleep(world.weather.seconds)
            world.quiet = True
            world.tell("all is quiet")
            quiet_from = world.monotonic()
            for process in world.processes:
                process.frozen_until = 0.0
            while unrest(self.judge) or not all(client.done() for client in clients):
                if world.monotonic() - quiet_from > REST_SECONDS_MAX:
                    raise Violation(f"no rest after {REST_SECONDS_MAX} s: {unrest(self.judge)}")
                await clock.sleep(2)
        check_promises(self.judge, self.ledger)
        await self._clean()

    async def _maintain(self) -> None:
        """Stop a process in good order now and then, as for an upgrade."""
        chance = Chance(self.world.seed, "maintenance")
        while True:
            await clock.sleep(chance.between(5, 40))
            if self.world.quiet:
                return
            rooms = self._rooms.get(chance.one_of(self._wanted))
            if rooms is None:
                continue
            self.world.tell("is asked to stop", rooms.process)
            await asyncio.wait([rooms.process.spawn(rooms.stop())])
            if rooms.process.alive:
                self.world.tell("stops", rooms.process)
                rooms.process.die()

    async def _clean(self) -> None:
        """Start once more, as after an upgrade: what nothing names goes, and at last everything."""
        await self._stop()
        self._start("server")
        root = self.world.disk.root
        await self._until(lambda: not orphans(self.judge, root, zombies=not self._alone))
        left = orphans(self.judge, root, zombies=not self._alone)
        if left:
            raise Violation(f"nothing names {', '.join(left)}")
        self.world.shift(AFTER_ALL_SECONDS)
        await self._until(lambda: not leftovers(self.judge, root))
        if left := leftovers(self.judge, root):
            raise Violation(f"after everybody's time there are {', '.join(left)}")

    async def _until(self, done: Callable[[], bool]) -> None:
        """Give upkeep as many turns as it may need."""
        for _ in range(UPKEEP_TURNS_MAX):
            await clock.sleep(limits.UPKEEP_SECONDS)
            if done():
                return

    async def _stop(self) -> None:
        """End every process in good order."""
        self._wanted = ()
        for process in list(self.world.processes):
            process.die()
        await self._nobody.wait()

    def _clients(self) -> list[Client]:
        world = self.world
        doors = Doors(world, self._server)
        count = world.chance.whole(2, 4)
        tenants = TENANTS[: world.chance.whole(1, 3)]
        return [
            Client(
                doors,
                self.ledger,
                tenants[number % len(tenants)],
                Chance(world.seed, f"client {number}"),
                self._requests // count,
            )
            for number in range(count)
        ]


def play(seed: int, place: Workplace, requests: int = REQUESTS) -> Report:
    """Play one seed."""
    world = World(seed, place.new_folder())
    loop = VirtualLoop()
    loop.set_task_factory(adopting)  # type: ignore[arg-type]
    violation = None
    one = Play(world, place, requests)
    with staged(world):
        try:
            loop.run_until_complete(one.run())
        except* (Violation, Standstill) as broken:
            violation = "; ".join(str(error) for error in _flat(broken))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            seconds = loop.time()
            loop.close()
            shutil.rmtree(world.root)
    return Report(
        seed=seed,
        digest=world.digest,
        violation=violation,
        trace=tuple(world.trace),
        virtual_seconds=seconds,
        crashes=world.crashes,
        freezes=world.freezes,
        calls=world.calls,
        takeovers=one.judge.takeovers,
        batches=one.judge.batches_ended,
    )


def _flat(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _flat(inner)
    else:
        yield error
