"""What cannot be looked up fails its request alike, live, streamed and in a row."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from nightrate.dialects.lines import RawLine
from nightrate.domain.generation import Failure
from nightrate.errors import Code
from nightrate.service.execute import Executor
from nightrate.service.grounding import Grounder
from nightrate.service.lane import Lane
from nightrate.tools.search import Search
from tests.service.lanes import lane_of
from tests.service.test_execute import MODEL, SEARCHED, SEARCHED_ROW, answered


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    async with lane_of() as lane:
        yield lane


class NoSearch(Search):
    """Cannot be reached; remembers whether somebody waited."""

    def __init__(self) -> None:
        self.live: list[bool] = []

    async def search(self, query: str, limit: int, *, live: bool) -> Failure:
        self.live.append(live)
        return Failure(Code.UNAVAILABLE, f"No search was made for {query} ({limit}). Try again.")


async def test_a_search_that_fails_fails_the_request_alike_on_every_way(lane: Lane) -> None:
    search = NoSearch()
    executor = Executor({"echo": lane}, grounder=Grounder(search))
    answer = await answered(executor, lane, RawLine(1, 0, 9, SEARCHED_ROW))
    error = msgspec.json.decode(answer.line)["error"]
    assert (error["code"], error["status"]) == (Code.UNAVAILABLE, "UNAVAILABLE")
    failure = await executor.live(MODEL, SEARCHED)
    assert failure == Failure(Code.UNAVAILABLE, error["message"])
    assert [piece async for piece in executor.stream(MODEL, SEARCHED)] == [failure]
    assert search.live == [False, True, True], "a row of a batch, and two that somebody waits for"
