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
        pieces = block.split(b"\n")
        tail = pieces.pop()
        found: list[RawLine] = []
        if pieces:
            start = 0
            if self._held_length or self._number == 1:
                self._hold(pieces[0])
                self._end_held(found, line_end=1)
                start = 1
            self._cut(pieces, start, found)
        if tail:
            self._hold(tail)
        return found

    def finish(self) -> list[RawLine]:
        """Give the last line when no line end followed it."""
        found: list[RawLine] = []
        if self._held_length:
            self._end_held(found, line_end=0)
        return found

    def _cut(self, pieces: list[bytes], start: int, found: list[RawLine]) -> None:
        """Take whole lines; the hot loop of every pass over a file."""
        number, offset, limit = self._number, self._offset, self._limit
        for index in range(start, len(pieces)):
            data = pieces[index]
            length = len(data) + 1
            if data.endswith(b"\r"):
                data = data[:-1]
            if len(data) > limit:
                found.append(RawLine(number, offset, length, None))
            elif data and not data.isspace():
                found.append(RawLine(number, offset, length, data))
            number += 1
            offset += length
        self._number, self._offset = number, offset

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
