"""A SearXNG: a local server that answers in its JSON, and in all the ways in which it fails."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiohttp import web

from nightrate import clock, tool_limits
from nightrate.domain.generation import Failure
from nightrate.domain.grounding import Source
from nightrate.errors import Code
from nightrate.tools.searxng import SearXNG
from tests.tools.sites import site

RESULTS = {
    "query": "who won?",
    "number_of_results": 0,
    "results": [
        {
            "url": "https://example.com/euro",
            "title": "The  Euro\n2025",
            "content": "England won the final.",
            "engine": "brave",
            "score": 1.0,
        },
        {"url": "ftp://example.com/", "title": "not of the web", "content": ""},
        {"title": "without an address"},
        {"url": "https://example.com/2", "title": None, "content": None},
        {"url": "https://example.com/3", "title": "third", "content": "word " * 1000},
    ],
    "answers": [],
    "unresponsive_engines": [["google", "timeout"]],
}


class Site:
    """Answers what is prepared, one after the other, the last for ever; remembers what it got."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, dict(request.query)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, int):
            return web.Response(status=answer, text="its own words")
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        if answer is None:
            await asyncio.Event().wait()
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        assert seconds > 0

    monkeypatch.setattr(clock, "sleep", sleep)


async def ask(handler: Site, path: str = "", limit: int = 5) -> list[Source] | Failure:
    async with site(handler) as address:
        search = SearXNG(address + path)
        try:
            return await search.search("who won?", limit, live=False)
        finally:
            await search.close()
            await search.close()


async def failure_of(handler: Site) -> str:
    failure = await ask(handler)
    assert isinstance(failure, Failure)
    assert failure.code is Code.UNAVAILABLE
    assert failure.message.startswith("No search was made: ")
    assert "the SearXNG at 127.0.0.1:" in failure.message
    assert "its own words" not in failure.message
    return failure.message


@pytest.mark.parametrize("path", ["", "/", "/search", "/search/"])
async def test_what_it_finds_are_the_sources(path: str) -> None:
    handler = Site(RESULTS)
    found = await ask(handler, path)
    assert handler.asked == [("/search", {"q": "who won?", "format": "json"})]
    assert not isinstance(found, Failure)
    assert found[0] == Source("https://example.com/euro", "The Euro 2025", "England won the final.")
    assert found[1] == Source("https://example.com/2", "https://example.com/2", "")
    assert len(found) == 3
    assert 0 < len(found[2].text) <= tool_limits.EXCERPT_BYTES_MAX


async def test_it_gives_no_more_than_is_asked_for() -> None:
    found = await ask(Site(RESULTS), limit=1)
    assert not isinstance(found, Failure)
    assert [source.uri for source in found] == ["https://example.com/euro"]


async def test_nothing_found_is_an_answer() -> None:
    assert await ask(Site({"results": []})) == []


async def test_engines_that_do_not_answer_are_no_answer() -> None:
    nobody = {"results": [], "unresponsive_engines": [["google", "timeout"]]}
    assert "engines behind" in await failure_of(Site(nobody))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_trouble_is_tried_again(status: int) -> None:
    handler = Site(status, status, RESULTS)
    assert not isinstance(await ask(handler), Failure)
    assert len(handler.asked) == 3


async def test_a_lasting_trouble_is_told_after_some_tries() -> None:
    handler = Site(503)
    assert "status 503. Try again later." in await failure_of(handler)
    assert len(handler.asked) == tool_limits.SEARCH_TRIES_MAX


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (403, "search.formats in its settings.yml"),
        (404, "Check the setting search."),
        (302, "Check the setting search."),
        (b"<html>", "does not answer as one"),
        (b'{"results": [{"url": 5}]}', "does not answer as one"),
        (b"\xff", "does not answer as one"),
        (b" " * (tool_limits.SEARCH_ANSWER_BYTES_MAX + 1), "more than"),
    ],
)
async def test_what_another_try_does_not_mend_is_told_at_once(answer: Any, told: str) -> None:
    handler = Site(answer)
    assert told in await failure_of(handler)
    assert len(handler.asked) == 1


async def test_one_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_limits, "SEARCH_SECONDS", 0.05)
    assert "did not answer within 0.05 s" in await failure_of(Site(None))


async def test_one_that_is_not_there_is_told() -> None:
    async with site(Site(RESULTS)) as address:
        gone = address
    search = SearXNG(gone)
    failure = await search.search("who won?", 5, live=False)
    await search.close()
    assert isinstance(failure, Failure)
    assert "cannot be reached (ClientConnectorError). Start it" in failure.message
