"""The lines of a shard: as they lie there, and arranged by what they begin with."""

from __future__ import annotations

import pytest

from nightrate import limits
from nightrate.dialects.lines import RawLine
from nightrate.domain.batch import Dialect
from nightrate.errors import Damaged
from nightrate.work.open_shard import open_shard
from nightrate.work.shard_lines import ShardLines
from tests.work.workshop import Workshop, answer, chat_line, line, numbered

BOOKS = ["War and peace. " * 60, "Dead souls. " * 80]
"""Both longer than the piece by which beginnings are compared."""


def questions(count: int) -> list[bytes]:
    """Write lines that ask of the books in turns."""
    return [line(f"{BOOKS[number % 2]} {number}", str(number)) for number in range(count)]


async def rows_of(shop: Workshop, *, arranged: bool) -> list[tuple[int, RawLine]]:
    """Read the first shard of the batch that was planned."""
    batch, claim = await shop.batch(), await shop.claim()
    await shop.store.release([claim])
    lines = ShardLines(claim.plan, batch, arranged=arranged)
    reader = await shop.blobs.open(batch.input_blob)
    rows: list[tuple[int, RawLine]] = []
    try:
        while not lines.exhausted:
            rows += await lines.read(reader)
    finally:
        await reader.close()
    return rows


async def indexes_of(shop: Workshop) -> list[int]:
    return [index for index, _ in await rows_of(shop, arranged=True)]


async def test_requests_that_begin_alike_come_together(shop: Workshop) -> None:
    await shop.plan(questions(8))
    assert await indexes_of(shop) == [0, 2, 4, 6, 1, 3, 5, 7]


@pytest.mark.parametrize("read_bytes", [100, 2_000, limits.READ_BYTES])
async def test_each_comes_once_and_as_it_was_whatever_the_order(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> None:
    rows = questions(6)
    blank = [b"\xef\xbb\xbf" + rows[0], b"\r\n", rows[1][:-1] + b"\r\n", *rows[2:5], b"  \n"]
    await shop.plan([*blank, rows[5][:-1]])  # a mark, blank lines, no last line end
    as_they_lie = await rows_of(shop, arranged=False)
    monkeypatch.setattr(limits, "READ_BYTES", read_bytes)
    arranged = await rows_of(shop, arranged=True)
    assert [index for index, _ in arranged] == [0, 2, 4, 1, 3, 5]
    assert sorted(arranged, key=lambda row: row[0]) == as_they_lie
    assert [one.number for _, one in as_they_lie] == [1, 3, 4, 5, 6, 8]


async def test_what_shares_nothing_comes_as_it_lies_there(shop: Workshop) -> None:
    await shop.plan([*numbered(3), b"{broken\n", line(BOOKS[0]), *numbered(3)])
    assert await indexes_of(shop) == list(range(8))


async def test_other_ways_of_asking_are_arranged_too(shop: Workshop) -> None:
    rows = [chat_line(str(number), f"{BOOKS[number % 2]} {number}") for number in range(4)]
    await shop.plan(rows, dialect=Dialect.OPENAI)
    assert await indexes_of(shop) == [0, 2, 1, 3]


async def test_no_more_is_read_at_once_than_otherwise(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(questions(8))
    monkeypatch.setattr(limits, "READ_BYTES", 2_500)  # two lines and a half
    batch, claim = await shop.batch(), await shop.claim()
    lines = ShardLines(claim.plan, batch, arranged=True)
    reader = await shop.blobs.open(batch.input_blob)
    counts = []
    while not lines.exhausted:
        counts.append(len(await lines.read(reader)))
    await reader.close()
    assert counts == [2, 2, 2, 2]


async def test_an_input_with_other_lines_than_planned_is_damage(shop: Workshop) -> None:
    batch = await shop.plan(questions(4))
    path = shop.blobs.path(batch.input_blob)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\n", b" ", 1))
    with pytest.raises(Damaged, match="other lines"):
        await rows_of(shop, arranged=True)


async def test_an_input_that_changes_between_two_passes_is_damage(shop: Workshop) -> None:
    batch, claim = await shop.plan(questions(4)), await shop.claim()
    lines = ShardLines(claim.plan, batch, arranged=True)
    reader = await shop.blobs.open(batch.input_blob)
    await lines.read(reader)
    path = shop.blobs.path(batch.input_blob)
    lines = ShardLines(claim.plan, batch, arranged=True)
    read_all, content = reader.read_all, path.read_bytes()

    async def changed(ranges: list[tuple[int, int]]) -> list[bytes]:
        path.write_bytes(content[:50] + b"\n" + content[51:])
        return await read_all(ranges)

    reader.read_all = changed  # type: ignore[assignment,method-assign]
    with pytest.raises(Damaged, match="other lines"):
        await lines.read(reader)
    await reader.close()


async def test_only_unanswered_requests_are_handed_out_again_in_any_order(shop: Workshop) -> None:
    batch = await shop.plan(questions(6))
    first = await open_shard(await shop.claim(), batch, shop.store, shop.blobs, arranged=True)
    for index in (0, 3):
        first.journal.add(index, answer(str(index)))
    await first.journal.flush()
    await shop.store.release([first.claim])
    second = await open_shard(await shop.claim("b"), batch, shop.store, shop.blobs, arranged=True)
    rows = await second.read()
    assert [index for index, _ in rows] == [2, 4, 1, 5]
    assert second.exhausted
    for shard in (first, second):
        await shard.close(shop.blobs, sealed=False)
