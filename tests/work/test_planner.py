"""Submitted batches are planned, small ones at once, large ones in a process that may die."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from nightrate import limits, planning_limits
from nightrate.domain.batch import Batch
from nightrate.domain.states import BatchState
from nightrate.errors import Code, StoreFault
from nightrate.work.planner import Planner
from nightrate.work.planning_process import plan_file
from tests.work.workshop import Workshop, inline, line, numbered

START_PROCESS = asyncio.create_subprocess_exec


class Slept:
    """Stands in for `clock.sleep`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        patch.setattr("nightrate.clock.sleep", self)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Slept:
    return Slept(monkeypatch)


class Processes:
    """The planning processes that were started; the first ones of batch b1 can be killed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.started = 0
        self.kills = 0
        self.doomed = "b1"
        self.before: Callable[[], Any] | None = None
        patch.setattr(asyncio, "create_subprocess_exec", self.start)

    async def start(self, *command: str, **options: Any) -> Any:
        self.started += 1
        process = await START_PROCESS(*command, **options)
        if self.kills and any(f"/{self.doomed}/" in argument for argument in command):
            self.kills -= 1
            os.kill(process.pid, signal.SIGKILL)
        elif self.before is not None:
            await self.before()
        return process


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(monkeypatch)


@asynccontextmanager
async def planning(shop: Workshop) -> AsyncIterator[tuple[Planner, list[int]]]:
    """Let a planner work while the block runs."""
    planned: list[int] = []
    planner = Planner(shop.store, shop.blobs, inline, lambda: planned.append(1))
    task = asyncio.create_task(planner.run())
    try:
        yield planner, planned
    finally:
        ended_early = task.done()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not ended_early


async def left_submitted(shop: Workshop, batch_id: str = "b1") -> Batch:
    """Wait until a batch is submitted no more."""
    while True:
        batch = await shop.batch(batch_id)
        if batch.state is not BatchState.SUBMITTED:
            return batch
        await asyncio.sleep(0)


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning_limits, "PLAN_IN_PLACE_BYTES_MAX", 0)


async def test_a_batch_that_nobody_announced_is_found(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UPKEEP_SECONDS", 0.01)
    looks, look = asyncio.Semaphore(0), shop.store.submitted_batches

    async def watched(*arguments: Any, **options: Any) -> list[Batch]:
        found = await look(*arguments, **options)
        looks.release()
        return found

    monkeypatch.setattr(shop.store, "submitted_batches", watched)
    async with planning(shop):
        for _ in range(2):  # both loops have found nothing, and wait
            await looks.acquire()
        await shop.submit(numbered(2))
        assert (await left_submitted(shop)).state is BatchState.PLANNED


async def test_a_small_batch_is_planned_in_place(shop: Workshop, processes: Processes) -> None:
    await shop.submit(numbered(20))
    async with planning(shop) as (_, planned):
        batch = await left_submitted(shop)
    assert batch.state is BatchState.PLANNED
    assert batch.request_count == 20
    assert shop.store._all("SELECT request_count FROM shard ORDER BY shard") == [(16,), (4,)]
    assert planned == [1]
    assert processes.started == 0


async def test_a_small_batch_that_takes_long_is_planned_in_a_process(
    shop: Workshop, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning_limits, "PLAN_IN_PLACE_SECONDS_MAX", -1)
    await shop.submit(numbered(20))
    await shop.submit([b"x" * 70_000 + b"\n", *numbered(20)], "b2")
    async with planning(shop) as (_, planned):
        short, long = await left_submitted(shop), await left_submitted(shop, "b2")
    assert short.request_count == 20
    assert long.request_count == 21
    assert planned == [1, 1]
    assert processes.started == 1


async def test_a_batch_that_arrives_later_wakes_the_planner(shop: Workshop) -> None:
    async with planning(shop) as (planner, planned):
        for _ in range(20):
            await asyncio.sleep(0)
        await shop.submit(numbered(1))
        planner.wake()
        await left_submitted(shop)
        await shop.submit(numbered(1), "b2")
        planner.wake()
        await left_submitted(shop, "b2")
    assert planned == [1, 1]


@pytest.mark.usefixtures("everything_is_large")
async def test_a_large_batch_is_planned_in_a_process(shop: Workshop, processes: Processes) -> None:
    await shop.submit(numbered(40))
    async with planning(shop):
        batch = await left_submitted(shop)
    assert batch.state is BatchState.PLANNED
    assert shop.store._all("SELECT request_count FROM shard ORDER BY shard") == [(16,), (24,)]
    assert processes.started == 1


async def test_a_giant_does_not_delay_a_small_one(
    shop: Workshop, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = numbered(100)
    monkeypatch.setattr(planning_limits, "PLAN_IN_PLACE_BYTES_MAX", sum(map(len, rows)))
    await shop.submit(rows, "giant")
    planner_at_giant, go_on = asyncio.Event(), asyncio.Event()

    async def while_the_giant_is_planned() -> None:
        planner_at_giant.set()
        await go_on.wait()

    processes.before = while_the_giant_is_planned
    async with planning(shop) as (planner, _):
        await planner_at_giant.wait()
        await shop.submit(numbered(2), "small")
        planner.wake()
        assert (await left_submitted(shop, "small")).state is BatchState.PLANNED
        assert (await shop.batch("giant")).state is BatchState.SUBMITTED
        go_on.set()
        assert (await left_submitted(shop, "giant")).state is BatchState.PLANNED


@pytest.mark.usefixtures("everything_is_large")
async def test_a_killed_planning_process_is_started_again(
    shop: Workshop, processes: Processes, slept: Slept, caplog: pytest.LogCaptureFixture
) -> None:
    processes.kills = planning_limits.PLAN_ATTEMPTS_MAX - 1
    await shop.submit(numbered(3))
    async with planning(shop):
        batch = await left_submitted(shop)
    assert batch.state is BatchState.PLANNED
    assert processes.started == planning_limits.PLAN_ATTEMPTS_MAX
    assert "ended with status -9: it said nothing" in caplog.text
    assert slept.seconds == [limits.IDLE_POLL_SECONDS] * (planning_limits.PLAN_ATTEMPTS_MAX - 1)


@pytest.mark.usefixtures("everything_is_large", "slept")
async def test_a_batch_whose_planning_dies_too_often_fails(
    shop: Workshop, processes: Processes
) -> None:
    processes.kills = planning_limits.PLAN_ATTEMPTS_MAX
    await shop.submit(numbered(3))
    await shop.submit(numbered(3), "b2")
    async with planning(shop):
        batch = await left_submitted(shop)
        assert (await left_submitted(shop, "b2")).state is BatchState.PLANNED
    assert batch.state is BatchState.FAILED
    assert batch.failure is not None
    assert batch.failure.code is Code.INTERNAL
    assert f"{planning_limits.PLAN_ATTEMPTS_MAX} times" in batch.failure.message


@pytest.mark.usefixtures("everything_is_large", "slept")
async def test_what_a_planning_process_said_at_its_end_is_logged(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    batch = await shop.submit(numbered(1))
    await shop.blobs.delete(batch.input_blob)
    async with planning(shop):
        await left_submitted(shop)
    assert "ended with status 1: FileNotFoundError" in caplog.text


@pytest.mark.usefixtures("slept")
async def test_a_plan_that_is_not_what_was_written_is_made_again(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = plan_file
    tries: list[int] = []

    def torn(source: Path, output: Path, *rest: Any) -> None:
        tries.append(1)
        real(source, output, *rest)
        if len(tries) == 1:
            output.write_bytes(output.read_bytes()[:-9])

    monkeypatch.setattr("nightrate.work.planner.plan_file", torn)
    await shop.submit(numbered(3))
    async with planning(shop):
        assert (await left_submitted(shop)).state is BatchState.PLANNED
    assert len(tries) == 2


async def test_failures_of_one_batch_are_forgotten_when_it_is_planned(
    shop: Workshop, slept: Slept, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = plan_file
    tries: list[int] = []

    def refused_once(*arguments: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(5, "the disk refuses")
        real(*arguments)

    monkeypatch.setattr("nightrate.work.planner.plan_file", refused_once)
    await shop.submit(numbered(3))
    async with planning(shop) as (planner, _):
        await left_submitted(shop)
        assert planner._attempts == {}
    assert slept.seconds == [limits.IDLE_POLL_SECONDS]


@pytest.mark.parametrize("verb", ["submitted_batches", "open_batch"])
async def test_a_store_that_refuses_once_only_delays(
    shop: Workshop, slept: Slept, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    real = getattr(shop.store, verb)
    calls: list[int] = []

    async def refused_once(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise StoreFault("the disk is full")
        return await real(*arguments, **named)

    monkeypatch.setattr(shop.store, verb, refused_once)
    await shop.submit(numbered(3))
    async with planning(shop):
        assert (await left_submitted(shop)).state is BatchState.PLANNED
    assert limits.DISK_PAUSE_SECONDS in slept.seconds


async def test_a_folder_that_cannot_be_made_only_delays(
    shop: Workshop, slept: Slept, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shop.blobs.make
    calls: list[int] = []

    async def refused_once(folder: str) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(5, "the disk refuses")
        await real(folder)

    monkeypatch.setattr(shop.blobs, "make", refused_once)
    await shop.submit(numbered(3))
    async with planning(shop):
        assert (await left_submitted(shop)).state is BatchState.PLANNED
    assert limits.DISK_PAUSE_SECONDS in slept.seconds


async def test_a_full_disk_delays_a_plan_for_as_long_as_it_lasts(
    shop: Workshop, slept: Slept, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def full(*arguments: Any) -> None:
        tries.append(1)
        if len(tries) <= 2 * planning_limits.PLAN_ATTEMPTS_MAX:
            raise OSError(errno.ENOSPC, "No space left on device")
        plan_file(*arguments)

    monkeypatch.setattr("nightrate.work.planner.plan_file", full)
    await shop.submit(numbered(3))
    async with planning(shop):
        assert (await left_submitted(shop)).state is BatchState.PLANNED
    assert slept.seconds == [limits.DISK_PAUSE_SECONDS] * (2 * planning_limits.PLAN_ATTEMPTS_MAX)


@pytest.mark.usefixtures("everything_is_large")
async def test_a_planning_process_tells_that_the_disk_is_full(
    shop: Workshop, slept: Slept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fills = ["import errno, os", "raise SystemExit(main(sys.argv[1:]))"]
    fills.insert(1, "def full(*_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))")
    fills.insert(2, "import sys; from nightrate.work import planning_process as process")
    fills.insert(3, "process.plan_file = full; main = process.main")
    program = tmp_path / "full.py"
    program.write_text("\n".join(fills))

    async def start(*command: str, **options: Any) -> Any:
        if len(slept.seconds) < 2:
            command = (command[0], str(program), *command[3:])
        return await START_PROCESS(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    await shop.submit(numbered(3))
    async with planning(shop):
        assert (await left_submitted(shop)).state is BatchState.PLANNED
    assert slept.seconds == [limits.DISK_PAUSE_SECONDS] * 2


async def test_an_input_without_a_valid_request_fails_with_its_faults(shop: Workshop) -> None:
    await shop.submit([b"rubbish\n"] * 25)
    async with planning(shop) as (_, planned):
        batch = await left_submitted(shop)
    assert batch.state is BatchState.FAILED
    assert batch.failure is not None
    assert batch.failure.code is Code.INVALID_ARGUMENT
    message = batch.failure.message
    assert message.startswith("The input holds no valid request.\nError on line 1:")
    assert message.endswith("\n... and 5 more.")
    assert message.count("\n") == limits.FAULTS_LISTED_MAX + 1
    assert batch.request_count == 25
    assert planned == []


async def test_a_strict_batch_fails_for_one_request_that_cannot_be_read(shop: Workshop) -> None:
    await shop.submit([*numbered(3), b"rubbish\n"], strict=True)
    await shop.submit([*numbered(3), b"rubbish\n"], "b2")
    await shop.submit(numbered(3), "b3", strict=True)
    async with planning(shop):
        batch = await left_submitted(shop)
        assert (await left_submitted(shop, "b2")).state is BatchState.PLANNED
        assert (await left_submitted(shop, "b3")).state is BatchState.PLANNED
    assert batch.state is BatchState.FAILED
    assert batch.failure is not None
    assert batch.failure.code is Code.INVALID_ARGUMENT
    assert batch.failure.message.startswith("Error on line 4: ")


async def test_requests_for_what_is_not_served_fail_alone(shop: Workshop) -> None:
    asks = b'{"request": {"contents": "x", "tools": [{"googleMaps": {}}]}}\n'
    await shop.submit([asks] * 3, strict=True)
    async with planning(shop):
        assert (await left_submitted(shop)).state is BatchState.PLANNED


async def test_few_faults_are_all_listed(shop: Workshop) -> None:
    await shop.submit([b"rubbish\n"])
    async with planning(shop):
        batch = await left_submitted(shop)
    assert batch.failure is not None
    assert "more" not in batch.failure.message


async def test_an_input_of_blank_lines_fails_and_says_so(shop: Workshop) -> None:
    await shop.submit([b"\n \n"])
    async with planning(shop):
        batch = await left_submitted(shop)
    assert batch.failure is not None
    assert "every line is blank" in batch.failure.message


async def test_an_input_with_one_valid_request_is_opened(shop: Workshop) -> None:
    await shop.submit([b"rubbish\n", line("fine")])
    async with planning(shop):
        assert (await left_submitted(shop)).state is BatchState.PLANNED


async def test_a_batch_that_ended_while_it_was_planned_stays_ended(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await shop.submit(numbered(2))
    real = plan_file

    def meanwhile(*arguments: Any) -> None:
        shop.store._all(
            "UPDATE batch SET state = 'expired', ended_at = 1 WHERE batch_id = :id",
            {"id": batch.batch_id},
        )
        real(*arguments)

    monkeypatch.setattr("nightrate.work.planner.plan_file", meanwhile)
    async with planning(shop) as (_, planned):
        assert (await left_submitted(shop)).state is BatchState.EXPIRED
        for _ in range(20):
            await asyncio.sleep(0)
    assert planned == []
    assert shop.store._all("SELECT 1 FROM shard") == []


@pytest.mark.usefixtures("everything_is_large")
async def test_stopping_ends_the_planning_process(shop: Workshop, processes: Processes) -> None:
    alive: list[int] = []
    started = asyncio.Event()

    async def start(*command: str, **options: Any) -> Any:
        sleeper = (command[0], "-c", "import sys; sys.stdin.read()")
        options["stdin"] = asyncio.subprocess.PIPE
        process = await START_PROCESS(*sleeper, **options)
        alive.append(process.pid)
        started.set()
        return process

    del processes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "create_subprocess_exec", start)
        await shop.submit(numbered(1))
        async with planning(shop):
            await started.wait()
            for _ in range(20):
                await asyncio.sleep(0)
    with pytest.raises(ProcessLookupError):
        os.kill(alive[0], 0)
    assert (await shop.batch()).state is BatchState.SUBMITTED


async def test_a_mistake_of_ours_fails_the_batch_and_not_the_server(
    shop: Workshop, slept: Slept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("nightrate.work.planner.plan_file", mistaken)
    await shop.submit(numbered(3))
    async with planning(shop):
        batch = await left_submitted(shop)
    assert batch.state is BatchState.FAILED
    assert batch.failure is not None
    assert batch.failure.code is Code.INTERNAL
    assert slept.seconds == [limits.IDLE_POLL_SECONDS] * 2
