"""One data directory that holds one of everything, made once and copied for each point.

Its batches are run by a real house with the echo engine, so that every answer can be told from the
request: what is made again must come out the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch
from weakref import WeakKeyDictionary

import msgspec

from nightrate import clock, limits
from nightrate.dialects.gemini_caches import parse_cache
from nightrate.dialects.gemini_profiles import Profile
from nightrate.domain.batch import Batch, BatchForm, Order, PartialResults
from nightrate.domain.cache import Cache
from nightrate.domain.generation import Prompt, Reply
from nightrate.domain.states import FINAL_STATES
from nightrate.errors import Damaged, NotReady
from nightrate.runtime import House, open_house
from nightrate.settings import Settings

T = TypeVar("T")

TENANT = "default"
MODEL = "gemini-flash-latest"
PATIENCE_SECONDS = 60.0
HELD = "hold this"
"""Begins the texts that are not answered before the directory is closed for the first time."""


def line(key: str, text: str) -> bytes:
    """Write one line of a batch file."""
    request = {"contents": [{"parts": [{"text": text}]}]}
    return msgspec.json.encode({"key": key, "request": request}) + b"\n"


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Museum:
    """The directory, the names of what is in it, and what must come out of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batches: dict[str, str] = {}
        """By role, the id: ``file``, ``inline``, ``cancelled``, ``live`` and ``waiting``."""
        self.expected: dict[str, list[bytes]] = {}
        """By role, the lines that must come out."""
        self.cache_id = ""

    def copy(self, target: Path) -> Path:
        """Give a copy to damage."""
        shutil.copytree(self.path, target)
        return target

    def blobs(self, role: str, kind: str) -> list[str]:
        """Name the blobs of a kind that a batch has, below ``blobs/``."""
        folder = f"batches/{TENANT}/{self.batches[role]}/{kind}"
        return sorted(
            str(path.relative_to(self.path / "blobs"))
            for path in (self.path / "blobs" / folder).iterdir()
        )


class Commits:
    """Lets one wait for whatever a house records next."""

    def __init__(self, house: House) -> None:
        self.next = asyncio.Event()
        write = house.store._write

        async def noted(call: Callable[[], T]) -> T:
            try:
                return await write(call)
            finally:
                event, self.next = self.next, asyncio.Event()
                event.set()

        house.store._write = noted  # type: ignore[method-assign]


_COMMITS: WeakKeyDictionary[House, Commits] = WeakKeyDictionary()


async def until(house: House, look: Callable[[], Awaitable[T | None]]) -> T:
    """Look after each commit until there is something to see."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            commit = _COMMITS[house].next  # taken before the look: nothing happens unheard
            if (seen := await look()) is not None:
                return seen
            await commit.wait()


@contextlib.contextmanager
def quick_ends() -> Iterator[None]:
    """Let no stop wait for what an engine has in hand."""
    with patch.object(limits, "DRAIN_SECONDS", 0.0):
        yield


@asynccontextmanager
async def at_work(path: Path, *, holding: bool = False) -> AsyncIterator[House]:
    """Run a house in a directory, with an engine that can hold what it is told to."""
    house = open_house(Settings(data=str(path), engine="echo"))
    try:
        engine = house.lanes["echo"].engine
        generate = engine.generate

        async def held(prompt: Prompt) -> Reply:
            if prompt.messages[-1].text.startswith(HELD):
                await asyncio.Event().wait()
            return await generate(prompt)

        _COMMITS[house] = Commits(house)
        if holding:
            engine.generate = held  # type: ignore[method-assign]
        with quick_ends():
            async with house.working():
                yield house
    finally:
        await house.close()


async def build(path: Path) -> Museum:
    """Make it."""
    museum = Museum(path)
    lines = {
        "file": [line(str(n), f"file {n} {'x' * (n % 50)}") for n in range(60)],
        "cancelled": [line(str(n), f"{HELD if n >= 16 else 'early'} {n}") for n in range(40)],
        "live": [line(str(n), f"{HELD if n >= 30 else 'live'} {n}") for n in range(40)],
        "waiting": [line(str(n), f"waiting {n}") for n in range(30)],
    }
    async with at_work(path, holding=True) as house:
        for role in ("file", "cancelled", "live"):
            museum.batches[role] = await _submit(house, lines[role])
        requests = tuple(
            msgspec.json.encode({"request": {"contents": [{"parts": [{"text": f"inline {n}"}]}]}})
            for n in range(20)
        )
        order = Order(display_name=None, priority=0, file_name=None, inline=requests, webhook=None)
        inline = await house.batches.submit(TENANT, MODEL, order)
        museum.batches["inline"] = inline.batch_id
        await until(house, lambda: _sealed(house, museum, "cancelled", 1))
        await house.batches.cancel(TENANT, museum.batches["cancelled"])
        await until(house, lambda: _ended(house, museum, "file"))
        await until(house, lambda: _ended(house, museum, "inline"))
        await until(house, lambda: _shown(house, museum))
        await until(house, lambda: _counted(house, museum, "live", 30))
        museum.cache_id = await _add_cache(house)
        house.planner._plan_waiting = _nothing_waits  # type: ignore[method-assign]
        museum.batches["waiting"] = await _submit(house, lines["waiting"])
    whole = path.with_name(f"{path.name}.whole")
    shutil.copytree(path, whole)
    async with at_work(whole) as house:
        for role in museum.batches:
            await until(house, partial(_ended, house, museum, role))
            museum.expected[role] = await read(house, museum, role)
    shutil.rmtree(whole)
    return museum


async def _nothing_waits(*, small: bool) -> bool:
    del small
    return False


async def _submit(house: House, lines: list[bytes]) -> str:
    upload = await house.files.start_upload(
        TENANT, display_name="input", mime_type="application/jsonl", file_id=None
    )
    await house.files.append(upload.upload_id, 0, _once(b"".join(lines)))
    file = await house.files.finalize(upload.upload_id)
    order = Order(display_name=None, priority=0, file_name=file.file_id, inline=None)
    return (await house.batches.submit(TENANT, MODEL, order)).batch_id


async def _add_cache(house: House) -> str:
    contents = [{"role": "user", "parts": [{"text": "a long beginning " * 40}]}]
    body = msgspec.json.encode({"model": f"models/{MODEL}", "contents": contents, "ttl": "3600s"})
    cache = await house.caches.create(TENANT, parse_cache(body, clock.now()), clock.now())
    assert isinstance(cache, Cache)
    return cache.cache_id


async def found(house: House, museum: Museum, role: str) -> Batch:
    """Find a batch."""
    return await house.batches.get(TENANT, museum.batches[role])


async def read(house: House, museum: Museum, role: str) -> list[bytes]:
    """Give the result lines of a batch, as a client reads them.

    Raises:
        NotReady, Damaged: as `Results`.
    """
    batch = await found(house, museum, role)
    if batch.form is BatchForm.INLINE:
        await house.results.verify(batch)
        async with contextlib.aclosing(house.results.items(batch, Profile.DOCUMENTED)) as items:
            return [b"".join([piece async for piece in items])]
    content = await house.results.content(TENANT, f"batch-{batch.batch_id}")
    async with contextlib.aclosing(content.stream(0, content.size_bytes)) as stream:
        return b"".join([piece async for piece in stream]).splitlines(keepends=True)


async def settled(house: House, museum: Museum, role: str) -> list[bytes] | str:
    """Wait until a batch has ended and is whole; give its lines, or why there are none for good."""

    async def look() -> list[bytes] | str | None:
        batch = await found(house, museum, role)
        due = batch.partial is PartialResults.DUE or batch.repair_since is not None
        if batch.state not in FINAL_STATES or due:
            return None
        if not batch.has_results:
            return f"{batch.state}: {batch.failure and batch.failure.message}"
        try:
            return await read(house, museum, role)
        except NotReady:
            return None
        except Damaged as damage:
            return damage.message

    return await until(house, look)


async def _sealed(house: House, museum: Museum, role: str, shards: int) -> bool | None:
    found = await house.store.segments(TENANT, museum.batches[role], 0, 99)
    return len(found) >= shards or None


async def _ended(house: House, museum: Museum, role: str) -> bool | None:
    return (await found(house, museum, role)).state in FINAL_STATES or None


async def _shown(house: House, museum: Museum) -> bool | None:
    return (await found(house, museum, "cancelled")).has_results or None


async def _counted(house: House, museum: Museum, role: str, answers: int) -> bool | None:
    return (await found(house, museum, role)).tally.succeeded >= answers or None
