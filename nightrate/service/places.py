"""The places of an engine: who may send a prompt now.

An engine says how many requests and tokens it wants in flight. Live requests are let in before
those of batches, and where the engine has places for them alone, they never wait behind a batch. A
prompt that was in flight whenever the engine died is let in alone for its last
try, so that a prompt that kills engines does not take its neighbours with it.

An engine may have an allowance of what it is asked in a minute. Whoever is let in spends of it, so
that nobody inside waits for it, and live requests come first here too: what a batch has spent of a
minute they wait for no longer than until there is enough for one of them.

Here it is also known whose the engine's time is. While n requests are inside, each has one n-th of
it. That is kept as one running sum for all, which grows by dt/n whenever n is about to change; what
it grew by between a request's coming and its going is that request's share. So the shares of all
requests add up to the time in which anybody was inside.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from nightrate import clock, limits
from nightrate.engines.allowance import Allowance
from nightrate.engines.base import Capacity

_Waiter = tuple[asyncio.Future[float], int]


class Meter(Struct, gc=False):
    """Adds up the shares of the engine's time that one row had: of all its tries and passages."""

    seconds: float = 0.0


class Places:
    """Admission by requests and tokens.

    Args:
        capacity: gives what the engine wants in flight now.
        live_max: how many places on top of that only live requests take; with none, they share.
        allowance: what the engine may be asked in a minute, if that is limited.
    """

    def __init__(
        self,
        capacity: Callable[[], Capacity],
        live_max: int = 0,
        allowance: Allowance | None = None,
    ) -> None:
        self._capacity = capacity
        self._live_max = live_max
        self._allowance = allowance
        self._alone: deque[_Waiter] = deque()
        self._live: deque[_Waiter] = deque()
        self._batch: deque[_Waiter] = deque()
        self._taken_alone = False
        self._look: asyncio.TimerHandle | None = None
        self.requests = 0
        """Everybody inside."""
        self.tokens = 0
        self.apart = 0
        """Those of them who are in places for live requests alone; their tokens do not count."""
        self.shared_seconds = 0.0
        """What one who had been inside all the time would have had of the engine, when it was last
        added up."""
        self.shared_at = 0.0
        """When that was; the monotonic clock."""

    def try_take(self, cost: int, *, live: bool = False) -> bool:
        """Take a place if there is one and nobody waits for it.

        Its share begins with what `shared_seconds` says then.
        """
        if live and self._live_max:
            if self._alone or self._live or not self._fits_apart() or not self._allows(cost):
                return False
            self._share_out()
            self._enter(cost)
            self.apart += 1
            return True
        if self._alone or self._live or self._batch or not self._fits(cost):
            return False
        if self._allowance is not None:
            if not self._allows(cost):
                return False
            self._allowance.spend(cost)
        # `_share_out`, written out: this stands in the way of every request.
        now, requests = clock.monotonic(), self.requests
        if requests:
            self.shared_seconds += (now - self.shared_at) / requests
        self.shared_at = now
        self.requests = requests + 1
        self.tokens += cost
        return True

    async def take(self, cost: int, *, live: bool = False, alone: bool = False) -> float:
        """Wait for a place; alone means with nobody else inside.

        Returns:
            what `shared_seconds` was when the place was given, which may be a while before whoever
            waits gets to run.
        """
        queue = self._alone if alone else self._live if live else self._batch
        waiter: _Waiter = (asyncio.get_running_loop().create_future(), cost)
        queue.append(waiter)
        self._share_out()
        self._grant()
        try:
            return await waiter[0]
        except asyncio.CancelledError:
            if not waiter[0].cancelled():  # let in and cancelled in the same moment
                if self._allowance is not None:
                    self._allowance.unspend(cost)
                self.give(cost, live=live, alone=alone)
            else:
                if waiter in queue:
                    queue.remove(waiter)
                self._share_out()
                self._grant()  # it may have been the one that the others waited behind
            raise

    def give(self, cost: int, *, live: bool = False, alone: bool = False) -> float:
        """Give a place back, and learn what `shared_seconds` is now."""
        # `_share_out`, written out: this stands in the way of every request.
        now, requests = clock.monotonic(), self.requests
        shared = self.shared_seconds + (now - self.shared_at) / requests
        self.shared_seconds, self.shared_at = shared, now
        self.requests = requests - 1
        if live and self._live_max and not alone:
            self.apart -= 1
        else:
            self.tokens -= cost
        if alone:
            self._taken_alone = False
        if self._alone or self._live or self._batch:
            self._grant()
        return shared

    def _share_out(self) -> None:
        """Add up what everybody inside had so far, because somebody comes or goes."""
        now = clock.monotonic()
        if self.requests:
            self.shared_seconds += (now - self.shared_at) / self.requests
        self.shared_at = now

    def _fits(self, cost: int) -> bool:
        if self._taken_alone:
            return False
        requests = self.requests - self.apart
        if requests == 0:
            return True  # a prompt larger than the whole budget still gets its turn
        capacity = self._capacity()
        return requests < capacity.requests and (
            capacity.tokens is None or self.tokens + cost <= capacity.tokens
        )

    def _fits_apart(self) -> bool:
        return not self._taken_alone and self.apart < self._live_max

    def _allows(self, cost: int) -> bool:
        return self._allowance is None or not self._allowance.wait_seconds(cost)

    def _enter(self, cost: int) -> None:
        self.requests += 1
        if self._allowance is not None:
            self._allowance.spend(cost)

    def _grant(self) -> None:
        """Let in whoever fits, at the moment up to which the time has been shared out."""
        if self._waits(self._alone):
            if self.requests == 0:
                if self._allows(self._alone[0][1]):
                    self._taken_alone = True
                    self._let_in(self._alone)
                else:
                    self._look_again_soon(self._alone)
            return
        while self._live_max and self._waits(self._live) and self._fits_apart():
            waiter, cost = self._live[0]
            if not self._allows(cost):
                self._look_again_soon(self._live)
                return  # Nobody of a batch spends what somebody waits for.
            self._live.popleft()
            self._enter(cost)
            self.apart += 1
            waiter.set_result(self.shared_seconds)
        for queue in (self._batch,) if self._live_max else (self._live, self._batch):
            while self._waits(queue) and self._fits(queue[0][1]) and self._allows(queue[0][1]):
                self._let_in(queue)
            if queue:
                self._look_again_soon(queue)
                return

    def _look_again_soon(self, queue: deque[_Waiter]) -> None:
        """Let those who wait profit when the capacity grows and nobody leaves for long.

        The first of them is looked at as soon as the allowance has enough for it.
        """
        seconds = limits.IDLE_POLL_SECONDS
        if self._allowance is not None:
            seconds = min(self._allowance.wait_seconds(queue[0][1]) or seconds, seconds)
        loop = asyncio.get_running_loop()
        if self._look is not None:
            if self._look.when() <= loop.time() + seconds:
                return
            self._look.cancel()
        self._look = loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        self._share_out()
        self._grant()

    def _waits(self, queue: deque[_Waiter]) -> bool:
        """Tell whether somebody waits, passing over those whose task was cancelled just now."""
        while queue and queue[0][0].cancelled():
            queue.popleft()
        return bool(queue)

    def _let_in(self, queue: deque[_Waiter]) -> None:
        waiter, cost = queue.popleft()
        self._enter(cost)
        self.tokens += cost
        waiter.set_result(self.shared_seconds)
