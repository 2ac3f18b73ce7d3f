"""An event loop whose time jumps to the next timer when nobody is ready."""

from __future__ import annotations

import asyncio
from typing import Any

TURNS_AT_ONCE_MAX = 100_000
"""Turns of the loop without any time passing; more are somebody who never waits."""

_RESOLUTION_SECONDS = 1e-6
"""Coarser than the rounding of a float that counts a year in seconds."""


class Standstill(Exception):
    """Nothing can ever happen again, or everything happens at once for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs tasks in one thread without any input or output: the order is the same every time."""

    def __init__(self) -> None:
        super().__init__()
        self._time = 0.0
        self._turns = 0
        self._selector = self
        self._clock_resolution = _RESOLUTION_SECONDS

    def time(self) -> float:
        """Give the virtual seconds since the beginning."""
        return self._time

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass that nobody needs; in place of a look at sockets."""
        if timeout is None:
            raise Standstill("everybody waits, and nobody for a time")
        self._turns = 0 if timeout else self._turns + 1
        if self._turns > TURNS_AT_ONCE_MAX:
            raise Standstill(f"{TURNS_AT_ONCE_MAX} turns took no time")
        self._time += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who has to be woken: there is one thread."""
