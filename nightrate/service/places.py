"""The places of an engine: who may send a prompt now.

An engine says how many requests and tokens it wants in flight, and how many places it keeps for
live requests. These take any place that is free, the kept ones first, and nobody of a batch comes
in while one of them waits: a batch fills what is left, never the kept places, and shrinks as live
requests come.

A prompt that was in flight whenever the engine died is let in alone for its last try, so that a
prompt that kills engines does not take its neighbours with it. Live requests wait for such a try
for `limits.ALONE_SECONDS_MAX` at most; then they come in beside it, and it is no lone one.

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

_Waiter = tuple[asyncio.Future[float], int, float]
"""Told when it is let in; its cost; since when it waits, by the monotonic clock."""


class Meter(Struct, gc=False):
    """Adds up the shares of the engine's time that one row had: of all its tries and passages."""

    seconds: float = 0.0


class Places:
    """Admission by requests and tokens.

    Args:
        capacity: gives what the engine wants in flight now.
        allowance: what the engine may be asked in a minute, if that is limited.
    """

    def __init__(
        self, capacity: Callable[[], Capacity], allowance: Allowance | None = None
    ) -> None:
        self._capacity = capacity
        self._allowance = allowance
        self._alone: deque[_Waiter] = deque()
        self._live: deque[_Waiter] = deque()
        self._batch: deque[_Waiter] = deque()
        self._taken_alone = False
        self._look: asyncio.TimerHandle | None = None
        self._sharing: list[int] = []
        """The costs of live requests that found every kept place taken."""
        self.joined = False
        """Whether live requests came in beside the one that was let in alone last."""
        self.requests = 0
        """Everybody inside."""
        self.live = 0
        """Those of them whom somebody waits for."""
        self.apart = 0
        """Those of these who are in places that are kept for them; their tokens do not count."""
        self.tokens = 0
        self.shared_seconds = 0.0
        """What one who had been inside all the time would have had of the engine, when it was last
        added up."""
        self.shared_at = 0.0
        """When that was; the monotonic clock."""

    def try_take(self, cost: int, *, live: bool = False) -> bool:
        """Take a place if there is one and nobody waits for it.

        Its share begins with what `shared_seconds` says then.
        """
        if live:
            if self._alone or self._live or (self._taken_alone and not self.joined):
                return False
            if not self._fits_live(cost) or not self._allows(cost):
                return False
            self._share_out()
            self._enter_live(cost)
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
        self._share_out()
        waiter: _Waiter = (asyncio.get_running_loop().create_future(), cost, self.shared_at)
        queue.append(waiter)
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
        if live and not alone:
            self._leave_live(cost)
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
        """Tell whether one more of a batch fits in, if no live request waits."""
        if self._taken_alone:
            return False
        requests = self.requests
        if requests == 0:
            return True  # a prompt larger than the whole budget still gets its turn
        capacity = self._capacity()
        return (
            requests - self.live < capacity.requests
            and requests < capacity.requests + capacity.live
            and (
                capacity.tokens is None
                or self.tokens + cost <= capacity.tokens
                or requests == self.apart
            )
        )

    def _fits_live(self, cost: int) -> bool:
        """Tell whether one more live request fits in: any place that is free is one for it."""
        requests = self.requests
        if requests == 0:
            return True
        capacity = self._capacity()
        return requests < capacity.requests + capacity.live and (
            self.apart < capacity.live
            or capacity.tokens is None
            or self.tokens + cost <= capacity.tokens
            or requests == self.apart
        )

    def _allows(self, cost: int) -> bool:
        return self._allowance is None or not self._allowance.wait_seconds(cost)

    def _enter(self, cost: int) -> None:
        self.requests += 1
        if self._allowance is not None:
            self._allowance.spend(cost)

    def _enter_live(self, cost: int) -> None:
        """Let a live request in; beyond the kept places it counts like one of a batch."""
        self._enter(cost)
        self.live += 1
        self.joined = self._taken_alone
        if self.apart < self._capacity().live:
            self.apart += 1
        else:
            self._sharing.append(cost)
            self.tokens += cost

    def _leave_live(self, cost: int) -> None:
        """Take a live request out of the books; of two with one cost it does not matter which."""
        self.live -= 1
        if cost in self._sharing:
            self._sharing.remove(cost)
            self.tokens -= cost
        else:
            self.apart -= 1

    def _grant(self) -> None:
        """Let in whoever fits, at the moment up to which the time has been shared out."""
        while self._waits(self._live) and not self._kept_out(self._live[0]):
            waiter, cost, _ = self._live[0]
            # Nobody of a batch takes, or spends, what somebody waits for.
            if not self._fits_live(cost) or not self._allows(cost):
                self._look_again_soon(self._live)
                return
            self._live.popleft()
            self._enter_live(cost)
            waiter.set_result(self.shared_seconds)
        if self._waits(self._alone):
            self._grant_alone()
            return
        if self._live:
            self._look_again_soon(self._live)
            return
        queue = self._batch
        while self._waits(queue) and self._fits(queue[0][1]) and self._allows(queue[0][1]):
            self._let_in(queue)
        if queue:
            self._look_again_soon(queue)

    def _grant_alone(self) -> None:
        """Let one in that must be alone, if nobody is inside."""
        if self.requests == 0:
            if self._allows(self._alone[0][1]):
                self._taken_alone, self.joined = True, False
                self._let_in(self._alone)
            else:
                self._look_again_soon(self._alone)
        if self._live:
            self._look_again_soon(self._live)

    def _kept_out(self, waiter: _Waiter) -> bool:
        """Tell whether a live request still waits for those who must be alone."""
        if not self._waits(self._alone) and (self.joined or not self._taken_alone):
            return False
        return self.shared_at - waiter[2] < limits.ALONE_SECONDS_MAX

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
        waiter, cost, _ = queue.popleft()
        self._enter(cost)
        self.tokens += cost
        waiter.set_result(self.shared_seconds)
