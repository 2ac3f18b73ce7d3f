"""Which beginnings of prompts are being read, so that nobody reads the same one at the same time.

A pipeline reuses what it has computed for a shared beginning only once that is finished. When many
prompts with one long beginning arrive together, the first is let in alone and the others wait for
it: measured three to six times faster than reading it once each.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

CHUNK_TOKENS = 128
"""Beginnings are told apart in chunks of this size; what is shorter is not worth waiting for."""


class Prefixes:
    """Keeps the beginnings that are being read now, and those read lately.

    Args:
        remembered_max: how many chunks the pipeline's cache holds. One that is remembered here but
            gone there costs a second reading, nothing else.
    """

    def __init__(self, remembered_max: int) -> None:
        self._remembered_max = remembered_max
        self._read: dict[int, None] = {}
        self._reading: Counter[int] = Counter()

    def worth_waiting(self, beginnings: Sequence[int]) -> bool:
        """Tell whether another prompt is reading what this one would have to read first."""
        new = next((beginning for beginning in beginnings if beginning not in self._read), None)
        return new is not None and new in self._reading

    def reused_tokens(self, beginnings: Sequence[int]) -> int:
        """Count the tokens of a prompt's beginning that have been read lately."""
        chunks = itertools.takewhile(self._read.__contains__, beginnings)
        return CHUNK_TOKENS * sum(1 for _ in chunks)

    def make_room(self, chunks: int) -> None:
        """Forget what is gone when the pipeline has room for so many chunks beside its work.

        It lets go of what was used longest ago. Work that shares a beginning is counted as if it
        did not, so more is forgotten here than there: what counts as reused was there.
        """
        while len(self._read) > max(0, chunks):
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
    """Give one number for each beginning of whole chunks: equal numbers, equal beginnings."""
    size = CHUNK_TOKENS * token_bytes
    numbers: list[int] = []
    number = 0
    for start in range(0, len(tokens) - size + 1, size):
        number = hash((number, tokens[start : start + size]))
        numbers.append(number)
    return numbers
