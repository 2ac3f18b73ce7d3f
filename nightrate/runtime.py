"""The composition root: settings become wired rooms, and rooms become a running house.

The only module that knows every room. One process holds the API, the planner, the runners and the
upkeep as tasks; planning large inputs and in-process engines happen in supervised children.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from nightrate import clock, limits, telemetry
from nightrate.domain.batch import Batch
from nightrate.domain.tariff import Tariff
from nightrate.engines.base import Progress, ignore_progress
from nightrate.engines.registry import create_engine
from nightrate.errors import SettingsFault, StoreFault
from nightrate.service.batches import Batches
from nightrate.service.caches import Caches
from nightrate.service.execute import Executor
from nightrate.service.files import Files
from nightrate.service.followers import Followers
from nightrate.service.grounding import Grounder
from nightrate.service.keys import Keys
from nightrate.service.lane import Lane
from nightrate.service.media import Media, Shelf
from nightrate.service.models import Models
from nightrate.service.outlooks import Outlooks
from nightrate.service.prefixes import Prefixes
from nightrate.service.quotas import TokenQuotas
from nightrate.service.repairs import Repairs
from nightrate.service.results import Results
from nightrate.service.vault import Vault
from nightrate.service.webhooks import Webhooks
from nightrate.settings import Settings
from nightrate.store.blobs import Blobs, Run
from nightrate.store.directory import DataDirectory, open_directory
from nightrate.store.sqlite import SQLiteStore
from nightrate.tools.addresses import Addresses
from nightrate.tools.index import Index
from nightrate.tools.pages import Pages
from nightrate.tools.searches import Make, search_of
from nightrate.tools.web import Web
from nightrate.work.backups import Backups
from nightrate.work.closer import Closer
from nightrate.work.courier import Courier
from nightrate.work.inspector import Inspector
from nightrate.work.planner import Planner
from nightrate.work.runner import Runner
from nightrate.work.upkeep import Upkeep

T = TypeVar("T")

BLOB_THREADS = 8
"""Threads that wait for the disk; reading and syncing release the interpreter."""


class House:
    """Every room, wired. Made by `open_house`."""

    def __init__(  # noqa: PLR0913 - one argument a part
        self,
        settings: Settings,
        lanes: dict[str, Lane],
        directory: DataDirectory,
        runs: _Runs,
        *,
        make_search: Make,
        tariff: Tariff | None,
        base_url: str,
    ) -> None:
        self.directory = directory.path
        self._lock = directory
        self._stopping = False
        self._draining: asyncio.Future[list[None]] | None = None
        self._runs = runs
        self.models = Models(settings.model_rules(), lambda name: lanes[name].engine.capabilities)
        self.lanes = lanes
        vault = Vault(directory.keys)  # before the database is open: it may refuse
        self.store = SQLiteStore(directory.database, runs.database, runs.looks)
        self.store.result_lifetime_seconds = settings.results_kept_days * 86400
        self.blobs = Blobs(directory.blobs, runs.disk)
        self.backups = Backups(directory.path, self.blobs, runs.disk)
        prefixes = Prefixes(self.store, self.blobs)
        self.index = Index(directory.index, runs.index, runs.live_index)
        self._search = make_search(self.index)
        grounder = Grounder(self._search, _pages(settings))
        media = Media(Shelf(self.store, self.blobs))
        self.executor = Executor(self.lanes, prefixes, grounder, media)
        self.caches = Caches(
            *(self.store, self.blobs, self.models, self.executor, prefixes),
            tokens_min=settings.cached_tokens_min,
        )
        self.keys = Keys(self.store, vault)
        self.files = Files(self.store, self.blobs, settings.file_storage_bytes_max)
        self.repairs = Repairs(self.store, self.blobs, self._wake_repairers)
        self.results = Results(self.store, self.blobs, self.repairs)
        self.followers = Followers(self.store, self.results)
        self.planner = Planner(self.store, self.blobs, runs.disk, self._wake_runners)
        addresses = Addresses(private=settings.webhooks_private)
        self.courier = Courier(self.store, vault, addresses, base_url)
        self.webhooks = Webhooks(self.store, vault, addresses, self.courier.wake)
        self.batches = Batches(
            *(self.store, self.blobs, self.models, self.planner.wake),
            addresses=addresses,
            stopped=self._stop_batch,
            live_max=settings.concurrent_batches_max,
            token_quotas=TokenQuotas(settings.enqueued_tokens_max),
            partial_results=settings.partial_results,
            inspect=Inspector(runs.disk).inspect,
            strict=settings.strict,
            lifetime_seconds=settings.batch_hours_max * 3600,
            tariff=tariff,
        )
        self.outlooks = Outlooks(self.store, self.models, self.lanes)
        self.upkeep = Upkeep(
            *(self.store, self.blobs),
            stopped=self._stop_batch,
            partial_results=settings.partial_results,
            results_seconds=self.store.result_lifetime_seconds,
        )
        owner = f"server-{clock.new_id(12)}"  # no two starts share a name
        self.runners = [self._runner(lane, owner) for lane in self.lanes.values()]
        self.closer = Closer(
            *(self.store, self.blobs, self.planner),
            owner=owner,
            shown=self._shown,
            closed=self.followers.tell,
        )

    def _runner(self, lane: Lane, owner: str) -> Runner:
        def serves(model: str) -> bool:
            return self.models.engine_of(model) == lane.name

        return Runner(
            *(lane, self.executor, self.store, self.blobs),
            serves=serves,
            owner=owner,
            ended=self._ended,
            sealed=self.followers.tell,
        )

    def _ended(self, batch: Batch) -> None:
        self._shown(batch)
        self.courier.wake()

    def _shown(self, batch: Batch) -> None:
        self.upkeep.ended(batch)
        self.followers.tell(batch, over=True)

    def _wake_runners(self) -> None:
        for runner in self.runners:
            runner.wake()

    def _wake_repairers(self) -> None:
        self._wake_runners()
        self.closer.wake()

    async def _stop_batch(self, batch: Batch) -> None:
        """Free the places of a batch that has ended; then what it finished can be handed out."""
        for runner in self.runners:
            await runner.drop(batch)
        self.followers.tell(batch, over=True)
        self.closer.wake()

    def stop(self) -> None:
        """Begin to end: not ready any more, and nothing new is taken up."""
        self._stopping = True
        self.followers.stop()
        self.backups.stop()

    async def drain(self) -> None:
        """Let running requests finish for a while, then hand every claim back; once."""
        if self._draining is None:
            stops = (runner.stop(limits.DRAIN_SECONDS) for runner in self.runners)
            self._draining = asyncio.gather(*stops)
        await self._draining

    async def not_ready(self) -> str | None:
        """Say why the house cannot work; None when it can."""
        if self._stopping:
            return "The server is stopping."
        try:
            await self.store.check()
        except StoreFault as fault:
            return fault.message
        if await self.blobs.room() < 0:
            return "The disk is full up to its reserve; free some space."
        reasons = []
        for lane in self.lanes.values():
            if lane.opened.is_set():
                return None
            if lane.engine.on_demand:
                continue  # Nobody waits for it before somebody asks for it.
            reason = lane.fault.message if lane.fault else "it is being loaded"
            reasons.append(f"engine {lane.name} is not ready: {reason}")
        return "; ".join(reasons) or None

    @contextlib.asynccontextmanager
    async def working(self, progress: Progress = ignore_progress) -> AsyncIterator[None]:
        """Run every loop while the block runs; then hand all claims back and stop.

        If a loop dies, which only a mistake of ours can cause, the block is cancelled: a server
        that does half its work must not look alive.
        """
        freed = await self.store.release_all()
        if freed:
            telemetry.event("claims of an earlier process were freed", shards=freed)
        body = asyncio.current_task()
        assert body is not None, "entered by a task"
        loops = asyncio.create_task(self._loops(progress))
        loops.add_done_callback(lambda done: None if done.cancelled() else body.cancel())
        try:
            yield
            await self.drain()
        finally:
            loops.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loops

    async def _loops(self, progress: Progress) -> None:
        async with asyncio.TaskGroup() as group:
            for lane in self.lanes.values():
                group.create_task(lane.keep_open(progress))
            for runner in self.runners:
                group.create_task(runner.run())
            group.create_task(self.planner.run())
            group.create_task(self.upkeep.run())
            group.create_task(self.closer.run())
            group.create_task(self.courier.run())

    async def engines_settled(self) -> None:
        """Return when every engine has been opened, or has failed to."""
        for lane in self.lanes.values():
            await lane.settled.wait()

    async def close(self) -> None:
        """Close the files and let another process in."""
        await self.files.close()
        await self.keys.close()
        if self._search is not None:
            await self._search.close()
        await self.index.close()
        await self.store.close()
        self._runs.close()
        self._lock.unlock()


class _Runs:
    """Where blocking calls go: to the database, to look into it, the disk, the index, and live."""

    def __init__(self) -> None:
        self._pools = [
            ThreadPoolExecutor(1, thread_name_prefix="database"),
            ThreadPoolExecutor(1, thread_name_prefix="looks"),
            ThreadPoolExecutor(BLOB_THREADS, thread_name_prefix="disk"),
            ThreadPoolExecutor(1, thread_name_prefix="index"),
            ThreadPoolExecutor(1, thread_name_prefix="live-index"),
        ]
        self.database, self.looks, self.disk, self.index, self.live_index = map(
            _run_in, self._pools
        )

    def close(self) -> None:
        for pool in self._pools:
            pool.shutdown()


def _run_in(pool: ThreadPoolExecutor) -> Run:
    def run(call: Callable[[], T], /) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(pool, call)

    return run


def _lanes(settings: Settings) -> dict[str, Lane]:
    """Make the lanes; the problems of all engines are told at once."""
    lanes, problems = {}, []
    for name in dict.fromkeys(settings.model_rules().values()):
        try:
            kind, options = settings.engine_options(name)
            lanes[name] = Lane(name, create_engine(kind, options), settings.answer_seconds(name))
        except SettingsFault as fault:
            problems += fault.problems
    if problems:
        raise SettingsFault(problems)
    return lanes


def _pages(settings: Settings) -> Pages | None:
    """Make what reads the pages that users name, if that is served."""
    if settings.url_context == "refuse":
        return None
    private = settings.url_context_private
    return Pages(Web(Addresses(private=private, loopback=private), private=private))


def open_house(settings: Settings, address: str = "") -> House:
    """Lock the data directory and wire the rooms.

    Args:
        settings: what the rooms do.
        address: where the server listens, if it does.

    Raises:
        StoreFault: the directory is in use, damaged, of an unknown version, or none can be there.
        SettingsFault: an engine is unknown, its options are wrong, or so is the tariff.
    """
    lanes = _lanes(settings)  # before anything is made on the disk
    make_search = search_of(settings.search)
    tariff = settings.read_tariff()
    try:
        directory = open_directory(Path(settings.data))
    except OSError as error:
        raise _unusable(settings, error) from error
    runs = _Runs()
    try:
        base_url = (settings.public_url or address).rstrip("/")
        return House(
            *(settings, lanes, directory, runs),
            make_search=make_search,
            tariff=tariff,
            base_url=base_url,
        )
    except (OSError, StoreFault) as error:
        runs.close()
        directory.unlock()
        if isinstance(error, OSError):
            raise _unusable(settings, error) from error
        raise


def _unusable(settings: Settings, error: OSError) -> StoreFault:
    return StoreFault(f"{settings.data} cannot be used as the data directory: {error.strerror}")
