"""Places for those who look something up: some of them for live requests alone.

A batch looks up for as many requests as its engine answers at once, and each may wait long for a
slow page; whoever waits for an answer must not stand behind them.
"""

from __future__ import annotations

import asyncio


class Places:
    """Two kinds of places, neither of which ever waits for the other.

    Args:
        batch: how many there are for rows of batches.
        live: and for live requests.
    """

    def __init__(self, batch: int, live: int) -> None:
        self._batch = asyncio.Semaphore(batch)
        self._live = asyncio.Semaphore(live)

    def of(self, *, live: bool) -> asyncio.Semaphore:
        """Give the places of one kind; whoever enters a block with them has one of these."""
        return self._live if live else self._batch
