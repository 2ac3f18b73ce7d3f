"""Turns: how workers that may never have to wait share the event loop with everybody else.

An engine that answers at once would keep its workers running for ever, and one slice for each of
256 workers is no slice at all. So all workers of a runner share one: when it is used up they stand
in line, the loop looks at its sockets, and the first in line begins the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque

from nightrate import clock, limits


class Turns:
    """One slice of the event loop for each of its rounds."""

    def __init__(self) -> None:
        self._end = 0.0
        self._line: deque[asyncio.Future[bool]] = deque()
        self._called = 1
        self._coming = False

    @property
    def over(self) -> bool:
        """Whether the slice has been used up, and a turn must be taken."""
        return clock.monotonic() >= self._end

    async def take(self) -> None:
        """Return at once while the slice lasts, else when it is the caller's turn."""
        while self.over:
            turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._line.append(turn)
            if not self._coming:
                self._come()
            if await turn:
                return

    def _come(self) -> None:
        """Begin a slice in the next round of the loop."""
        self._coming = True
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Call the first in line; more than one while those who were called leave time over."""
        self._coming = False
        now = clock.monotonic()
        self._called = 1 if now >= self._end else 2 * self._called
        self._end = now + limits.RUNNER_SLICE_SECONDS
        wanted = self._called
        while self._line and wanted:
            turn = self._line.popleft()
            if not turn.done():  # else its worker was cancelled in the line
                turn.set_result(wanted == self._called)  # the first goes on whatever the time
                wanted -= 1
        if self._line:
            self._come()
