"""An engine that does not answer in time hangs: the call is cancelled and counts as its death."""

from __future__ import annotations

import asyncio

import pytest

from nightrate import limits
from nightrate.domain.generation import Failure
from nightrate.errors import Code
from nightrate.service.lane import Lane
from tests.service.test_lane import REPLY, Puppet, prompt, streamed


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


async def test_a_prompt_that_hangs_the_engine_again_and_again_has_failed(puppet: Puppet) -> None:
    lane = Lane("puppet", puppet, answer_seconds=0.05)
    puppet.gates["hello"] = asyncio.Event()
    outcome = await lane.outcome(prompt())
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.INTERNAL
    assert "hung 3 times" in outcome.message
    assert puppet.hangs == limits.ENGINE_DEATHS_MAX
    assert lane.places.requests == 0
    assert await lane.outcome(prompt("other")) == REPLY


async def test_a_prompt_that_hung_once_is_answered_and_its_neighbour_has_its_own_time(
    puppet: Puppet,
) -> None:
    lane = Lane("puppet", puppet, answer_seconds=0.05)
    puppet.gates["hello"] = puppet.gates["late"] = asyncio.Event()
    first = asyncio.create_task(lane.outcome(prompt()))
    await asyncio.wait({first}, timeout=0.03)
    second = asyncio.create_task(lane.outcome(prompt("late")))
    await puppet.told_hung.wait()
    assert puppet.hangs == 1
    puppet.gates["hello"].set()
    assert await first == await second == REPLY


async def test_a_hang_and_a_cancel_at_once_is_a_cancel(puppet: Puppet) -> None:
    lane = Lane("puppet", puppet, answer_seconds=0.05)
    puppet.gates["hello"] = asyncio.Event()
    task = asyncio.create_task(lane.outcome(prompt()))
    await asyncio.sleep(0)
    lane._overdue._since[task] -= 1
    lane._overdue._look()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lane.places.requests == 0
    assert puppet.hangs == 0


async def test_a_stream_that_hangs_breaks_off(puppet: Puppet) -> None:
    lane = Lane("puppet", puppet, answer_seconds=0.05)
    puppet.gates["hello later"] = asyncio.Event()
    text, failure = await streamed(lane)
    assert text == "y"
    assert isinstance(failure, Failure)
    assert failure.code is Code.UNAVAILABLE
    assert puppet.hangs == 1
    assert lane.places.requests == 0
