"""A segment is a shard's lines in input order, and nobody sees it before it is named."""

from __future__ import annotations

import errno
import os
import zlib

import pytest

from nightrate import limits
from nightrate.domain.shard import JournalPart
from nightrate.store.blobs import Appender
from nightrate.work.journal import Journal
from nightrate.work.segments import segment_name, write_segment
from tests.work.workshop import Workshop, answer, make_claim, numbered


async def test_lines_are_written_in_input_order_whatever_order_they_came_in(shop: Workshop) -> None:
    claim = make_claim(2, 4, JournalPart(1, 0))
    journal = Journal(shop.blobs, claim)
    for index in (2, 0):
        journal.add(index, answer(f"answer {index}"))
    await journal.flush()
    for index in (3, 1):
        journal.add(index, answer(f"answer {index}"))
    segment = await write_segment(shop.blobs, claim, journal)
    data = shop.blobs.path(segment.blob).read_bytes()
    assert data == b"answer 0\nanswer 1\nanswer 2\nanswer 3\n"
    assert segment.byte_length == len(data)
    assert segment.crc32 == zlib.crc32(data)
    assert segment.blob == segment_name(claim)
    await journal.close()


async def test_two_owners_never_share_the_name_of_a_segment() -> None:
    assert segment_name(make_claim(1)) != segment_name(make_claim(2))


async def test_a_segment_is_written_in_bounded_pieces_and_synced_with_the_last(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEGMENT_WRITE_BYTES", 100)
    claim = make_claim(1, 9)
    journal = Journal(shop.blobs, claim)
    for index in range(9):
        journal.add(index, answer("x" * (250 if index == 4 else 40)))
    pieces: list[tuple[int, bool]] = []
    append = Appender.append

    async def noted(blob: Appender, *parts: bytes, sync: bool = False) -> None:
        pieces.append((sum(map(len, parts)), sync))
        await append(blob, *parts, sync=sync)

    monkeypatch.setattr(Appender, "append", noted)
    segment = await write_segment(shop.blobs, claim, journal)
    assert [size for size, _ in pieces] == [82, 82, 251, 82, 82]
    assert [sync for _, sync in pieces] == [False] * 4 + [True]
    assert sum(size for size, _ in pieces) == segment.byte_length
    await journal.close()


async def test_a_segment_that_was_not_finished_is_an_orphan_that_is_never_named(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(2))
    claim = await shop.claim()
    journal = Journal(shop.blobs, claim)
    for index in range(2):
        journal.add(index, answer(str(index)))

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(OSError, match="no space left"):
            await write_segment(shop.blobs, claim, journal)
    assert await shop.output() == []
    with pytest.raises(FileExistsError):  # its name is not used a second time
        await write_segment(shop.blobs, claim, journal)
    await journal.close()
    await shop.store.release([claim])
    again = await shop.claim()
    journal = Journal(shop.blobs, again)
    for index in range(2):
        journal.add(index, answer(str(index)))
    segment = await write_segment(shop.blobs, again, journal)
    assert segment.blob != segment_name(claim)
    await journal.close()


async def test_a_shard_with_a_gap_is_not_written(shop: Workshop) -> None:
    claim = make_claim(1, 3)
    journal = Journal(shop.blobs, claim)
    journal.add(0, answer("zero"))
    journal.add(2, answer("two"))
    with pytest.raises(AssertionError, match="every request has its outcome"):
        await write_segment(shop.blobs, claim, journal)
    await journal.close()
