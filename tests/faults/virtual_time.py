"""An event loop whose time goes on only when nobody has anything to do: ten minutes in a second.

Sockets of this process are real. What was written to one can be read from its other end at once,
so a loop that finds nothing to read has nothing to wait for but its timers, and goes to the next.
Without sockets and threads the same inputs give the same order of events.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

GRACE_SECONDS = 0.0005
"""Real time that the kernel gets to carry something over before the clock moves."""


class _Patient(selectors.BaseSelector):
    """Selects among real sockets; where it would wait for a timer, it moves the clock."""

    def __init__(self, start_seconds: float, grace_seconds: float) -> None:
        self._real = selectors.DefaultSelector()
        self._grace_seconds = grace_seconds
        self.now = start_seconds

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return self._real.select(None)
        found = self._real.select(0)
        if not found and timeout > 0:
            if self._grace_seconds:
                found = self._real.select(self._grace_seconds)
            if not found:
                self.now += timeout
        return found

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        found = self._real.get_map()
        assert found is not None, "it is open"
        return found

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop.

    Args:
        start_seconds: its time at the beginning.
        grace_seconds: how long sockets are looked at before time goes on; 0 where there are none.
    """

    def __init__(self, start_seconds: float = 0.0, grace_seconds: float = GRACE_SECONDS) -> None:
        self._patient = _Patient(start_seconds, grace_seconds)
        super().__init__(self._patient)

    def time(self) -> float:
        """Give the seconds that have passed."""
        return self._patient.now


def run(main: Coroutine[Any, Any, T], patch: pytest.MonkeyPatch, start: int) -> T:
    """Run something in virtual time, which also our clock shows.

    Args:
        main: what to run.
        patch: undoes what is done to the clock.
        start: the wall time at its beginning, in microseconds.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        patch.setattr("nightrate.clock.monotonic", loop.time)
        patch.setattr("nightrate.clock.now", lambda: start + int(loop.time() * 1_000_000))
        return runner.run(main)
