"""Workers that never wait leave room for everybody else."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from nightrate import limits
from nightrate.work.turns import Turns


class Rounds:
    """Counts how often the event loop came round."""

    def __init__(self) -> None:
        self.count = 0
        self._tick()

    def _tick(self) -> None:
        self.count += 1
        self._handle = asyncio.get_running_loop().call_soon(self._tick)

    def stop(self) -> None:
        self._handle.cancel()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a slice be over as soon as it has begun."""
    monkeypatch.setattr(limits, "RUNNER_SLICE_SECONDS", 0.0)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("workers", [1, 2, 50])
async def test_however_many_work_only_one_slice_fits_into_a_round(workers: int) -> None:
    turns, taken = Turns(), 0

    async def work() -> None:
        nonlocal taken
        for _ in range(10):
            await turns.take()
            taken += 1
            seen.append(rounds.count)

    seen: list[int] = []
    rounds = Rounds()
    await asyncio.gather(*(work() for _ in range(workers)))
    rounds.stop()
    assert taken == workers * 10
    assert max(Counter(seen).values()) == 1, "two slices in one round"


async def test_nobody_waits_while_a_slice_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RUNNER_SLICE_SECONDS", 3600.0)
    turns = Turns()
    await turns.take()
    rounds = Rounds()
    for _ in range(1000):
        await turns.take()
    rounds.stop()
    assert rounds.count == 1


@pytest.mark.usefixtures("short")
async def test_those_in_line_get_their_turns_in_order() -> None:
    turns = Turns()
    order: list[int] = []

    async def work(number: int) -> None:
        for _ in range(3):
            await turns.take()
            order.append(number)

    await asyncio.gather(*map(work, range(4)))
    assert order == [0, 1, 2, 3] * 3


async def test_those_who_leave_time_over_let_more_and_more_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "RUNNER_SLICE_SECONDS", 3600.0)
    turns = Turns()
    workers = [asyncio.create_task(turns.take()) for _ in range(64)]
    rounds = Rounds()
    await asyncio.gather(*workers)
    rounds.stop()
    assert rounds.count < 16


@pytest.mark.usefixtures("short")
async def test_a_worker_cancelled_in_the_line_is_passed_over() -> None:
    turns = Turns()
    workers = [asyncio.create_task(turns.take()) for _ in range(3)]
    await asyncio.sleep(0)
    workers[0].cancel()
    workers[1].cancel()
    async with asyncio.timeout(10):
        await workers[2]
    assert [worker.cancelled() for worker in workers] == [True, True, False]
