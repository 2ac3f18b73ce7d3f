"""Rows and calls that ask for several vectors: together, in order, and all or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from nightrate.dialects.lines import RawLine
from nightrate.domain.batch import Dialect, Kind, Method
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Answer
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import Code, EngineDown
from nightrate.service.execute import Executor
from nightrate.service.lane import Lane
from nightrate.service.models import Models

KIND = Kind(method=Method.EMBED, dialect=Dialect.OPENAI)
MODEL = Models({"*": "echo"}).resolve("m")


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane("echo", EchoEngine(EchoOptions(requests=2)))
    task = asyncio.create_task(lane.keep_open())
    await lane.opened.wait()
    yield lane
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def answered(lane: Lane, *texts: str) -> tuple[Answer, Any]:
    row = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "m", "input": texts},
    }
    data = msgspec.json.encode(row)
    line = RawLine(1, 0, len(data), data)
    answer = await Executor({"echo": lane}).rows(lane, "m", KIND).answer(line, "b1-0")
    return answer, msgspec.json.decode(answer.line)["response"]


async def test_a_row_of_several_passages_counts_once_and_adds_up_their_tokens(lane: Lane) -> None:
    answer, response = await answered(lane, "one two", "three", "one two")
    first, _, third = (one["embedding"] for one in response["body"]["data"])
    assert first == third
    assert (answer.tally.succeeded, answer.tally.failed) == (1, 0)
    assert answer.tally.prompt_tokens == response["body"]["usage"]["prompt_tokens"] > 2
    assert lane.places.requests == 0


async def test_one_passage_that_fails_fails_its_row(lane: Lane) -> None:
    answer, response = await answered(lane, "one", "[[fail 8]]", "two")
    assert (response["status_code"], answer.tally.failed) == (429, 1)


async def test_a_row_whose_engine_gave_up_has_no_outcome_and_leaves_nothing_behind(
    lane: Lane,
) -> None:
    await lane.engine.close()
    before = asyncio.all_tasks()
    with pytest.raises(EngineDown):
        await answered(lane, *["one"] * 9)
    assert asyncio.all_tasks() == before


async def test_a_live_call_has_all_its_vectors_or_a_failure(lane: Lane) -> None:
    executor = Executor({"echo": lane})
    good, bad = Passage(text="one"), Passage(text="[[fail 3]]")
    found = await executor.live_all(MODEL, [good, good])
    assert isinstance(found, tuple)
    assert len(found) == 2
    failure = await executor.live_all(MODEL, [good, bad])
    assert isinstance(failure, Failure)
    assert failure.code is Code.INVALID_ARGUMENT
