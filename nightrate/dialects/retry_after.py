"""``Retry-After``: how long another server asks us to wait."""

from __future__ import annotations

import email.utils

from nightrate.clock import Instant

_DIGITS_MAX = 9
"""More are a mistake, or an attack on the number."""


def asked_seconds(header: str | None, now: Instant) -> float | None:
    """Read the header: seconds or a date; None when it is neither."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:_DIGITS_MAX])
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return max(0.0, moment.timestamp() - now / 1_000_000)
    except (ValueError, OverflowError):
        return None
