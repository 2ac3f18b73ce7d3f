"""The rooms of a simulated process, wired as `nightrate.runtime` wires them.

A server has all of them. A runner beside it has an engine and a connection of its own, and nothing
but the fences between itself and the others.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import aiohttp

from nightrate import limits
from nightrate.dialects.gemini_events import render_event
from nightrate.domain.batch import Batch
from nightrate.domain.webhook import Delivery
from nightrate.service.batches import Batches
from nightrate.service.files import Files
from nightrate.service.followers import Followers
from nightrate.service.lane import Lane
from nightrate.service.models import Models
from nightrate.service.results import Results
from nightrate.service.vault import Vault
from nightrate.service.webhooks import Webhooks
from nightrate.store.blobs import Blobs
from nightrate.store.sqlite import SQLiteStore
from nightrate.testing.simulation.engine import TroubledEngine
from nightrate.testing.simulation.figures import Figures, WatchedExecutor
from nightrate.testing.simulation.processes import Process
from nightrate.testing.simulation.world import World
from nightrate.tools.addresses import Addresses
from nightrate.work.closer import Closer
from nightrate.work.courier import Courier
from nightrate.work.inspector import Inspector
from nightrate.work.planner import Planner
from nightrate.work.runner import Runner
from nightrate.work.upkeep import Upkeep

BASE_URL = "http://localhost"
ENGINE = "troubled"


class Receives(Protocol):
    """Takes an event as a receiver does, and says what it answers."""

    async def __call__(self, delivery: Delivery, body: bytes) -> tuple[int, float | None]:
        """Give the status, and for how long not to ask again.

        Raises:
            TimeoutError, OSError: there was no answer.
        """
        ...


class PostingCourier(Courier):
    """A courier whose posts reach a receiver without a network."""

    receives: Receives

    async def _post(
        self, client: aiohttp.ClientSession, delivery: Delivery
    ) -> tuple[int, float | None]:
        del client
        body = render_event(delivery, BASE_URL)
        if delivery.webhook_id is not None:
            await self._signed(delivery, body)  # it opens the secrets; what it makes is not read
        return await self.receives(delivery, body)


class Rooms:
    """What every process has: the store, the blobs and a runner."""

    def __init__(self, world: World, process: Process, figures: Figures) -> None:
        self.world = world
        self.process = process
        self.disk_run = process.seam(in_line=False)
        self.store = SQLiteStore(world.root / "state.sqlite", process.seam(in_line=True))
        self.blobs = Blobs(world.root / "blobs", self.disk_run)
        engine = TroubledEngine(world, process)
        self.models = Models({"*": ENGINE}, lambda _name: engine.capabilities)
        self.lane = Lane(ENGINE, engine)
        self.runner = Runner(
            *(self.lane, WatchedExecutor({ENGINE: self.lane}, figures), self.store, self.blobs),
            serves=lambda _model: True,
            owner=process.name,
            ended=self._ended,
            sealed=self._sealed,
        )

    def _ended(self, batch: Batch) -> None:
        """Nobody else is here to be told."""

    def _sealed(self, batch: Batch) -> None:
        """Nobody else is here to be told."""

    async def run(self) -> None:
        """Work until the process ends, or is asked to stop."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.lane.keep_open())
            group.create_task(self.runner.run())

    async def stop(self) -> None:
        """Hand the claims back."""
        await self.runner.stop(limits.DRAIN_SECONDS)

    def close(self) -> None:
        """Let go of the database, as the system does for the dead."""
        self.store._connection.close()  # noqa: SLF001 - not through the seam: it is dead


class Server(Rooms):
    """All rooms."""

    def __init__(
        self,
        world: World,
        process: Process,
        figures: Figures,
        *,
        vault: Vault,
        receives: Receives,
        alone: bool,
    ) -> None:
        """Wire them.

        Args:
            world: where they are.
            process: theirs.
            figures: take note of every answer.
            vault: the server's keys.
            receives: takes events.
            alone: whether no other process works on the shards; only then may claims of an earlier
                start be freed at once.
        """
        super().__init__(world, process, figures)
        self._alone = alone
        self.files = Files(self.store, self.blobs)
        self.results = Results(self.store, self.blobs)
        self.followers = Followers(self.store, self.results)
        self.planner = Planner(self.store, self.blobs, self.disk_run, self.runner.wake)
        addresses = Addresses()
        self.courier = PostingCourier(self.store, vault, addresses, BASE_URL)
        self.courier.receives = receives
        self.webhooks = Webhooks(self.store, vault, addresses, self.courier.wake)
        self.batches = Batches(
            *(self.store, self.blobs, self.models, self.planner.wake),
            addresses=addresses,
            stopped=self._stopped,
            inspect=Inspector(self.disk_run).inspect,
        )
        self.upkeep = Upkeep(
            *(self.store, self.blobs),
            stopped=self._stopped,
            results_seconds=self.store.result_lifetime_seconds,
        )
        self.closer = Closer(
            *(self.store, self.blobs, self.planner),
            owner=process.name,
            shown=self._shown,
            closed=self.followers.tell,
        )

    def _ended(self, batch: Batch) -> None:
        self._shown(batch)
        self.courier.wake()

    def _sealed(self, batch: Batch) -> None:
        self.followers.tell(batch)

    def _shown(self, batch: Batch) -> None:
        self.upkeep.ended(batch)
        self.followers.tell(batch, over=True)

    async def _stopped(self, batch: Batch) -> None:
        await self.runner.drop(batch)
        self.followers.tell(batch, over=True)
        self.closer.wake()

    async def run(self) -> None:
        """See `Rooms.run`."""
        if self._alone:
            await self.store.release_all()
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run())
            group.create_task(self.planner.run())
            group.create_task(self.upkeep.run())
            group.create_task(self.closer.run())
            group.create_task(self.courier.run())
