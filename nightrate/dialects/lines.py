"""JSON Lines, as a stream of blocks cut into numbered lines.

Lines are numbered as an editor shows them: blank ones count but are not given. What a line is does
not depend on how its bytes were cut into blocks, so that two passes over a file always agree.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from msgspec import Struct

from nightrate import limits

_LINE_END_BYTES_MAX = 2
_SLACK_BYTES = len(codecs.BOM_UTF8) + _LINE_END_BYTES_MAX
"""What a line may hold beside its content."""


class RawLine(Struct, frozen=True, gc=False):
    """One line that is not blank.

    ``offset`` and ``length`` span the bytes in the input, with the line end and a byte-order mark.
    ``data`` is the content without them, or None when it is longer than the limit.
    """

    number: int
    offset: int
    length: int
    data: bytes | None


class LineRun(Struct, frozen=True, gc=False):
    """Consecutive lines of an input as they lie there, blank ones too; none is too long.

    ``number`` and ``offset`` are those of the first; ``pieces`` lack their line feeds only.
    """

    number: int
    offset: int
    pieces: list[bytes]

    def line(self, index: int, offset: int) -> RawLine | None:
        """Give one line, whose offset the caller knows; None when it is blank."""
        piece = self.pieces[index]
        data = piece.removesuffix(b"\r")
        if not data or data.isspace():
            return None
        return RawLine(self.number + index, offset, len(piece) + 1, data)


def as_lines(items: Iterable[bytes]) -> Iterator[bytes]:
    """Write each JSON object on one line: a raw line break in JSON is only white space."""
    for item in items:
        yield item.replace(b"\r", b" ").replace(b"\n", b" ")
        yield b"\n"


class LineSplitter:
    r"""Cuts blocks into lines, holding no more than one line and never one that is too long.

    A byte-order mark on line 1 is dropped, ``\n`` and ``\r\n`` end a line, lines of white space
    are passed over (but count), and what follows the last line end is a line as well.

    Args:
        first_offset: where in the input the first block begins.
        first_number: the number of the line that begins there.
        limit: the longest content of a line, in bytes.
    """

    def __init__(
        self,
        first_offset: int = 0,
        first_number: int = 1,
        limit: int = limits.LINE_BYTES_MAX,
    ) -> None:
        self._offset = first_offset
        self._number = first_number
        self._limit = limit
        self._held = bytearray()
        self._held_length = 0

    def feed(self, block: bytes) -> list[RawLine]:
        """Give the lines that this block completes."""
        found, run = self.take(block)
        offset = run.offset
        for index, piece in enumerate(run.pieces):
            # As `LineRun.line` does, without a call for each line.
            length = len(piece) + 1
            data = piece[:-1] if piece.endswith(b"\r") else piece
            if data and not data.isspace():
                found.append(RawLine(run.number + index, offset, length, data))
            offset += length
        return found

    def take(self, block: bytes) -> tuple[list[RawLine], LineRun]:
        """Give the lines that this block completes: first some one by one, then a run of them."""
        found: list[RawLine] = []
        pieces = block.split(b"\n")
        tail = pieces.pop()
        if pieces and (self._held_length or self._number == 1):
            self._hold(pieces[0])
            self._end_held(found, line_end=1)
            del pieces[0]
        if len(block) > self._limit:
            self._cut(pieces, found)
            pieces = []
        run = LineRun(self._number, self._offset, pieces)
        self._number += len(pieces)
        self._offset += sum(map(len, pieces)) + len(pieces)
        if tail:
            self._hold(tail)
        return found, run

    def finish(self) -> list[RawLine]:
        """Give the last line when no line end followed it."""
        found: list[RawLine] = []
        if self._held_length:
            self._end_held(found, line_end=0)
        return found

    def _cut(self, pieces: list[bytes], found: list[RawLine]) -> None:
        """Take whole lines of which one may be too long."""
        for piece in pieces:
            self._hold(piece)
            self._end_held(found, line_end=1)

    def _hold(self, piece: bytes) -> None:
        """Keep the beginning of a line, or only its length once it is surely too long."""
        self._held_length += len(piece)
        if self._held_length > self._limit + _SLACK_BYTES:
            self._held.clear()
        else:
            self._held += piece

    def _end_held(self, found: list[RawLine], line_end: int) -> None:
        length = self._held_length + line_end
        data: bytes | None = None
        if len(self._held) == self._held_length:
            data = bytes(self._held)
            if self._number == 1:
                data = data.removeprefix(codecs.BOM_UTF8)
            if line_end:
                data = data.removesuffix(b"\r")
            if len(data) > self._limit:
                data = None
        if data is None or (data and not data.isspace()):
            found.append(RawLine(self._number, self._offset, length, data))
        self._number += 1
        self._offset += length
        self._held.clear()
        self._held_length = 0
