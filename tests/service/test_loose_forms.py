"""Answers are held against what no grammar keeps, live, streamed and in batches."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from nightrate.dialects.json_schema import read_schema
from nightrate.domain.generation import Candidate, Failure, FinishReason, Prompt, Reply, Sampling
from nightrate.domain.schema import JSONForm
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import Code
from nightrate.testing.engine_samples import asked
from tests.service.lanes import lane_of

TWINS = {"items": {"const": 1}, "minItems": 2, "uniqueItems": True}
"""Nothing has this form; the plainest answer with the rest of it has two equal items."""


class Learning(EchoEngine):
    """Gives the answers of a list, one a try."""

    def __init__(self, *texts: str, finish: FinishReason = FinishReason.STOP) -> None:
        super().__init__(EchoOptions())
        self.texts = list(texts)
        self._finish = finish

    async def generate(self, prompt: Prompt) -> Reply:
        reply = await super().generate(prompt)
        candidate = Candidate(self.texts.pop(0), self._finish)
        return structs.replace(reply, candidates=(candidate,))


def wanted(tree: Any) -> Prompt:
    return structs.replace(asked("x"), form=JSONForm(read_schema(tree), "responseJsonSchema"))


async def test_an_answer_that_does_not_follow_is_asked_for_again() -> None:
    engine = Learning("[1,1]", "[1,2]")
    async with lane_of(engine) as lane:
        reply = await lane.outcome(wanted({"items": {}, "uniqueItems": True}))
        assert isinstance(reply, Reply)
        assert reply.candidates[0].text == "[1,2]"
        assert engine.texts == []


@pytest.mark.parametrize("sampling", [Sampling(seed=1), Sampling(temperature=0)])
async def test_one_that_would_come_again_is_not_asked_for_again(sampling: Sampling) -> None:
    engine = Learning("[1,1]", "[1,2]")
    async with lane_of(engine) as lane:
        prompt = wanted({"items": {}, "uniqueItems": True})
        failure = await lane.outcome(structs.replace(prompt, sampling=sampling))
        assert isinstance(failure, Failure)
        assert engine.texts == ["[1,2]"]


@pytest.mark.parametrize("live", [True, False])
async def test_one_that_never_follows_fails_by_the_path(*, live: bool) -> None:
    async with lane_of() as lane:
        failure = await lane.outcome(wanted(TWINS), live=live)
        assert isinstance(failure, Failure)
        assert failure.code is Code.INTERNAL
        assert failure.message.startswith("responseJsonSchema: the answer")
        *_, last = [piece async for piece in lane.stream(wanted(TWINS), live=live)]
        assert isinstance(last, Failure)
        assert lane.places.requests == 0


async def test_one_that_was_cut_is_what_it_is() -> None:
    async with lane_of(Learning("[1,1", finish=FinishReason.LENGTH)) as lane:
        assert isinstance(await lane.outcome(wanted(TWINS)), Reply)


@pytest.mark.parametrize("live", [True, False])
async def test_one_that_a_stop_sequence_cut_is_what_it_is(*, live: bool) -> None:
    prompt = structs.replace(wanted(TWINS), sampling=Sampling(stop=("1]",)))
    async with lane_of(Learning("[1,", "[1,")) as lane:
        reply = await lane.outcome(prompt, live=live)
        assert isinstance(reply, Reply)
        assert reply.candidates == (Candidate("[1,"),)
    async with lane_of() as lane:
        *_, last = [piece async for piece in lane.stream(prompt, live=live)]
        assert isinstance(last, Reply)


async def test_what_is_no_value_at_all_is_asked_for_again() -> None:
    engine = Learning("[1,", "[2,1]")
    async with lane_of(engine) as lane:
        reply = await lane.outcome(wanted({"items": {}, "uniqueItems": True}))
        assert isinstance(reply, Reply)
        assert reply.candidates[0].text == "[2,1]"


async def test_what_can_be_kept_is() -> None:
    async with lane_of() as lane:
        reply = await lane.outcome(wanted({"multipleOf": 7, "minimum": 10}))
        assert isinstance(reply, Reply)
        assert reply.candidates[0].text == "14"
