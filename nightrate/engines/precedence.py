"""Who goes first on a processor that two processes share.

While somebody waits for the first token of an answer, the process that works for nobody in
particular stands still, in the middle of whatever it computes: the system stops it at once and lets
it go on where it was. So a batch costs a live request next to nothing, however long its steps are.
It never stands for longer than a second without running for a while in between, and so goes on
whatever comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nightrate import clock

STANDSTILL_SECONDS_MAX = 1.0
"""Together, until it has run for a breath."""

BREATH_SECONDS = 0.25


class Precedence:
    """Has somebody stand still while others are awaited.

    Args:
        stop: makes it stand still.
        go: lets it go on.
        call_later: calls a function after so many seconds; None for the running loop's.
    """

    def __init__(
        self,
        stop: Callable[[], None],
        go: Callable[[], None],
        call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle] | None = None,
    ) -> None:
        self._stop = stop
        self._go = go
        self._call_later = call_later
        self._awaited = 0
        self._standing_since: float | None = None
        self._stood_seconds = 0.0
        """Since it last ran for a breath, without the present standstill."""
        self._went_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def first(self) -> Iterator[Callable[[], None]]:
        """Go first, until the function that is given is called, or this is left."""
        over = False

        def end() -> None:
            nonlocal over
            if not over:
                over = True
                self._awaited -= 1
                self._weigh()

        self._awaited += 1
        self._weigh()
        try:
            yield end
        finally:
            end()

    def _weigh(self) -> None:
        """Stop it or let it go, as it should be now, and look again when that will change."""
        now = clock.monotonic()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._standing_since is not None:
            stood_seconds = self._stood_seconds + now - self._standing_since
            if self._awaited and stood_seconds < STANDSTILL_SECONDS_MAX:
                self._look_in(STANDSTILL_SECONDS_MAX - stood_seconds)
                return
            self._stood_seconds, self._standing_since, self._went_at = stood_seconds, None, now
            self._go()
        elif now - self._went_at >= BREATH_SECONDS:
            self._stood_seconds = 0.0
        if not self._awaited:
            return
        if self._stood_seconds < STANDSTILL_SECONDS_MAX:
            self._standing_since = now
            self._stop()
            self._look_in(STANDSTILL_SECONDS_MAX - self._stood_seconds)
        else:
            self._look_in(self._went_at + BREATH_SECONDS - now)

    def _look_in(self, seconds: float) -> None:
        call_later = self._call_later or asyncio.get_running_loop().call_later
        self._timer = call_later(seconds, self._weigh)
