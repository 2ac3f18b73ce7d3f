"""What was looked up for a request is not looked up again by whoever takes its shard over."""

from __future__ import annotations

import errno
from typing import Any

import msgspec
import pytest

from nightrate import limits
from nightrate.domain.generation import Prompt, Reply
from nightrate.domain.grounding import Source
from nightrate.domain.shard import JournalPart
from nightrate.service.grounding import Grounder
from nightrate.store.blobs import Reader
from nightrate.tools.search import Search
from nightrate.work.journal import Journal, journal_name, readable_bytes
from tests.work.site import ScriptedEngine, Waits, until, working
from tests.work.workshop import Workshop, answer, make_claim, numbered


def searched(text: str, key: str) -> bytes:
    """Write a line that wants a search."""
    request = {"contents": [{"parts": [{"text": text}]}], "tools": [{"googleSearch": {}}]}
    return msgspec.json.encode({"key": key, "request": request}) + b"\n"


class Counting(Search):
    """Finds something else each time it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def search(self, query: str, limit: int, *, live: bool) -> list[Source]:
        assert limit > 0
        assert not live, "rows of batches wait where batches do"
        self.asked.append(query)
        number = len(self.asked)
        return [Source(f"https://example.com/{number}", f"Title {number}", f"Text {number}.")]


class Listening(ScriptedEngine):
    """Remembers what it was shown beside the question."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    async def generate(self, prompt: Prompt) -> Reply:
        self.shown.append(prompt.system or "")
        return await super().generate(prompt)


async def grounding_of(shop: Workshop, key: str) -> Any:
    """Give what an answer says that it rests on."""
    for row in map(msgspec.json.decode, await shop.output()):
        if row["key"] == key:
            return row["response"]["candidates"][0]["groundingMetadata"]
    raise AssertionError(key)


async def test_a_killed_owner_has_searched_for_its_successor(shop: Workshop, waits: Waits) -> None:
    await shop.plan([searched("who won?", "a"), searched("who lost?", "b"), *numbered(1)])
    search, engine = Counting(), Listening()
    engine.hold("who won?", "who lost?")
    async with working(shop, engine, grounder=Grounder(search)) as site:
        await until(lambda: engine.inside == {"who won?", "who lost?"})
        await waits.tick()  # the journal is synced
        await until(lambda: not site.runner._feed.open[0].journal.unwritten_bytes)
    # The owner is gone without a word, between its searches and its answers.
    assert sorted(search.asked) == ["who lost?", "who won?"]
    assert await shop.store.release_all() == 1
    engine.let_go()
    async with working(shop, engine, "two", grounder=Grounder(search)) as site:
        await site.ended()
    assert sorted(search.asked) == ["who lost?", "who won?"], "nobody was asked again"
    for key, question in (("a", "who won?"), ("b", "who lost?")):
        number = search.asked.index(question) + 1
        metadata = await grounding_of(shop, key)
        web = {"uri": f"https://example.com/{number}", "title": f"Title {number}"}
        assert metadata["webSearchQueries"] == [question]
        assert metadata["groundingChunks"] == [{"web": web}]
        told = [shown for shown in engine.shown if f"Text {number}." in shown]
        assert len(told) == 2, "both owners showed the model the same"
    assert (await shop.batch()).tally.succeeded == 3


async def test_a_search_that_was_not_synced_is_made_again(shop: Workshop, waits: Waits) -> None:
    del waits  # it never ticks, so nothing is synced
    await shop.plan([searched("who won?", "a")])
    search, engine = Counting(), Listening()
    engine.hold("who won?")
    async with working(shop, engine, grounder=Grounder(search)):
        await until(lambda: engine.inside)
    await shop.store.release_all()
    engine.let_go()
    async with working(shop, engine, "two", grounder=Grounder(search)) as site:
        await site.ended()
    assert search.asked == ["who won?", "who won?"]
    assert (await grounding_of(shop, "a"))["groundingChunks"][0]["web"]["title"] == "Title 2"


async def test_a_failed_search_is_no_step(shop: Workshop, waits: Waits) -> None:
    del waits
    await shop.plan([searched("who won?", "a"), *numbered(1)])
    async with working(shop, Listening(), grounder=Grounder(None)) as site:
        await site.ended()
    (failed,) = [row for row in map(msgspec.json.decode, await shop.output()) if "error" in row]
    assert (failed["key"], failed["error"]["code"]) == ("a", 12)


async def test_steps_count_nothing_and_come_back(shop: Workshop) -> None:
    first = Journal(shop.blobs, make_claim(1))
    first.add_step(3, b"found")
    first.add(1, answer("one"))
    assert first.count == 1
    await first.flush()
    first.add_step(4, b"more")
    await first.flush()
    assert first.unwritten_bytes == first.held_bytes == 0
    assert first.tally == first.counted == answer("one").tally
    assert await first.step(3) is None, "its own steps are in the hands of those who took them"
    await first.close()
    name = journal_name(make_claim(1), 1)
    assert await readable_bytes(shop.blobs, name) == first.counted_bytes
    second = Journal(shop.blobs, make_claim(2))
    await second.recover([JournalPart(1, first.counted_bytes)])
    assert second.count == 1
    assert second.counted == answer("one").tally
    assert [await second.step(index) for index in (1, 3, 4)] == [None, b"found", b"more"]
    assert await second.lines(1, 99) == [b"one"]
    await second.close()


async def test_a_step_counts_only_where_its_bytes_do(shop: Workshop) -> None:
    first = Journal(shop.blobs, make_claim(1))
    first.add_step(0, b"in time")
    await first.flush()
    frozen = [JournalPart(1, first.counted_bytes)]
    first.add_step(0, b"by one who woke up")
    first.add_step(1, b"likewise")
    await first.flush()
    await first.close()
    later = Journal(shop.blobs, make_claim(3))
    await later.recover(frozen)
    assert [await later.step(index) for index in (0, 1)] == [b"in time", None]
    await later.close()


async def test_a_step_that_cannot_be_read_is_taken_again(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Journal(shop.blobs, make_claim(1))
    first.add_step(0, b"found")
    await first.flush()
    await first.close()
    second = Journal(shop.blobs, make_claim(2))
    await second.recover([JournalPart(1, first.counted_bytes)])

    async def refuse(*_: object) -> list[bytes]:
        raise OSError(errno.EIO, "the disk refuses")

    monkeypatch.setattr(Reader, "read_all", refuse)
    assert await second.step(0) is None
    await second.close()


async def test_a_step_is_bounded(shop: Workshop) -> None:
    journal = Journal(shop.blobs, make_claim(1))
    with pytest.raises(AssertionError, match="keeps it short"):
        journal.add_step(0, b"x" * limits.STEP_BYTES_MAX)
    await journal.close()
