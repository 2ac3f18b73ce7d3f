"""What another server asks us to wait: seconds, a date, or rubbish."""

from __future__ import annotations

import pytest

from nightrate.dialects.retry_after import asked_seconds

NOW = 1_445_412_480_000_000
"""Wed, 21 Oct 2015 07:28:00 GMT."""


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 400, 999_999_999.0),
        ("-5", None),
        ("1.5", None),
        ("١٢", None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("soon", None),
    ],
)
def test_the_header_is_read(header: str | None, seconds: float | None) -> None:
    assert asked_seconds(header, NOW) == seconds
