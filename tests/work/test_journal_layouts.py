"""Journals that an earlier version left are read; those of a later one are not guessed at."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from nightrate import limits
from nightrate.domain.shard import Answer, JournalPart, Tally
from nightrate.store.blobs import Blobs
from nightrate.work.journal import MAGIC, Journal, readable_bytes
from tests.work.test_journal import NAME, scanned, written
from tests.work.workshop import answer, inline, make_claim


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", inline)


OLD_MAGIC = b"nightrate journal 1\n"


def old_frame(index: int, one: Answer) -> bytes:
    """Write a record as it was written before the engine's time was counted."""
    tally = one.tally
    tokens = tally.prompt_tokens, tally.output_tokens, tally.cached_tokens
    rest = struct.pack("<6I", index, len(one.line), tally.succeeded, *tokens)
    return struct.pack("<I", zlib.crc32(one.line, zlib.crc32(rest))) + rest + one.line


async def test_answers_of_a_journal_in_the_former_layout_are_taken_over(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 64)
    answers = [answer("zero of 1"), answer("x" * 200, ok=False), answer("")]
    old = OLD_MAGIC + b"".join(map(old_frame, range(3), answers))
    blobs.path(NAME).parent.mkdir(parents=True)
    blobs.path(NAME).write_bytes(old + b"torn")
    assert await readable_bytes(blobs, NAME) == len(old)
    new = await written(
        *(blobs, answer("zero of 2"), answer(""), answer("")),
        answer("three of 2", nanoseconds=5),
        epoch=2,
    )
    journal = Journal(blobs, make_claim(3))
    await journal.recover([JournalPart(1, len(old)), JournalPart(2, new)])
    assert await journal.lines(0, 1000) == [b"zero of 1", b"x" * 200, b"", b"three of 2"]
    assert journal.tally == Tally(3, 1, 12, 8, 4, 0, 5)
    await journal.close()


async def test_a_journal_of_an_unknown_layout_holds_nothing(blobs: Blobs) -> None:
    length = await written(blobs, answer("zero"))
    data = blobs.path(NAME).read_bytes().replace(MAGIC, b"nightrate journal 3\n")
    blobs.path(NAME).write_bytes(data)
    assert await scanned(blobs, length) == []
