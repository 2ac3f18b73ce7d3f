"""What a tenant may have at once, and what it is told when it wants more."""

from __future__ import annotations

from msgspec import Struct

from nightrate import limits
from nightrate.clock import Instant
from nightrate.errors import OverQuota, OverStorage

BATCHES = "concurrent_batches_max"
STORAGE = "file_storage_bytes_max"
TOKENS = "enqueued_tokens_max"
"""The settings behind the quotas: their names are what clients are told."""

_OVER = "You exceeded your current quota:"
_LATER = f"Try again in {limits.QUOTA_RETRY_SECONDS} seconds."


class Stored(Struct, frozen=True):
    """What a tenant's files take."""

    stored_bytes: int
    """Of uploaded files, and of uploads that are on their way."""
    next_end: Instant | None
    """When the first of these files expires; None without any."""

    def without(self, received_bytes: int) -> Stored:
        """Leave out what one upload has received."""
        return Stored(self.stored_bytes - received_bytes, self.next_end)


def estimate_tokens(input_bytes: int) -> int:
    """Reckon the input tokens of a batch from the bytes of its input, JSON and all."""
    return -(-input_bytes // limits.BYTES_PER_TOKEN)


def over_batches(live: int, most: int) -> OverQuota:
    """Say that a tenant has its number of live batches."""
    message = (
        f"{_OVER} 1 more batch was asked for, {live} of {most} are pending or running, 0 places"
        f" are free. Cancel or delete one, or wait for one to end. {_LATER}"
    )
    retry = limits.QUOTA_RETRY_SECONDS
    return OverQuota(message, quota=BATCHES, most=most, retry_seconds=retry)


def over_tokens(model: str, asked: int, queued: int, most: int) -> OverQuota:
    """Say that a batch does not fit beside what a tenant has in live batches of a model."""
    told = (
        f"{_OVER} about {asked} input tokens were asked for,"
        f" {queued} of {most} are in batches of {model} that are pending or running,"
        f" {max(0, most - queued)} are free."
    )
    if asked > most:
        message = f"{told} The batch can never fit as a whole: cut it into smaller ones."
        return OverQuota(message, quota=TOKENS, most=most)
    message = f"{told} Cancel or delete a batch, or wait for one to end. {_LATER}"
    retry = limits.QUOTA_RETRY_SECONDS
    return OverQuota(message, quota=TOKENS, most=most, retry_seconds=retry)


def over_storage(asked_bytes: int, stored: Stored, most: int, now: Instant) -> OverStorage:
    """Say that bytes do not fit beside what a tenant has stored."""
    told = (
        f"{_OVER} {asked_bytes} more bytes of files were asked for, {stored.stored_bytes} of"
        f" {most} are stored, {max(0, most - stored.stored_bytes)} are free."
    )
    if asked_bytes > most:
        message = f"{told} The file can never fit: cut it into smaller ones."
        return OverStorage(message, quota=STORAGE, most=most)
    if stored.next_end is None:  # everything that is stored belongs to uploads on their way
        message = f"{told} Finish or cancel other uploads. {_LATER}"
        retry = limits.QUOTA_RETRY_SECONDS
        return OverStorage(message, quota=STORAGE, most=most, retry_seconds=retry)
    retry = max(1, -(-(stored.next_end - now) // 1_000_000))
    message = f"{told} Delete files, or try again in {retry} seconds, when the next one expires."
    return OverStorage(message, quota=STORAGE, most=most, retry_seconds=retry)
