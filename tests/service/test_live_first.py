"""Live requests come first in a lane: in all its places, and soon beside a row that runs alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from nightrate import limits
from nightrate.domain.generation import Failure, Outcome
from nightrate.service.lane import Lane
from tests.service.lanes import lane_of
from tests.service.test_lane import DIED, REPLY, Puppet, prompt


class Time:
    """The monotonic clock, set by hand; nobody sleeps."""

    now = 1000.0


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: time.now)
    monkeypatch.setattr("nightrate.clock.sleep", lambda _seconds: asyncio.sleep(0))
    return time


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
async def lane(puppet: Puppet, time: Time) -> AsyncIterator[Lane]:
    del time
    async with lane_of(puppet, "puppet") as lane:
        yield lane


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def die(puppet: Puppet) -> None:
    """Let the suspect go on to its death, and hold it at its next try."""
    gate, puppet.gates["hello"] = puppet.gates["hello"], asyncio.Event()
    gate.set()
    await settled()


async def outcome_of(lane: Lane, *, streamed: bool) -> Outcome:
    if not streamed:
        return await lane.outcome(prompt())
    *_, last = [piece async for piece in lane.stream(prompt(), live=True)]
    assert not isinstance(last, str)
    return last


async def test_live_requests_take_every_place_and_a_batch_waits_for_one(
    lane: Lane, puppet: Puppet
) -> None:
    names = [f"live {number}" for number in range(4)]
    for name in names:
        puppet.gates[name] = asyncio.Event()
    live = [asyncio.create_task(lane.outcome(prompt(name), live=True)) for name in names]
    row = asyncio.create_task(lane.outcome(prompt("row")))
    await settled()
    assert puppet.inside == names
    assert not row.done()
    for name in names:
        puppet.gates[name].set()
    assert await asyncio.gather(*live, row) == [REPLY] * 5


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_lone_try_that_live_requests_join_proves_nothing_but_is_not_made_for_ever(
    lane: Lane,
    puppet: Puppet,
    time: Time,
    streamed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    puppet.answers["hello"] = [DIED] * 99
    puppet.gates["hello"] = asyncio.Event()
    suspect = asyncio.create_task(outcome_of(lane, streamed=streamed))
    await settled()
    for _ in range(limits.ENGINE_DEATHS_MAX - 1):
        await die(puppet)
    for _ in range(limits.ENGINE_DEATHS_MAX):
        assert not suspect.done()
        assert puppet.inside == ["hello"]
        puppet.gates["live"] = asyncio.Event()
        neighbour = asyncio.create_task(lane.outcome(prompt("live"), live=True))
        await settled()
        assert puppet.inside == ["hello"]
        time.now += limits.ALONE_SECONDS_MAX
        lane.places._look_again()
        await settled()
        assert puppet.inside == ["hello", "live"]
        await die(puppet)
        puppet.gates["live"].set()
        assert await neighbour == REPLY
        await settled()
    failure = await suspect
    assert isinstance(failure, Failure)
    assert "died or hung 5 times" in failure.message
    assert lane.places.requests == lane.places.live == 0


async def test_a_death_in_a_lone_try_that_nobody_joined_is_the_last(
    lane: Lane, puppet: Puppet, time: Time
) -> None:
    puppet.answers["hello"] = [DIED] * 99
    puppet.gates["hello"] = asyncio.Event()
    suspect = asyncio.create_task(lane.outcome(prompt()))
    await settled()
    for _ in range(limits.ENGINE_DEATHS_MAX - 1):
        await die(puppet)
    neighbour = asyncio.create_task(lane.outcome(prompt("live"), live=True))
    await settled()
    time.now += limits.ALONE_SECONDS_MAX - 1
    lane.places._look_again()
    await settled()
    assert puppet.inside == ["hello"]
    await die(puppet)
    assert isinstance(await suspect, Failure)
    assert await neighbour == REPLY
    assert puppet.together[-1] == {"live"}
