"""Cached contents as a client asks for them: counted, bounded, durable, and whose they are."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nightrate import clock, limits
from nightrate.dialects.gemini_caches import parse_cache
from nightrate.domain.cache import Cache, CacheWish, Reach
from nightrate.domain.file import Page
from nightrate.domain.generation import Failure, Message, Prompt
from nightrate.errors import BadRequest, Code, MissingCache, NoRoom, NotFound, OverQuota
from nightrate.service.caches import Caches
from nightrate.service.execute import Executor
from nightrate.service.lane import Lane
from nightrate.service.models import Models
from nightrate.service.prefixes import Prefixes
from tests.service.home import TENANT, Home, opened
from tests.service.lanes import lane_of

OTHER = "somebody-else"
BOOK = b'{"model": "models/gemini-2.5-flash", "contents": "a whole book", "ttl": "60s"}'


class Desk:
    """The service over an engine that is open."""

    def __init__(self, home: Home, lane: Lane) -> None:
        self.home = home
        self.lane = lane
        self.prefixes = Prefixes(home.store, home.blobs)
        self.caches = self.with_tokens_min(0)

    def with_tokens_min(self, tokens_min: int) -> Caches:
        store, blobs = self.home.store, self.home.blobs
        executor = Executor({"echo": self.lane}, self.prefixes)
        models = Models({"gemini-*": "echo"})
        return Caches(store, blobs, models, executor, self.prefixes, tokens_min=tokens_min)

    async def create(self, body: bytes = BOOK, *, tenant: str = TENANT) -> Cache:
        now = clock.now()
        cache = await self.caches.create(tenant, parse_cache(body, now), now)
        assert isinstance(cache, Cache)
        return cache

    def blobs(self) -> list[str]:
        root = self.home.blobs.path("caches")
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def wish(body: bytes = BOOK) -> CacheWish:
    return parse_cache(body, clock.now())


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with lane_of() as lane, opened(tmp_path) as home:
        yield Desk(home, lane)


async def test_what_is_kept_is_counted_by_the_engine(desk: Desk) -> None:
    cache = await desk.create()
    assert cache.token_count == 3
    assert cache.model == "gemini-2.5-flash"
    assert cache.expires_at - cache.created_at == 60_000_000
    assert await desk.caches.get(TENANT, cache.cache_id) == cache
    assert desk.blobs() == [f"{TENANT}/{cache.cache_id}"]


async def test_the_bytes_are_synced_before_the_row_that_names_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    add_cache = desk.home.store.add_cache

    async def noted(cache: Cache, most: int) -> None:
        happened.append("row")
        await add_cache(cache, most)

    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: happened.append("bytes"))
    monkeypatch.setattr(desk.home.store, "add_cache", noted)
    await desk.create()
    assert happened == ["bytes", "row"]


async def test_the_row_goes_before_the_bytes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = await desk.create()
    found: list[Cache | None] = []
    delete = desk.home.blobs.delete

    async def noted(*names: str) -> None:
        found.append(await desk.home.store.get_cache(TENANT, cache.cache_id, 0))
        await delete(*names)

    monkeypatch.setattr(desk.home.blobs, "delete", noted)
    await desk.caches.delete(TENANT, cache.cache_id)
    assert found == [None]
    assert desk.blobs() == []


async def test_an_unknown_model_keeps_nothing(desk: Desk) -> None:
    with pytest.raises(NotFound, match="models/gpt-9"):
        await desk.caches.create(TENANT, wish(b'{"model": "gpt-9", "contents": "x"}'), 0)
    assert desk.blobs() == []


async def test_what_is_too_small_is_refused_with_both_numbers(desk: Desk) -> None:
    message = "too small. total_token_count=3, min_total_token_count=4"
    with pytest.raises(BadRequest, match=message):
        await desk.with_tokens_min(4).create(TENANT, wish(), 0)
    assert isinstance(await desk.with_tokens_min(3).create(TENANT, wish(), 0), Cache)


async def test_an_engine_that_is_not_open_counts_nothing(desk: Desk) -> None:
    desk.lane.opened.clear()
    failure = await desk.caches.create(TENANT, wish(), 0)
    assert isinstance(failure, Failure)
    assert failure.code is Code.UNAVAILABLE
    assert desk.blobs() == []


async def test_a_full_disk_and_too_many_are_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await desk.create()
    monkeypatch.setattr(limits, "CACHES_MAX", 1)
    with pytest.raises(OverQuota, match="There are 1 cached contents"):
        await desk.create()
    assert desk.blobs() == [f"{TENANT}/{first.cache_id}"]
    await desk.create(tenant=OTHER)
    monkeypatch.setattr(limits, "CACHES_MAX", 9)

    async def room() -> int:
        return 3

    monkeypatch.setattr(desk.home.blobs, "room", room)
    with pytest.raises(OverQuota, match="disk"):
        await desk.create()


async def test_a_disk_that_refuses_keeps_nothing_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(NoRoom, match="could not be written"):
            await desk.create()
    assert desk.blobs() == []


async def test_nobody_elses_are_seen(desk: Desk) -> None:
    cache = await desk.create()
    assert await desk.caches.list(OTHER, Page(size=9)) == ([], None)
    for call in (
        desk.caches.get(OTHER, cache.cache_id),
        desk.caches.change(OTHER, cache.cache_id, cache.expires_at + 1),
        desk.caches.delete(OTHER, cache.cache_id),
    ):
        with pytest.raises(MissingCache, match="or permission denied"):
            await call
    assert await desk.caches.get(TENANT, cache.cache_id) == cache


async def test_time_takes_them_away_unless_they_get_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = await desk.create(), await desk.create()
    changed = await desk.caches.change(TENANT, long.cache_id, clock.later(long.expires_at, 60))
    assert changed.expires_at == clock.later(long.expires_at, 60)
    later = short.expires_at + 30_000_000
    monkeypatch.setattr("nightrate.clock.now", lambda: later)
    assert await desk.caches.list(TENANT, Page(size=9)) == ([changed], None)
    for call in (
        desk.caches.get(TENANT, short.cache_id),
        desk.caches.change(TENANT, short.cache_id, clock.later(later, 60)),
        desk.caches.delete(TENANT, short.cache_id),
    ):
        with pytest.raises(MissingCache):
            await call


async def test_pages_tell_where_to_go_on(desk: Desk) -> None:
    made = [await desk.create() for _ in range(3)]
    first, following = await desk.caches.list(TENANT, Page(size=2))
    assert following == (first[1].created_at, first[1].cache_id)
    rest, end = await desk.caches.list(TENANT, Page(size=2, after=following))
    assert end is None
    assert {cache.cache_id for cache in first + rest} == {cache.cache_id for cache in made}


async def test_a_deleted_one_is_not_continued_any_more(desk: Desk) -> None:
    cache = await desk.create()
    prompt = Prompt(messages=(Message("user", "who?"),), cache=cache.cache_id)
    reach = Reach(TENANT, clock.now())
    assert (await desk.prefixes.whole(prompt, cache.model, reach)).cached_tokens == 3
    await desk.caches.delete(TENANT, cache.cache_id)
    with pytest.raises(MissingCache):
        await desk.prefixes.whole(prompt, cache.model, reach)
