"""The only place that asks for time or chance.

Wall time is an ``Instant``: whole microseconds since 1970 (UTC). Durations are seconds from the
monotonic clock, so a jump of the wall clock never shortens a wait.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime

Instant = int
"""Microseconds since 1970-01-01T00:00:00Z."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def now() -> Instant:
    """Give the wall time."""
    return time.time_ns() // 1_000


monotonic = time.monotonic
"""Give seconds on a clock that only goes forward. Not wrapped: it is asked for every request."""


async def sleep(seconds: float) -> None:
    """Wait; cancellable."""
    await asyncio.sleep(seconds)


def later(instant: Instant, seconds: float) -> Instant:
    """Give the instant so many seconds after another."""
    return instant + int(seconds * 1_000_000)


def seconds_between(earlier: Instant, later: Instant) -> float:
    """Give how many seconds passed between two instants."""
    return (later - earlier) / 1_000_000


def new_id(length: int) -> str:
    """Give an unguessable id of ``[a-z0-9]``; 20 characters carry 103 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def secret_bytes(length: int) -> bytes:
    """Give bytes that nobody can guess: keys, secrets, nonces."""
    return secrets.token_bytes(length)


def jitter() -> float:
    """Give a number between 0 and 1 that spreads retries."""
    return random.random()  # noqa: S311 - spreads retries, keeps no secret


Chance = random.Random


def repeatable(seed: bytes | int) -> Chance:
    """Give chance that can be foreseen: an equal seed gives the same numbers in the same order."""
    return random.Random(seed)  # noqa: S311 - it keeps no secret


def rfc3339(instant: Instant) -> str:
    """Write an instant as the wire wants it: ``2026-01-22T12:00:00.123456Z``."""
    whole, micros = divmod(instant, 1_000_000)
    moment = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{micros:06d}Z" if micros else f"{moment}Z"
