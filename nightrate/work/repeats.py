"""Which ids come more than once in an input, in bounded memory whatever its size.

Of each id a digest is kept with the number of its line. The digests are put into heaps by their
first bits; when they fill their memory, all heaps go to a file without a name. At the end one heap
at a time is sorted, which brings equal digests together.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nightrate import planning_limits

_HEAPS = 64
_DIGEST_BYTES = 16
"""Two of a billion ids share a digest by chance once in 10^20 inputs."""

_LINE_BYTES = 8
_RECORD_BYTES = _DIGEST_BYTES + _LINE_BYTES


class Repeats:
    """The ids of one input.

    Args:
        folder: where digests are put aside; None for the system's place for such files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._heaps = [bytearray() for _ in range(_HEAPS)]
        self._held_bytes = 0
        self._aside: IO[bytes] | None = None
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(_HEAPS)]

    def add(self, name: bytes, line: int) -> None:
        """Take note of an id and its line."""
        digest = hashlib.blake2b(name, digest_size=_DIGEST_BYTES).digest()
        heap = self._heaps[digest[0] % _HEAPS]
        heap += digest
        heap += line.to_bytes(_LINE_BYTES, "big")
        self._held_bytes += _RECORD_BYTES
        if self._held_bytes >= planning_limits.IDS_HELD_BYTES:
            self._put_aside()

    def find(self, most: int) -> tuple[list[tuple[int, int]], int]:
        """Give the first lines whose id was there before, and how many there are in all.

        Returns:
            pairs of a line and the first line that has its id, at most so many, in order.
        """
        count = 0

        def counted() -> Iterator[tuple[int, int]]:
            nonlocal count
            for pair in self._all():
                count += 1
                yield pair

        found = heapq.nsmallest(most, counted())
        return found, count

    def close(self) -> None:
        """Forget everything."""
        if self._aside is not None:
            self._aside.close()

    def _put_aside(self) -> None:
        if self._aside is None:
            self._aside = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - see close
        for heap, places in zip(self._heaps, self._places, strict=True):
            places.append((self._aside.tell(), len(heap)))
            self._aside.write(heap)
            heap.clear()
        self._held_bytes = 0

    def _all(self) -> Iterator[tuple[int, int]]:
        """Give every line that repeats an id, with the line of the first one, in any order."""
        for number in range(_HEAPS):
            records = sorted(self._records(number))
            for _, group in itertools.groupby(records, lambda record: record[:_DIGEST_BYTES]):
                first, *others = (int.from_bytes(record[_DIGEST_BYTES:], "big") for record in group)
                yield from ((line, first) for line in others)

    def _records(self, number: int) -> Iterator[bytes]:
        for heap in self._stored(number):
            for start in range(0, len(heap), _RECORD_BYTES):
                yield heap[start : start + _RECORD_BYTES]

    def _stored(self, number: int) -> Iterator[bytes]:
        if self._aside is not None:
            for offset, length in self._places[number]:
                self._aside.seek(offset)
                yield self._aside.read(length)
        yield bytes(self._heaps[number])
