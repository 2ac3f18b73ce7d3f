"""How many requests an endpoint gets at once, and from when on.

It halves with each round of refusals, and grows back evenly over `limits.PACE_RECOVERY_SECONDS`. By
time and not by answers, because an answer may take minutes: a calm of half a minute is enough to be
at full speed again, whatever the model.

A part of them is kept for live requests, so that one which comes finds a place although a batch has
all the others. It shrinks with the pace, and leaves batches one place at least.
"""

from __future__ import annotations

from nightrate import clock, limits
from nightrate.engines.base import Capacity

_DOUBLINGS_MAX = 16
"""Far beyond the longest pause."""

_LIVE_SHARE = 8
"""One of so many is kept for live requests, where nobody says how many."""


class Pace:
    """The pace of one endpoint.

    Args:
        most: how many requests it gets at once when all is well.
        live: how many of them are kept for live requests; None for a share.
    """

    def __init__(self, most: int, live: int | None = 0) -> None:
        self._most = most
        self._live = live
        self._full = self._divided(most)
        self._base = float(most)
        self._grows_from = 0.0
        self._slowed_at = float("-inf")
        self._rounds = 0
        self._resumes_at = float("-inf")

    @property
    def capacity(self) -> Capacity:
        """How many requests it gets at once, now: both parts together."""
        if self._base >= self._most:
            return self._full
        return self._divided(int(self._grown(clock.monotonic())))

    def pause_seconds(self) -> float:
        """Give how long it wants to be asked nothing, from now on."""
        return max(0.0, self._resumes_at - clock.monotonic())

    def answered(self) -> None:
        """Take note of an answer: the next pause is a short one again."""
        self._rounds = 0

    def slow(self, sent_at: float) -> bool:
        """Halve the pace because of a request that was sent then.

        Requests that had been sent before the pace was last changed say nothing of it as it is now:
        a hundred that are refused together are one reason to slow down.
        """
        if sent_at < self._slowed_at:
            return False
        now = clock.monotonic()
        self._base = max(1.0, self._grown(now) / 2)
        self._slowed_at = now
        self._grows_from = max(now, self._resumes_at)
        return True

    def pause(self, sent_at: float, asked_seconds: float | None) -> float:
        """Halve the pace and ask nothing for a while, because a request was refused.

        Args:
            sent_at: when it was sent; the monotonic clock.
            asked_seconds: how long the endpoint asked to wait, if it did.

        Returns:
            How long nothing is asked from now on.
        """
        now = clock.monotonic()
        if self.slow(sent_at):
            doubled = limits.RETRY_FIRST_SECONDS * 2.0 ** min(self._rounds, _DOUBLINGS_MAX)
            self._rounds += 1
            own = min(doubled, limits.PACE_PAUSE_LONGEST_SECONDS)
            self._resumes_at = max(self._resumes_at, now + own)
        if asked_seconds is not None:
            asked = min(asked_seconds, limits.PACE_PAUSE_ASKED_SECONDS_MAX)
            self._resumes_at = max(self._resumes_at, now + asked)
        self._grows_from = max(self._grows_from, self._resumes_at)
        return max(0.0, self._resumes_at - now)

    def _divided(self, requests: int) -> Capacity:
        wanted = max(1, requests // _LIVE_SHARE) if self._live is None else self._live
        live = min(wanted, requests - 1)
        return Capacity(requests - live, live=live)

    def _grown(self, now: float) -> float:
        share = max(0.0, now - self._grows_from) / limits.PACE_RECOVERY_SECONDS
        grown = self._base + share * self._most
        if grown >= self._most:
            self._base = grown = float(self._most)
        return grown
