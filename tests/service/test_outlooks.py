"""Where batches stand among those of their engine, asked of a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs

from nightrate import clock, limits
from nightrate.domain.outlook import Outlook
from nightrate.domain.shard import Claim, Tally
from nightrate.domain.states import BatchState
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import EngineDown
from nightrate.service.lane import Lane
from nightrate.service.models import Models
from nightrate.service.outlooks import Outlooks
from nightrate.store.sqlite import SQLiteStore
from nightrate.testing.store_samples import add_planned, found, make_batch, progress, take
from tests.service.home import inline

SECOND = 1_000_000


class Room:
    """Two engines, the batches of both, and a clock that stands still."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = SQLiteStore(path / "state.sqlite", inline)
        self.lanes = {name: Lane(name, EchoEngine(EchoOptions())) for name in ("fast", "slow")}
        self.lanes["fast"].opened.set()
        self.lanes["slow"].opened.set()
        self.outlooks = Outlooks(
            self.store, Models({"quick": "fast", "model": "slow", "other": "slow"}), self.lanes
        )
        self.now_seconds = 100.0
        monkeypatch.setattr("nightrate.clock.monotonic", lambda: self.now_seconds)
        monkeypatch.setattr("nightrate.clock.now", lambda: int(self.now_seconds * SECOND))

    async def add(self, batch_id: str, model: str = "model") -> None:
        batch = make_batch(batch_id, created_at=clock.now())
        await add_planned(self.store, structs.replace(batch, model=model))
        self.now_seconds += 1

    async def claim(self, batch_id: str) -> Claim:
        return await take(self.store, now=clock.now(), batch=batch_id)

    async def answer(self, claim: Claim, done: int) -> None:
        now = clock.now()
        await self.store.beat([progress(claim, done, Tally(succeeded=done))], now, now)

    async def look(self, batch_id: str) -> Outlook:
        batch = structs.replace(await found(self.store, batch_id), request_count=1000)
        (outlook,) = await self.outlooks.of([batch])
        assert outlook is not None
        return outlook


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    room = Room(tmp_path, monkeypatch)
    yield room
    await room.store.close()


async def test_only_batches_of_the_same_engine_come_first(room: Room) -> None:
    for batch_id, model in (("b1", "quick"), ("b2", "other"), ("b3", "model"), ("b4", "model")):
        await room.add(batch_id, model)
    positions = [(await room.look(f"b{number}")).queue_position for number in (1, 2, 3, 4)]
    assert positions == [0, 0, 1, 2]


async def test_what_others_do_is_looked_at_again_after_a_moment(room: Room) -> None:
    await room.add("b1")
    await room.add("b2")
    assert (await room.look("b2")).queue_position == 1
    await room.store.cancel_batch("ours", "b1", clock.now(), partial_results=False)
    assert (await room.look("b2")).queue_position == 1
    room.now_seconds += limits.OUTLOOK_SECONDS
    assert (await room.look("b2")).queue_position == 0


async def test_the_speed_is_that_of_what_was_begun_and_then_that_of_late(room: Room) -> None:
    await room.add("b1")
    claim = await room.claim("b1")
    few = limits.OUTLOOK_REQUESTS_MIN - 1
    room.now_seconds += 20
    await room.answer(claim, few)
    assert (await room.look("b1")).eta_seconds is None  # Too few to tell.
    await room.answer(claim, 20)
    assert (await room.look("b1")).eta_seconds == (980, 1470)  # One a second.
    room.now_seconds += limits.OUTLOOK_SPEED_SECONDS
    await room.answer(claim, few + int(4 * limits.OUTLOOK_SPEED_SECONDS))
    assert (await room.look("b1")).eta_seconds == (237, 355)  # Four a second since the first look.
    room.now_seconds += limits.OUTLOOK_SPEED_SECONDS
    assert (await room.look("b1")).eta_seconds == (237, 355)  # Nobody had anything to do since.


async def test_a_batch_that_is_not_made_yet_would_come_last(room: Room) -> None:
    await room.add("b1")
    await room.add("b2")
    new = await room.outlooks.of_new("model", 0, 10)
    assert (new.queue_position, new.eta_seconds) == (2, None)
    urgent = await room.outlooks.of_new("model", 1, 10)
    assert urgent.queue_position == 0
    claim = await room.claim("b1")
    room.now_seconds += 20
    await room.answer(claim, 40)
    assert (await room.outlooks.of_new("model", 0, 10)).eta_seconds is not None
    assert (await room.outlooks.of_new("model", 0, None)).eta_seconds is None


async def test_an_engine_that_does_not_run_says_why(room: Room) -> None:
    await room.add("b1")
    room.lanes["slow"].opened.clear()
    assert (await room.look("b1")).reason == "Its engine is being loaded."
    room.lanes["slow"].fault = EngineDown("The weights are gone.")
    assert (await room.look("b1")).reason == "Its engine cannot run: The weights are gone."


async def test_a_model_that_is_not_served_any_more_is_named(room: Room) -> None:
    await room.add("b1", "gone")
    outlook = await room.look("b1")
    assert "models/gone" in outlook.reason
    assert outlook.queue_position is None


async def test_of_what_has_ended_for_good_nothing_is_said(room: Room) -> None:
    await room.add("b1")
    await room.store.cancel_batch("ours", "b1", clock.now(), partial_results=False)
    ended = await found(room.store, "b1")
    assert ended.state is BatchState.CANCELLED
    assert await room.outlooks.of([ended]) == [None]
    assert await room.outlooks.of([]) == []
