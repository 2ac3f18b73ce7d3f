"""A look at an input: what it counts, how far it goes, and that a large one has its own process."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate import clock, limits, planning_limits
from nightrate.domain.batch import BatchForm, Kind
from nightrate.domain.inspection import Budget, Inspection
from nightrate.errors import Code, NotReady
from nightrate.work.inspector import Inspector, inspect_input
from tests.work.workshop import inline, line, numbered

MODEL = "m"
WHOLE = Budget(bytes_max=2**40, seconds_max=60, faults_max=20)
UNSERVED = b'{"key": "t", "request": {"contents": "x", "tools": [{"googleMaps": {}}]}}\n'
START_PROCESS = asyncio.create_subprocess_exec


def look(data: bytes, budget: Budget = WHOLE, form: BatchForm = BatchForm.FILE) -> Inspection:
    return inspect_input(io.BytesIO(data), MODEL, Kind(form), budget)


class Processes:
    """Counts the processes that are started."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.started: list[asyncio.subprocess.Process] = []
        self.first = asyncio.Event()
        self.doomed = False
        patch.setattr(asyncio, "create_subprocess_exec", self.start)

    async def start(self, *command: str, **options: Any) -> asyncio.subprocess.Process:
        process = await START_PROCESS(*command, **options)
        self.started.append(process)
        self.first.set()
        if self.doomed:
            os.kill(process.pid, signal.SIGKILL)
        return process


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(monkeypatch)


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning_limits, "CHECK_IN_PLACE_BYTES_MAX", -1)


# what is found --------------------------------------------------------------------------------


def test_requests_faults_and_texts_are_counted() -> None:
    found = look(line("ab", "1") + b"\nrubbish\n" + UNSERVED + line("\u00e9", "2"))
    assert (found.request_count, found.invalid_count, found.malformed_count) == (4, 2, 1)
    assert [(one.number, one.code) for one in found.faults] == [
        (3, Code.INVALID_ARGUMENT),
        (4, Code.UNIMPLEMENTED),
    ]
    assert found.faults[0].field is None
    assert found.faults[1].field == "request.tools[0].googleMaps"
    assert found.faults[1].message.startswith("Error on line 4: request.tools[0].googleMaps: ")
    assert found.text_bytes == 4
    assert found.shard_count == 1
    assert found.complete


def test_the_field_is_the_one_that_the_client_wrote() -> None:
    (fault,) = look(b'{"request": {"contents": "x", "generation_config": {"top_k": -1}}}').faults
    assert fault.field == "request.generation_config.top_k"


def test_faults_are_listed_up_to_the_bound_and_all_counted() -> None:
    found = look(b"rubbish\n" * 30)
    assert len(found.faults) == 20
    assert found.malformed_count == 30


def test_keys_that_come_again_are_named() -> None:
    lines = [line("x", key) for key in ("a", "b", "a", "c", "a")]
    found = look(b"".join(lines) + b'{"request": {"contents": "x"}}\n')
    assert [(one.key, one.number) for one in found.repeated_keys] == [('"a"', 3), ('"a"', 5)]
    assert (found.repeated_count, found.keys_compared) == (2, 5)


def test_keys_in_metadata_are_keys_too() -> None:
    item = b'{"request": {"contents": "x"}, "metadata": {"key": "k"}}\n'
    other = b'{"request": {"contents": "x"}, "metadata": {"n": 1}}\n'
    found = look(item + other + item, form=BatchForm.INLINE)
    assert [(one.key, one.number) for one in found.repeated_keys] == [('"k"', 3)]


def test_memory_for_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning_limits, "KEYS_COMPARED_MAX", 2)
    monkeypatch.setattr(planning_limits, "REPEATED_KEYS_LISTED_MAX", 1)
    found = look(b"".join(line("x", key) for key in ("a", "b", "c", "c", "a", "b")))
    assert (found.repeated_count, found.keys_compared) == (2, 4)
    assert len(found.repeated_keys) == 1


# how far --------------------------------------------------------------------------------------


def test_a_line_that_the_budget_cuts_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 64)
    data = b"".join(numbered(20))
    found = look(data, Budget(bytes_max=200, seconds_max=60, faults_max=20))
    assert not found.complete
    assert 0 < found.request_count < 20
    assert found.invalid_count == 0
    assert found.read_bytes == 256
    whole = look(data, Budget(bytes_max=len(data), seconds_max=60, faults_max=20))
    assert whole.complete
    assert whole.request_count == 20


def test_time_is_a_budget_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 64)
    now = [0.0]

    def tick() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(clock, "monotonic", tick)
    found = look(b"".join(numbered(20)), Budget(bytes_max=2**40, seconds_max=3, faults_max=20))
    assert not found.complete
    assert found.read_bytes == 128


def test_the_first_sound_request_may_be_all_that_is_asked() -> None:
    budget = Budget(bytes_max=2**40, seconds_max=60, faults_max=20, to_first_sound=True)
    for sound in (line("x"), UNSERVED):
        found = look(b"rubbish\n" + sound + b"rubbish\n" * 9, budget)
        assert (found.request_count, found.malformed_count) == (2, 1)
        assert not found.complete
    assert look(b"rubbish\n" * 9, budget).complete


# where ----------------------------------------------------------------------------------------

ITEMS = (*(row.rstrip() for row in numbered(3)), b'{\n"request":\r\n5}')


async def test_a_small_input_is_read_in_place(tmp_path: Path, processes: Processes) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"".join(numbered(3)) + b"rubbish")
    found = await Inspector(inline).inspect(path, MODEL, Kind(), WHOLE)
    assert (found.request_count, found.malformed_count) == (4, 1)
    found = await Inspector(inline).inspect(ITEMS, MODEL, Kind(BatchForm.INLINE), WHOLE)
    assert (found.request_count, found.faults[-1].number) == (4, 4)
    assert processes.started == []


async def test_a_large_input_has_a_process_of_its_own(
    tmp_path: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"".join(numbered(300)) + b"rubbish\n" + line("x", "0"))
    near = await Inspector(inline).inspect(path, MODEL, Kind(), WHOLE)
    near_items = await Inspector(inline).inspect(ITEMS, MODEL, Kind(BatchForm.INLINE), WHOLE)
    monkeypatch.setattr(planning_limits, "CHECK_IN_PLACE_BYTES_MAX", -1)
    assert await Inspector(inline).inspect(path, MODEL, Kind(), WHOLE) == near
    far = await Inspector(inline).inspect(ITEMS, MODEL, Kind(BatchForm.INLINE), WHOLE)
    assert far == near_items
    assert len(processes.started) == 2


@pytest.mark.usefixtures("everything_is_large")
async def test_a_process_that_dies_is_told(processes: Processes) -> None:
    processes.doomed = True
    with pytest.raises(NotReady, match="ended with status -9: it said nothing"):
        await Inspector(inline).inspect(ITEMS, MODEL, Kind(), WHOLE)


@pytest.mark.usefixtures("everything_is_large")
async def test_nobody_looks_for_one_who_left(tmp_path: Path, processes: Processes) -> None:
    fifo = tmp_path / "input"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)  # what is read from it never ends
    try:
        looking = asyncio.create_task(Inspector(inline).inspect(fifo, MODEL, Kind(), ENDLESS))
        await processes.first.wait()
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
    finally:
        os.close(writer)
    assert processes.started[0].returncode == -signal.SIGKILL


ENDLESS = msgspec.structs.replace(WHOLE, seconds_max=600)
