"""What an endpoint may be asked in a minute: requests, and tokens.

An allowance fills evenly and delays, it never refuses. In no sixty seconds do more requests begin
than are allowed. Nor do the tokens of those that begin exceed what is allowed, as far as they are
known: a request is reckoned by its estimate until its answer tells what it used, and what it was
reckoned too high may be used at once. One that is larger than the slack that is left to chance
(`endpoint_limits.ALLOWANCE_SLACK_SHARE` of a minute) goes when that slack is whole, and those after
it wait the longer.
"""

from __future__ import annotations

from typing import Final

from nightrate import clock, endpoint_limits

_MINUTE: Final = 60.01
"""With a hundredth of a second for the inexactness of clocks and numbers."""

_NEARLY: Final = 1e-6

_SOONEST_SECONDS: Final = 0.001
"""Nobody looks again sooner than that, however little is lacking."""


class _Bucket:
    """One of the two: it holds what may be used now.

    What is in it at the beginning of a minute and what flows in until just before its end is less
    than the limit and one; and what is used is whole.
    """

    def __init__(self, limit: int) -> None:
        slack = limit * endpoint_limits.ALLOWANCE_SLACK_SHARE
        self._depth = 1 + slack
        self._a_second = (limit - slack) / _MINUTE
        self._level = self._depth
        self._at = clock.monotonic()

    def wait_seconds(self, amount: int) -> float:
        """Give how long it takes until so much may be used; 0 if it may be now."""
        self._fill()
        lacking = min(amount, self._depth) - self._level
        return max(lacking / self._a_second, _SOONEST_SECONDS) if lacking > _NEARLY else 0.0

    def add(self, amount: int) -> None:
        """Take out what is used, as less than nothing, or put back what was not."""
        self._fill()
        self._level = min(self._depth, self._level + amount)

    def _fill(self) -> None:
        now = clock.monotonic()
        self._level = min(self._depth, self._level + (now - self._at) * self._a_second)
        self._at = now


class Allowance:
    """What an endpoint may be asked in a minute; None for no limit.

    Args:
        requests: that begin.
        tokens: of prompts and answers.
    """

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        self._requests = None if requests is None else _Bucket(requests)
        self._tokens = None if tokens is None else _Bucket(tokens)

    def wait_seconds(self, cost: int) -> float:
        """Give how long it takes until a request may begin; 0 if it may now.

        Args:
            cost: its tokens, as they are estimated.
        """
        requests = 0.0 if self._requests is None else self._requests.wait_seconds(1)
        tokens = 0.0 if self._tokens is None else self._tokens.wait_seconds(cost)
        return max(requests, tokens)

    def spend(self, cost: int) -> None:
        """Let a request begin."""
        if self._requests is not None:
            self._requests.add(-1)
        if self._tokens is not None:
            self._tokens.add(-cost)

    def settle(self, cost: int, tokens: int) -> None:
        """Take note of what a request used that had been estimated to cost something else."""
        if self._tokens is not None:
            self._tokens.add(cost - tokens)

    def unspend(self, cost: int) -> None:
        """Take note that a request did not begin after all."""
        if self._requests is not None:
            self._requests.add(1)
        if self._tokens is not None:
            self._tokens.add(cost)
