"""Which beginnings of prompts are being read, so that nobody reads the same one at the same time.

A pipeline reuses what it has computed for a shared beginning only once that is finished. When many
prompts with one long beginning arrive together, the first is let in alone and the others wait for
it: measured three to six times faster than reading it once each.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

BLOCK_TOKENS = 32
"""Tokens of one block of the attention cache on a processor: what is reused, whole."""

WORTH_TOKENS = 128
"""What is shorter is not worth waiting for."""

_WORTH_BLOCKS = WORTH_TOKENS // BLOCK_TOKENS


class Prefixes:
    """Keeps the beginnings that are being read now, and those read lately.

    Args:
        remembered_max: how many blocks the pipeline's cache holds. One that is remembered here but
            gone there costs a second reading, nothing else.
    """

    def __init__(self, remembered_max: int) -> None:
        self._remembered_max = remembered_max
        self._read: dict[int, None] = {}
        self._reading: Counter[int] = Counter()

    def worth_waiting(self, beginnings: Sequence[int]) -> bool:
        """Tell whether another prompt is reading what this one would have to read first."""
        # A beginning is one of all its blocks: who reads the last of them reads the others.
        last = self.read_blocks(beginnings) + _WORTH_BLOCKS - 1
        return last < len(beginnings) and beginnings[last] in self._reading

    def read_blocks(self, beginnings: Sequence[int]) -> int:
        """Count the blocks of a prompt's beginning that have been read lately."""
        return sum(1 for _ in itertools.takewhile(self._read.__contains__, beginnings))

    def is_reading(self, beginning: int) -> bool:
        """Tell whether a prompt is being read that begins so."""
        return beginning in self._reading

    def make_room(self, blocks: int) -> None:
        """Forget what is gone when the pipeline has room for so many blocks beside its work.

        It lets go of what was used longest ago. Work that shares a beginning is counted as if it
        did not, so more is forgotten here than there: what counts as reused was there.
        """
        while len(self._read) > max(0, blocks):
            del self._read[next(iter(self._read))]

    def begin(self, beginnings: Sequence[int]) -> None:
        """Note that a prompt is being read."""
        self._reading.update(beginnings)

    def done(self, beginnings: Sequence[int]) -> None:
        """Note that a prompt has been read and can be reused."""
        self.drop(beginnings)
        for beginning in beginnings:
            self._read.pop(beginning, None)  # The latest are remembered longest.
            self._read[beginning] = None
        self.make_room(self._remembered_max)

    def drop(self, beginnings: Sequence[int]) -> None:
        """Note that a prompt is not being read any more, done or not."""
        self._reading.subtract(beginnings)
        for beginning in beginnings:
            if self._reading[beginning] <= 0:
                del self._reading[beginning]


def beginnings_of(tokens: bytes, token_bytes: int) -> list[int]:
    """Give one number for each beginning of whole blocks: equal numbers, equal beginnings."""
    size = BLOCK_TOKENS * token_bytes
    numbers: list[int] = []
    number = 0
    for start in range(0, len(tokens) - size + 1, size):
        number = hash((number, tokens[start : start + size]))
        numbers.append(number)
    return numbers
