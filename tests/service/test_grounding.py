"""Searches made for prompts: the query, what the model is shown, and what the reply says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nightrate import limits, tool_limits
from nightrate.domain.generation import Failure, Message, Prompt
from nightrate.domain.grounding import Grounding, LookupWish, Page, PageStatus, Source
from nightrate.errors import Code
from nightrate.service.grounding import Grounder, LookedUp, pages_of, query_of
from nightrate.tools.pages import Pages, Read
from nightrate.tools.search import EmptySearch, Search

WISH = LookupWish("tools[0].googleSearch")
BOTH = LookupWish("tools[0].googleSearch", "tools[1].urlContext")
QUESTION = Prompt(messages=(Message("user", "Who won?"),), lookup=WISH)
FOUND = Source("https://example.com/", "Results", "Zürich won.")


class Found(Search):
    """Finds one thing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.live: list[bool] = []

    async def search(self, query: str, limit: int, *, live: bool) -> list[Source]:
        self.asked.append((query, limit))
        self.live.append(live)
        return [FOUND]


@pytest.mark.parametrize(
    ("messages", "query"),
    [
        ((Message("user", " Who\n won  it? "),), "Who won it?"),
        ((Message("user", "a"), Message("model", "b")), "a"),
        ((Message("user", "a"), Message("model", "b"), Message("user", "c")), "c"),
        ((Message("model", "b"),), ""),
        ((Message("user", "word " * 100),), "word " * 50 + "word"),
        ((Message("user", "x" * 1000),), "x" * limits.SEARCH_QUERY_CHARACTERS_MAX),
        ((Message("user", f"{'x' * 255} {'y' * 99}"),), "x" * 255),
    ],
)
def test_the_query_is_what_the_user_said_last(messages: tuple[Message, ...], query: str) -> None:
    assert query_of(Prompt(messages=messages)) == query
    assert len(query) <= limits.SEARCH_QUERY_CHARACTERS_MAX


async def test_a_search_that_finds_nothing_leaves_the_prompt_alone() -> None:
    found = await Grounder(EmptySearch()).ground(QUESTION, WISH)
    assert found == LookedUp(QUESTION, QUESTION, Grounding(("Who won?",)))


@pytest.mark.parametrize("system", [None, "Be brief."])
async def test_a_model_is_shown_what_was_found(system: str | None) -> None:
    search = Found()
    prompt = Prompt(messages=QUESTION.messages, system=system, lookup=WISH)
    found = await Grounder(search).ground(prompt, WISH)
    assert not isinstance(found, Failure)
    told, grounding = found.prompt, found.grounding
    assert search.asked == [("Who won?", limits.SEARCH_SOURCES_MAX)]
    assert grounding == Grounding(("Who won?",), (FOUND,))
    assert told.messages == prompt.messages
    assert told.system is not None
    assert told.system.startswith(system or "A search found")
    assert told.system.endswith("[1] Results (https://example.com/)\nZürich won.")


class Shelf(Pages):
    """Reads pages that a test has put there."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.asked: list[str] = []
        self.live: list[bool] = []

    async def read(self, uris: Sequence[str], *, live: bool) -> Read:
        self.asked += uris
        self.live.append(live)
        there = {uri: uri.rpartition("/")[2] for uri in uris}
        pages = [
            Page(uri, PageStatus.SUCCESS if name in self.texts else PageStatus.ERROR)
            for uri, name in there.items()
        ]
        sources = [
            Source(uri, name, self.texts[name]) for uri, name in there.items() if name in self.texts
        ]
        return Read(tuple(pages), tuple(sources))


@pytest.mark.parametrize(
    ("said", "addresses"),
    [
        (
            "Compare https://a.example/x and HTTP://b.example.",
            ["https://a.example/x", "HTTP://b.example"],
        ),
        (
            "(see https://a.example/x_(y)), or [https://a.example/z]!",
            ["https://a.example/x_(y)", "https://a.example/z"],
        ),
        ('"https://a.example/x?q=1#there", https://a.example/x?q=1', ["https://a.example/x?q=1"]),
        (
            "https://a.example/\u3002 <https://b.example>",
            ["https://a.example/", "https://b.example"],
        ),
        ("ftp://a.example https:// www.a.example", []),
        ("https://... (https://)", []),
    ],
)
def test_the_pages_are_those_that_the_user_names(said: str, addresses: list[str]) -> None:
    messages = (Message("user", said), Message("model", "https://model.example"))
    assert pages_of(Prompt(messages=messages)) == addresses


async def test_pages_are_shown_before_what_a_search_found() -> None:
    search, shelf = Found(), Shelf(a="Page A.")
    messages = (Message("user", "Who won? https://x.example/a https://x.example/b"),)
    prompt = Prompt(messages=messages, system="Be brief.", lookup=BOTH)
    found = await Grounder(search, shelf).ground(prompt, BOTH)
    assert not isinstance(found, Failure)
    told, grounding = found.prompt, found.grounding
    page = Source("https://x.example/a", "a", "Page A.")
    assert grounding.sources == (page, FOUND)
    assert [one.status for one in grounding.pages] == [PageStatus.SUCCESS, PageStatus.ERROR]
    assert grounding.queries == (query_of(prompt),)
    assert told.system is not None
    brief, pages, first, searched, second = told.system.split("\n\n")
    assert brief == "Be brief."
    assert pages.startswith("These are the pages")
    assert first == "[1] a (https://x.example/a)\nPage A."
    assert searched.startswith("A search found")
    assert second.startswith("[2] Results")


@pytest.mark.parametrize("live", [True, False])
async def test_who_looks_something_up_is_told_whether_somebody_waits(*, live: bool) -> None:
    search, shelf = Found(), Shelf(a="Page A.")
    messages = (Message("user", "Who won? https://x.example/a"),)
    await Grounder(search, shelf).ground(Prompt(messages=messages, live=live), BOTH)
    assert (search.live, shelf.live) == ([live], [live])


async def test_pages_alone_are_no_search() -> None:
    search, wish = Found(), LookupWish(pages="tools[0].urlContext")
    prompt = Prompt(messages=(Message("user", "https://x.example/b"),), lookup=wish)
    found = await Grounder(search, Shelf()).ground(prompt, wish)
    grounding = Grounding(pages=(Page("https://x.example/b", PageStatus.ERROR),))
    assert found == LookedUp(prompt, prompt, grounding)
    assert search.asked == []


async def test_so_many_pages_may_be_named_and_no_more() -> None:
    shelf = Shelf()
    text = " ".join(f"https://x.example/{n}" for n in range(tool_limits.PAGES_MAX + 1))
    failure = await Grounder(Found(), shelf).ground(Prompt(messages=(Message("user", text),)), BOTH)
    assert isinstance(failure, Failure)
    assert failure.code is Code.INVALID_ARGUMENT
    assert failure.message == "tools[1].urlContext: 21 pages are named, and 20 are the most."
    assert shelf.asked == []


@pytest.mark.parametrize("character", ["a", "é", "🙂"])
async def test_an_address_may_be_so_long_and_no_longer(character: str) -> None:
    shelf, start = Shelf(), "https://x.example/"
    room = tool_limits.PAGE_ADDRESS_BYTES_MAX - len(start)
    fits = start + character * (room // len(character.encode()))
    assert not isinstance(
        await Grounder(Found(), shelf).ground(Prompt(messages=(Message("user", fits),)), BOTH),
        Failure,
    )
    assert shelf.asked == [fits]
    prompt = Prompt(messages=(Message("user", fits + 4 * character),))
    failure = await Grounder(Found(), shelf).ground(prompt, BOTH)
    assert isinstance(failure, Failure)
    assert failure.code is Code.INVALID_ARGUMENT
    assert failure.message.endswith("bytes, and 2048 are the most.")


async def test_where_no_pages_are_fetched_the_wish_is_refused_by_its_path() -> None:
    failure = await Grounder(Found()).ground(QUESTION, BOTH)
    assert isinstance(failure, Failure)
    assert failure.code is Code.UNIMPLEMENTED
    assert failure.message.startswith("tools[1].urlContext: this server fetches no pages.")


class Broken(Search):
    """Cannot search."""

    async def search(self, query: str, limit: int, *, live: bool) -> Failure:
        del live
        return Failure(Code.UNAVAILABLE, f"No search for {query} {limit}.")


async def test_a_search_that_fails_fails_the_request() -> None:
    failure = await Grounder(Broken()).ground(QUESTION, WISH)
    assert failure == Failure(Code.UNAVAILABLE, "No search for Who won? 5.")


async def test_where_nothing_is_searched_the_wish_is_refused_by_its_path() -> None:
    failure = await Grounder(None).ground(QUESTION, WISH)
    assert isinstance(failure, Failure)
    assert failure.code is Code.UNIMPLEMENTED
    assert failure.message.startswith("tools[0].googleSearch: ")
