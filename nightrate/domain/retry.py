"""When to try again."""

from __future__ import annotations

from nightrate import limits

_DOUBLINGS_MAX = 32
"""Far beyond the longest wait; a batch that waits for two days would leave the range of numbers."""


def retry_delay_seconds(attempt: int, after_seconds: float | None, chance: float) -> float:
    """Give the wait before another try.

    Doubles from `limits.RETRY_FIRST_SECONDS` with every attempt, spread between half and the whole
    of it, so that requests which failed together do not come back together. An engine that says
    when to come back is believed. Nothing waits longer than `limits.RETRY_LONGEST_SECONDS`.

    Args:
        attempt: how many tries have failed, from 1.
        after_seconds: how long the engine asked to wait, if it did.
        chance: a random number from 0 to 1.
    """
    doubled = limits.RETRY_FIRST_SECONDS * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX)
    whole = min(doubled, limits.RETRY_LONGEST_SECONDS)
    spread = whole * (0.5 + chance / 2)
    if after_seconds is None:
        return spread
    return min(max(after_seconds, 0.0), limits.RETRY_LONGEST_SECONDS)
