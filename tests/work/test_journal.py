"""Journals give back what was synced, up to the first byte that is not what was written."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits
from nightrate.domain.shard import Answer, JournalPart, Tally
from nightrate.store.blobs import Blobs
from nightrate.work.journal import (
    MAGIC,
    Journal,
    Record,
    head_of,
    journal_name,
    readable_bytes,
    records,
    scan,
)
from tests.work.workshop import answer, inline, make_claim

T = TypeVar("T")

NAME = journal_name(make_claim(), 1)

U32 = st.integers(0, 2**32 - 1)
ANSWERS = st.lists(
    st.tuples(
        U32,
        st.builds(
            Answer,
            st.binary(max_size=60),
            st.builds(
                lambda ok, *sums: Tally(ok, 1 - ok, *sums),
                *(st.integers(0, 1), U32, U32, U32, U32, st.integers(0, 2**64 - 1)),
            ),
        ),
    ),
    max_size=8,
)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", inline)


@pytest.fixture
async def journal(blobs: Blobs) -> AsyncIterator[Journal]:
    journal = Journal(blobs, make_claim())
    yield journal
    await journal.close()


async def scanned(blobs: Blobs, byte_length: int, name: str = NAME) -> list[int]:
    reader = await blobs.open(name)
    try:
        return [record.index async for record in scan(reader, byte_length)]
    finally:
        await reader.close()


async def written(blobs: Blobs, *answers: Answer, epoch: int = 1) -> int:
    """Write a journal of these answers and give its length."""
    journal = Journal(blobs, make_claim(epoch))
    for index, one in enumerate(answers):
        journal.add(index, one)
    await journal.flush()
    await journal.close()
    return journal.counted_bytes


def frame(index: int, one: Answer) -> bytes:
    """Write one whole record."""
    return head_of(index, one) + one.line


# records --------------------------------------------------------------------------------------


@given(ANSWERS, st.integers(0, 10**9))
def test_records_come_back_as_they_were_framed(
    answers: list[tuple[int, Answer]], offset: int
) -> None:
    data = b"".join(frame(index, one) for index, one in answers)
    found = list(records(data, offset))
    assert [(record.index, record.tally) for record in found] == [
        (index, one.tally) for index, one in answers
    ]
    for record, (_, one) in zip(found, answers, strict=True):
        start = record.offset - offset
        assert data[start : start + record.length] == one.line


@given(ANSWERS, st.data())
def test_a_torn_record_and_what_follows_it_are_not_read(
    answers: list[tuple[int, Answer]], data: st.DataObject
) -> None:
    frames = [frame(index, one) for index, one in answers]
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    found = list(records(whole[:cut], 0))
    ends = [sum(map(len, frames[: count + 1])) for count in range(len(frames))]
    assert len(found) == sum(end <= cut for end in ends)


@given(ANSWERS.filter(bool), st.data())
def test_a_flipped_bit_stops_the_reading_exactly_there(
    answers: list[tuple[int, Answer]], data: st.DataObject
) -> None:
    frames = [frame(index, one) for index, one in answers]
    whole = bytearray(b"".join(frames))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    sound, end = 0, 0
    for one in frames:
        end += len(one)
        if end > bit // 8:
            break
        sound += 1
    assert [record.index for record in records(bytes(whole), 0)] == [
        index for index, _ in answers[:sound]
    ]


# writing --------------------------------------------------------------------------------------


async def test_a_journal_that_was_never_flushed_has_no_file(blobs: Blobs, journal: Journal) -> None:
    journal.add(0, answer("early"))
    assert await journal.lines(0, 100) == [b"early"]
    await journal.close()
    assert await blobs.size(NAME) is None
    assert journal.counted_bytes == 0


async def test_flushing_nothing_makes_no_file(blobs: Blobs, journal: Journal) -> None:
    await journal.flush()
    assert await blobs.size(NAME) is None


async def test_a_flush_makes_answers_durable_and_only_then_counts_them(
    blobs: Blobs, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted_at_sync = []
    sync = os.fdatasync

    def noted(descriptor: int) -> None:
        counted_at_sync.append((journal.counted_bytes, journal.counted))
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    journal.add(0, answer("one"))
    journal.add(2, answer("two", ok=False))
    assert (journal.counted_bytes, journal.counted) == (0, Tally())
    assert journal.tally == Tally(1, 1, 6, 4, 2)
    assert journal.unwritten_bytes > 0
    await journal.flush()
    assert counted_at_sync == [(0, Tally())]
    assert journal.unwritten_bytes == 0
    assert journal.counted == journal.tally
    assert journal.counted_bytes == await blobs.size(NAME)
    assert await scanned(blobs, journal.counted_bytes) == [0, 2]


async def test_a_journal_knows_its_answers(journal: Journal) -> None:
    journal.add(4, answer("x"))
    assert 4 in journal
    assert 0 not in journal
    assert journal.count == 1


async def test_an_answer_is_recorded_once(journal: Journal) -> None:
    journal.add(0, answer("first"))
    with pytest.raises(AssertionError, match="first recorded outcome counts"):
        journal.add(0, answer("second"))


async def test_answers_of_the_tally_that_are_not_synced_are_not_counted(journal: Journal) -> None:
    journal.add(0, answer("one"))
    await journal.flush()
    journal.add(1, answer("two"))
    assert journal.counted == Tally(1, 0, 3, 2, 1)
    assert journal.tally == Tally(2, 0, 6, 4, 2)


class Gate:
    """A `run` that lets the test hold back calls."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.arrived = asyncio.Event()

    async def run(self, call: Callable[[], T], /) -> T:
        self.arrived.set()
        await self.open.wait()
        return call()


async def test_answers_may_be_added_while_a_flush_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    blobs = Blobs(tmp_path / "blobs", gate.run)
    journal = Journal(blobs, make_claim())
    counted_at_sync = []
    monkeypatch.setattr(
        os, "fdatasync", lambda _descriptor: counted_at_sync.append(journal.counted.succeeded)
    )
    journal.add(0, answer("zero"))
    gate.open.clear()
    first = asyncio.create_task(journal.flush())
    await gate.arrived.wait()
    journal.add(1, answer("one"))
    second = asyncio.create_task(journal.flush())
    assert await journal.lines(0, 100) == [b"zero", b"one"]  # both still in memory
    gate.open.set()
    await first
    await second
    assert counted_at_sync == [0, 1]
    assert journal.counted.succeeded == 2
    assert await scanned(blobs, journal.counted_bytes) == [0, 1]
    journal.add(2, answer("two"))
    assert await journal.lines(0, 100) == [b"zero", b"one", b"two"]
    await journal.close()


async def test_closing_waits_for_a_flush_and_later_flushes_write_nothing(tmp_path: Path) -> None:
    gate = Gate()
    blobs = Blobs(tmp_path / "blobs", gate.run)
    journal = Journal(blobs, make_claim())
    journal.add(0, answer("zero"))
    gate.open.clear()
    flush = asyncio.create_task(journal.flush())
    await gate.arrived.wait()
    close = asyncio.create_task(journal.close())
    await asyncio.sleep(0)
    assert not close.done()
    gate.open.set()
    await flush
    await close
    size = await blobs.size(NAME)
    assert size == journal.counted_bytes > 0
    journal.add(1, answer("late"))
    await journal.flush()
    assert await blobs.size(NAME) == size
    await journal.close()


async def test_what_a_failed_sync_left_is_cut_off_so_that_nobody_counts_it(
    blobs: Blobs, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.add(0, answer("kept"))
    await journal.flush()
    journal.add(1, answer("refused"))

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(OSError, match="the disk is gone"):
            await journal.flush()
    assert journal.counted.succeeded == 1
    assert await readable_bytes(blobs, NAME) == journal.counted_bytes == await blobs.size(NAME)
    journal.add(2, answer("after"))
    await journal.flush()  # the file is abandoned: nothing more is written to it
    assert await blobs.size(NAME) == journal.counted_bytes


async def test_a_disk_that_refuses_even_that_is_reported(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(blobs, make_claim())
    journal.add(0, answer("refused"))

    def refuse(*_arguments: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="the disk is gone"):
            await journal.flush()
    assert "could not be cut off" in caplog.text
    await journal.close()


# lines ----------------------------------------------------------------------------------------


async def test_lines_mix_earlier_parts_synced_and_recent_answers(blobs: Blobs) -> None:
    length = await written(blobs, answer("zero"), answer("one"))
    journal = Journal(blobs, make_claim(2))
    await journal.recover([JournalPart(1, length)])
    journal.add(3, answer("three"))
    await journal.flush()
    journal.add(2, answer("two"))
    assert await journal.lines(0, 1000) == [b"zero", b"one", b"two", b"three"]
    await journal.close()


async def test_lines_stop_at_a_gap_and_before_the_bound(journal: Journal) -> None:
    for index in (0, 1, 2, 4):
        journal.add(index, answer("abcd"))
    assert await journal.lines(0, 1000) == [b"abcd"] * 3
    assert await journal.lines(0, 8) == [b"abcd"] * 2
    assert await journal.lines(0, 11) == [b"abcd"] * 2
    assert await journal.lines(0, 1) == [b"abcd"]  # one at least, however long
    assert await journal.lines(3, 1000) == []


# reading journals -----------------------------------------------------------------------------


async def test_the_readable_length_ends_before_a_torn_tail(blobs: Blobs) -> None:
    length = await written(blobs, answer("one"), answer("two"))
    with blobs.path(NAME).open("ab") as file:
        file.write(frame(2, answer("three"))[:-1])
    assert await readable_bytes(blobs, NAME) == length
    assert await scanned(blobs, 10**6) == [0, 1]


async def test_the_readable_length_is_synced_before_it_is_told(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(blobs, answer("one"))
    synced = []
    sync = os.fdatasync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    assert await readable_bytes(blobs, NAME) > 0
    assert synced == [blobs.path(NAME)]


@pytest.mark.parametrize("content", [b"", MAGIC[:-3], b"something else\n" * 9, MAGIC])
async def test_a_journal_without_records_has_no_readable_bytes(
    blobs: Blobs, content: bytes
) -> None:
    await blobs.put(NAME, [content])
    assert await readable_bytes(blobs, NAME) == 0
    assert await scanned(blobs, 10**6) == []


async def test_a_journal_that_is_not_there_has_no_readable_bytes(blobs: Blobs) -> None:
    assert await readable_bytes(blobs, NAME) == 0


async def test_no_more_than_the_counted_bytes_are_read(blobs: Blobs) -> None:
    length = await written(blobs, answer("one"), answer("two"))
    last = len(frame(1, answer("two")))
    assert await scanned(blobs, length - last) == [0]
    assert await scanned(blobs, length - 1) == [0]
    assert await scanned(blobs, length) == [0, 1]


async def test_records_longer_than_a_read_and_across_reads_are_found(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 64)
    answers = [answer("x" * size) for size in (0, 1, 40, 200, 5, 1000, 64, 36, 3)]
    length = await written(blobs, *answers)
    assert await scanned(blobs, length) == list(range(len(answers)))
    assert await readable_bytes(blobs, NAME) == length


async def test_a_damaged_length_does_not_make_us_hold_more_than_two_lines(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 64)
    monkeypatch.setattr(limits, "LINE_BYTES_MAX", 1024)
    await written(blobs, answer("y" * 10_000))
    data = bytearray(blobs.path(NAME).read_bytes())
    data[len(MAGIC) + 8 : len(MAGIC) + 12] = struct.pack("<I", 2**32 - 1)
    blobs.path(NAME).write_bytes(data)
    reader = await blobs.open(NAME)
    asked = []
    read_some = reader.read_some

    async def noted(offset: int, length: int) -> bytes:
        asked.append(length)
        return await read_some(offset, length)

    monkeypatch.setattr(reader, "read_some", noted)
    found: list[Record] = [record async for record in scan(reader, len(data))]
    assert found == []
    assert max(asked) <= 2 * 1024
    await reader.close()


# taking over ----------------------------------------------------------------------------------


async def test_the_first_recorded_answer_counts_over_several_epochs(blobs: Blobs) -> None:
    first = await written(
        *(blobs, answer("zero of 1", nanoseconds=1_000)),
        answer("one of 1", thought=1, nanoseconds=200),
    )
    second = await written(
        *(blobs, answer("zero of 2", nanoseconds=77), answer("one of 2", thought=2)),
        answer("two of 2", ok=False, nanoseconds=30),
        epoch=2,
    )
    journal = Journal(blobs, make_claim(4))
    await journal.recover([JournalPart(1, first), JournalPart(2, second), JournalPart(3, 0)])
    assert await journal.lines(0, 1000) == [b"zero of 1", b"one of 1", b"two of 2"]
    assert journal.tally == journal.counted == Tally(2, 1, 9, 6, 3, 1, 1_230)
    assert journal.counted_bytes == 0
    await journal.close()


async def test_only_counted_bytes_of_an_earlier_part_are_taken_over(blobs: Blobs) -> None:
    length = await written(blobs, answer("zero"), answer("one"))
    last = len(frame(1, answer("one")))
    journal = Journal(blobs, make_claim(2))
    await journal.recover([JournalPart(1, length - last)])
    assert journal.count == 1
    await journal.close()


async def test_a_missing_part_is_reported_and_its_answers_are_made_again(
    blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    second = await written(blobs, answer("zero of 2"), epoch=2)
    journal = Journal(blobs, make_claim(3))
    with caplog.at_level(logging.ERROR):
        await journal.recover([JournalPart(1, 99), JournalPart(2, second)])
    assert journal_name(make_claim(), 1) in caplog.text
    assert await journal.lines(0, 1000) == [b"zero of 2"]
    await journal.close()


async def test_a_damaged_part_is_reported_by_name_and_read_up_to_the_damage(
    blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    length = await written(blobs, answer("zero"), answer("one"), answer("two"))
    data = bytearray(blobs.path(NAME).read_bytes())
    data[data.index(b"one")] ^= 1
    blobs.path(NAME).write_bytes(data)
    journal = Journal(blobs, make_claim(2))
    with caplog.at_level(logging.ERROR):
        await journal.recover([JournalPart(1, length)])
    assert f"{NAME} is damaged" in caplog.text
    assert journal.count == 1
    await journal.close()


async def test_who_waited_for_a_refused_flush_does_not_write_behind_the_hole(
    blobs: Blobs, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, refuse = asyncio.Event(), asyncio.Event()

    async def refused(_name: str) -> None:
        begun.set()
        await refuse.wait()
        raise OSError(errno.ENOSPC, "no space left")

    journal.add(0, answer("one"))
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "create", refused)
        first = asyncio.create_task(journal.flush())
        await begun.wait()
        journal.add(1, answer("two"))
        second = asyncio.create_task(journal.flush())
        await asyncio.sleep(0)
        refuse.set()
        with pytest.raises(OSError, match="no space"):
            await first
    await second
    assert await blobs.size(NAME) is None
    assert journal.counted_bytes == 0
    assert await journal.lines(0, 1000) == [b"one", b"two"]
