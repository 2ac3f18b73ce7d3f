"""A live request looks something up while everything of batches still waits."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from nightrate import runtime, tool_limits
from nightrate.domain.document import Document
from nightrate.domain.generation import Failure
from nightrate.domain.grounding import PageStatus
from nightrate.tools.addresses import Addresses
from nightrate.tools.documents import Extracted
from nightrate.tools.index import Index
from nightrate.tools.pages import Pages
from nightrate.tools.searxng import SearXNG
from nightrate.tools.web import Web
from tests.tools.sites import site


class Slow:
    """A site that lets whoever asks for something slow wait until it is let go."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.asked: Counter[str] = Counter()
        self.came = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        if "slow" in request.path_qs:
            await self.wait()
        if request.path == "/robots.txt":
            return web.Response(status=404)
        if request.path == "/search":
            found = {"results": [{"url": "https://example.com/", "title": request.query["q"]}]}
            return web.Response(body=msgspec.json.encode(found))
        return web.Response(text=request.path)

    async def wait(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.came.set()
        await self.let_go.wait()
        self.inside -= 1

    async def full(self, places: int) -> None:
        """Wait until so many are inside."""
        while self.inside < places:
            self.came.clear()
            await self.came.wait()


@asynccontextmanager
async def waiting(work: list[Any], slow: Slow, places: int) -> AsyncIterator[list[Any]]:
    """Have work of a batch under way, more than there are places for, until the block ends."""
    assert len(work) > places
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await slow.full(places)
        yield tasks
        assert not any(task.done() for task in tasks), "all of the batch still waits"
        assert slow.most == places, "a batch has its places and no more"
    finally:
        slow.let_go.set()
        await asyncio.gather(*tasks)


class Reading:
    """Stands in for the process that reads a page; an unread page is read when that is let go."""

    def __init__(self, slow: Slow) -> None:
        self._slow = slow
        self.returncode: int | None = None

    async def communicate(self, page: bytes) -> tuple[bytes, None]:
        if page == b"/unread":
            await self._slow.wait()
        self.returncode = 0
        return msgspec.json.encode(Extracted("", page.decode())), None


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()

    async def start(*_: str, **__: object) -> Reading:
        return Reading(slow)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    return slow


def new_pages() -> Pages:
    return Pages(Web(Addresses(private=True, loopback=True), private=True))


async def read_quickly(pages: Pages, address: str, *, live: bool, times: int = 1) -> None:
    """Read a page that comes at once, several times."""
    for _ in range(times):
        read = await pages.read([f"{address}/quick"], live=live)
        assert [page.status for page in read.pages] == [PageStatus.SUCCESS]
        assert [source.text for source in read.sources] == ["/quick"]


async def test_a_live_page_is_fetched_while_all_those_of_a_batch_wait(slow: Slow) -> None:
    pages, places = new_pages(), tool_limits.PAGES_AT_ONCE_MAX
    async with site(slow) as address:
        work = [pages.read([f"{address}/slow"], live=False) for _ in range(3 * places)]
        async with waiting(work, slow, places):
            times = 2 * tool_limits.LIVE_PAGES_AT_ONCE_MAX
            await read_quickly(pages, address, live=True, times=times)


async def test_live_pages_are_bounded_too(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_limits, "LIVE_PAGES_AT_ONCE_MAX", 2)
    pages = new_pages()
    async with site(slow) as address:
        work = [pages.read([f"{address}/slow/{n}" for n in range(5)], live=True) for _ in range(3)]
        async with waiting(work, slow, 2):
            await read_quickly(pages, address, live=False)


async def test_a_live_page_is_read_while_all_those_of_a_batch_wait(slow: Slow) -> None:
    pages, readers = new_pages(), tool_limits.EXTRACTIONS_AT_ONCE_MAX
    places = tool_limits.PAGES_AT_ONCE_MAX
    async with site(slow) as address:
        work = [pages.read([f"{address}/unread"], live=False) for _ in range(3 * places)]
        async with waiting(work, slow, readers):
            await read_quickly(pages, address, live=True, times=places)
            assert slow.asked["/unread"] <= places, "no more of them are in memory"


async def test_a_live_search_is_answered_while_all_those_of_a_batch_wait() -> None:
    slow, places = Slow(), tool_limits.SEARCHES_AT_ONCE_MAX
    async with site(slow) as address:
        search = SearXNG(address)
        work = [search.search(f"slow {n}", 5, live=False) for n in range(3 * places)]
        try:
            async with waiting(work, slow, places):
                for _ in range(2 * tool_limits.LIVE_SEARCHES_AT_ONCE_MAX):
                    found = await search.search("quick", 5, live=True)
                    assert not isinstance(found, Failure)
                    assert [source.title for source in found] == ["quick"]
        finally:
            await search.close()


EURO = Document("file:///euro.txt", "The Euro", "England won the final.")


async def test_the_index_answers_a_live_search_while_all_those_of_a_batch_wait(
    tmp_path: Path,
) -> None:
    runs, begun, let_go = runtime._Runs(), threading.Event(), threading.Event()

    def stall() -> None:
        begun.set()
        let_go.wait()

    index = Index(tmp_path / "search.sqlite", runs.index, runs.live_index)
    try:
        assert await index.search("final", 5, live=True) == [], "nothing is there yet"
        await index.put(EURO)
        stalled = asyncio.ensure_future(runs.index(stall))  # as a slow search or a long document
        await asyncio.to_thread(begun.wait)
        work = [asyncio.ensure_future(index.search("final", 5, live=False)) for _ in range(20)]
        found = await index.search("who won the final?", 5, live=True)
        assert not isinstance(found, Failure)
        assert [source.uri for source in found] == [EURO.uri]
        assert not any(task.done() for task in (stalled, *work))
        let_go.set()
        assert await asyncio.gather(*work) == [found] * 20
        await index.remove(EURO.uri)
        assert await index.search("final", 5, live=True) == [], "it sees what has changed"
    finally:
        let_go.set()
        await index.close()
        runs.close()
