"""The lines of a shard, read from its input block by block: as they lie there, or arranged.

Arranged, the requests that begin alike come one after the other, so that an engine reads what they
share once, and has it still when the next one comes. The order is found in a first pass that keeps
the place of each line and some marks of its beginning; the lines are read again in that order, so
no more of them is in memory than otherwise.
"""

from __future__ import annotations

from msgspec import Struct

from nightrate import limits
from nightrate.dialects.lines import LineSplitter, RawLine
from nightrate.dialects.rows import parse_row
from nightrate.domain.batch import Batch, Method
from nightrate.domain.beginning import beginning_of, together
from nightrate.domain.generation import Prompt
from nightrate.domain.shard import ShardPlan
from nightrate.errors import Damaged
from nightrate.store.blobs import Reader


class _Spot(Struct, frozen=True, gc=False):
    """Where a request lies: its index in the shard, its line, and the bytes of that."""

    index: int
    number: int
    offset: int
    length: int


class ShardLines:
    """The lines of one shard, handed out once each.

    Args:
        plan: where they lie.
        batch: whose they are.
        arranged: whether prompts that begin alike are handed out together.
    """

    def __init__(self, plan: ShardPlan, batch: Batch, *, arranged: bool) -> None:
        self._batch = batch
        self._plan = plan
        self._count = plan.request_count
        self._handed = 0
        self._spots: list[_Spot] | None = None
        """What is handed out next, at the end; None if it comes as it lies there."""
        self._to_arrange = (
            arranged and plan.request_count > 1 and batch.kind.method is Method.GENERATE
        )
        self._rewind()

    @property
    def exhausted(self) -> bool:
        """Whether every line has been handed out."""
        return self._handed == self._count

    async def read(self, reader: Reader) -> list[tuple[int, RawLine]]:
        """Give the lines of the next block, each with the index of its request.

        Raises:
            Damaged: the input is not what was planned.
            OSError: the disk refused.
        """
        if self._to_arrange:
            self._to_arrange = False
            self._spots = await self._arrange(reader)
        lines = await (
            self._read_on(reader) if self._spots is None else self._read_spots(reader, self._spots)
        )
        self._handed += len(lines)
        return lines

    def _rewind(self) -> None:
        plan = self._plan
        self._next_index = 0
        self._position, self._end = plan.byte_offset, plan.byte_offset + plan.byte_length
        self._splitter = LineSplitter(first_offset=plan.byte_offset, first_number=plan.first_line)

    async def _read_on(self, reader: Reader) -> list[tuple[int, RawLine]]:
        length = min(limits.READ_BYTES, self._end - self._position)
        lines = self._splitter.feed(await reader.read(self._position, length))
        self._position += length
        if self._position == self._end:
            lines += self._splitter.finish()
        first, self._next_index = self._next_index, self._next_index + len(lines)
        if self._next_index > self._count or (
            self._position == self._end and self._next_index != self._count
        ):
            raise self._other_lines()
        return list(enumerate(lines, first))

    async def _arrange(self, reader: Reader) -> list[_Spot] | None:
        """Look through all lines for those that begin alike; None if that changes nothing."""
        spots: list[_Spot] = []
        beginnings: list[bytes] = []
        while self._next_index < self._count:
            for index, line in await self._read_on(reader):
                spots.append(_Spot(index, line.number, line.offset, line.length))
                beginnings.append(self._beginning(line))
        self._rewind()
        order = together(beginnings)
        if order == sorted(order):
            return None
        return [spots[position] for position in reversed(order)]

    def _beginning(self, line: RawLine) -> bytes:
        batch = self._batch
        asked = parse_row(line.data, line.number, batch.kind, batch.model).prompt
        return beginning_of(asked) if isinstance(asked, Prompt) else b""

    async def _read_spots(self, reader: Reader, spots: list[_Spot]) -> list[tuple[int, RawLine]]:
        taken: list[_Spot] = []
        size_bytes = 0
        while spots and (not taken or size_bytes + spots[-1].length <= limits.READ_BYTES):
            taken.append(spots.pop())
            size_bytes += taken[-1].length
        pieces = await reader.read_all([(spot.offset, spot.length) for spot in taken])
        lines = []
        for spot, piece in zip(taken, pieces, strict=True):
            splitter = LineSplitter(first_offset=spot.offset, first_number=spot.number)
            found = [*splitter.feed(piece), *splitter.finish()]
            if len(found) != 1:
                raise self._other_lines()
            lines.append((spot.index, found[0]))
        return lines

    def _other_lines(self) -> Damaged:
        return Damaged(f"blob {self._batch.input_blob} has other lines than were planned")
