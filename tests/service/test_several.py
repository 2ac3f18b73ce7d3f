"""Rows and calls that ask for several vectors or answers: together, in order, all or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import structs

from nightrate.dialects.lines import RawLine
from nightrate.domain.batch import Dialect, Kind, Method
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Failure, Message, Prompt, Reply, Sampling
from nightrate.domain.shard import Answer
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import Code, EngineDown
from nightrate.service.execute import Executor
from nightrate.service.lane import Lane
from nightrate.service.models import Models
from tests.service.lanes import lane_of

KIND = Kind(method=Method.EMBED, dialect=Dialect.OPENAI)
MODEL = Models({"*": "echo"}).resolve("m")


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    async with lane_of(EchoEngine(EchoOptions(requests=2))) as lane:
        yield lane


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


class _Noting(EchoEngine):
    """Echo, with the seed in each answer."""

    async def generate(self, prompt: Prompt) -> Reply:
        reply = await super().generate(prompt)
        seed, (candidate,) = prompt.sampling.seed, reply.candidates
        told = structs.replace(candidate, text=f"{candidate.text} {seed} {prompt.candidates}")
        return structs.replace(reply, candidates=(told,))


@pytest.fixture
async def noting() -> AsyncIterator[Lane]:
    async with lane_of(_Noting(EchoOptions(requests=2))) as lane:
        yield lane


def wanting(count: int, text: str = "hello", seed: int | None = None) -> Prompt:
    sampling = Sampling(seed=seed)
    return Prompt(messages=(Message("user", text),), sampling=sampling, candidates=count)


def texts_of(reply: Reply | Failure) -> list[str]:
    assert isinstance(reply, Reply)
    return [candidate.text for candidate in reply.candidates]


async def test_each_answer_has_a_seed_of_its_own_and_the_first_that_of_the_request(
    noting: Lane,
) -> None:
    executor = Executor({"echo": noting})
    last = 2**31 - 1
    seeded = await executor.live(MODEL, wanting(3, seed=last - 1))
    assert texts_of(seeded) == [f"hello {seed} 1" for seed in (last - 1, last, -last - 1)]
    assert texts_of(await executor.live(MODEL, wanting(2))) == ["hello None 1"] * 2
    assert texts_of(await executor.live(MODEL, wanting(1, seed=5))) == ["hello 5 1"]


async def test_answers_add_up_and_the_prompt_counts_once(lane: Lane) -> None:
    one = await Executor({"echo": lane}).live(MODEL, wanting(1))
    four = await Executor({"echo": lane}).live(MODEL, wanting(4))
    assert isinstance(one, Reply)
    assert isinstance(four, Reply)
    assert four.usage.prompt_tokens == one.usage.prompt_tokens
    assert four.usage.output_tokens == 4 * one.usage.output_tokens
    assert lane.places.requests == 0


async def test_several_answers_are_streamed_as_one_piece(noting: Lane) -> None:
    pieces = [piece async for piece in Executor({"echo": noting}).stream(MODEL, wanting(2, seed=1))]
    (reply,) = pieces
    assert isinstance(reply, Reply)
    assert texts_of(reply) == ["hello 1 1", "hello 2 1"]


async def test_one_answer_that_fails_fails_the_request(lane: Lane) -> None:
    failure = await Executor({"echo": lane}).live(MODEL, wanting(3, "[[fail 3]]"))
    assert isinstance(failure, Failure)
    assert failure.code is Code.INVALID_ARGUMENT


async def test_a_row_of_a_batch_has_as_many_answers_as_it_wants(lane: Lane) -> None:
    request = {"contents": "hi", "generationConfig": {"candidateCount": 2}}
    data = msgspec.json.encode({"key": "a", "request": request})
    rows = Executor({"echo": lane}).rows(lane, "m", Kind())
    answer = await rows.answer(RawLine(1, 0, len(data), data), "b1-0")
    response = msgspec.json.decode(answer.line)["response"]
    candidates = response["candidates"]
    assert [one["content"]["parts"] for one in candidates] == [[{"text": "hi"}]] * 2
    assert answer.tally.output_tokens == response["usageMetadata"]["candidatesTokenCount"] == 2


class Painting(EchoEngine):
    """Says of the tokens of its answers by turns how many were of pictures."""

    def __init__(self, *drawn: tuple[tuple[str, int], ...] | None) -> None:
        super().__init__(EchoOptions())
        self._drawn = iter(drawn)

    async def generate(self, prompt: Prompt) -> Reply:
        reply = await super().generate(prompt)
        usage = structs.replace(reply.usage, drawn_tokens=next(self._drawn))
        return structs.replace(reply, usage=usage)


@pytest.mark.parametrize(
    ("drawn", "together"),
    [
        (((("IMAGE", 2),), (), (("IMAGE", 3), ("AUDIO", 1))), (("IMAGE", 5), ("AUDIO", 1))),
        (((("IMAGE", 2),), None, ()), None),
        (((), (), ()), ()),
    ],
)
async def test_tokens_of_pictures_of_several_answers_add_up(
    drawn: tuple[Any, ...], together: tuple[tuple[str, int], ...] | None
) -> None:
    async with lane_of(Painting(*drawn)) as lane:
        prompt = Prompt(messages=(Message("user", "a"),), candidates=3)
        reply = await Executor({"echo": lane}).live(MODEL, prompt)
    assert isinstance(reply, Reply)
    assert reply.usage.drawn_tokens == together
