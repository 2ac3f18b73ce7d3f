"""What tenants are told when they want more than they may have."""

from __future__ import annotations

import pytest

from nightrate import limits
from nightrate.domain.quota import (
    Stored,
    estimate_tokens,
    over_batches,
    over_storage,
    over_tokens,
)

SECOND = 1_000_000


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4_000, 1_000)])
def test_four_bytes_are_reckoned_as_a_token(size: int, tokens: int) -> None:
    assert estimate_tokens(size) == tokens


def test_a_batch_too_many_is_told_what_is_taken() -> None:
    fault = over_batches(3, 3)
    assert "1 more batch was asked for, 3 of 3 are pending or running, 0 places" in fault.message
    assert f"Try again in {limits.QUOTA_RETRY_SECONDS} seconds" in fault.message
    assert (fault.quota, fault.most) == ("concurrent_batches_max", 3)
    assert fault.retry_seconds == limits.QUOTA_RETRY_SECONDS


def test_tokens_too_many_are_told_what_is_free() -> None:
    fault = over_tokens("gemini-x", 30, 80, 100)
    assert "about 30 input tokens were asked for, 80 of 100 are in batches of gemini-x" in (
        fault.message
    )
    assert "20 are free" in fault.message
    assert f"Try again in {limits.QUOTA_RETRY_SECONDS} seconds" in fault.message
    assert (fault.quota, fault.most) == ("enqueued_tokens_max", 100)
    assert fault.retry_seconds == limits.QUOTA_RETRY_SECONDS


def test_a_batch_that_never_fits_is_not_told_to_wait() -> None:
    fault = over_tokens("gemini-x", 101, 150, 100)  # the bound was lowered meanwhile
    assert "0 are free" in fault.message
    assert "never fit" in fault.message
    assert "Try again" not in fault.message
    assert fault.retry_seconds is None


def test_bytes_too_many_are_told_when_the_next_file_goes() -> None:
    fault = over_storage(30, Stored(80, 10 * SECOND + 1), 100, 5 * SECOND)
    assert "30 more bytes of files were asked for, 80 of 100 are stored, 20 are free" in (
        fault.message
    )
    assert "try again in 6 seconds" in fault.message
    assert (fault.quota, fault.most, fault.retry_seconds) == ("file_storage_bytes_max", 100, 6)


def test_bytes_that_wait_for_uploads_are_told_so() -> None:
    fault = over_storage(30, Stored(80, None), 100, 0)
    assert "cancel other uploads" in fault.message
    assert fault.retry_seconds == limits.QUOTA_RETRY_SECONDS


def test_a_file_that_never_fits_is_not_told_to_wait() -> None:
    fault = over_storage(101, Stored(120, 9 * SECOND), 100, 0)
    assert "0 are free" in fault.message
    assert "never fit" in fault.message
    assert fault.retry_seconds is None
