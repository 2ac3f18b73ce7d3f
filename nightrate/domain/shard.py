"""Shards, claims and which journal bytes count."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from nightrate.clock import Instant
from nightrate.domain.file import ResultPart
from nightrate.domain.states import ShardState


class ShardPlan(Struct, frozen=True, gc=False):
    """A run of consecutive requests and where their lines lie in the input.

    ``first_line`` is the number (from 1) of the line at ``byte_offset``. Blank lines lie inside the
    byte range but are no requests.
    """

    index: int
    first_request: int
    request_count: int
    first_line: int
    byte_offset: int
    byte_length: int


class JournalPart(Struct, frozen=True, gc=False):
    """How many bytes of one epoch's journal count."""

    epoch: int
    byte_length: int


class Tally(Struct, frozen=True, gc=False):
    """What the answers of a shard add up to."""

    succeeded: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's, those that were there already."""
    thought_tokens: int = 0
    """Of the output's, those that were only thought."""
    engine_nanoseconds: int = 0
    """How long an engine worked on them: of each moment the share that fell to them among all who
    were inside (`service.places`)."""


def sum_of(*tallies: Tally) -> Tally:
    """Add tallies."""
    succeeded = failed = prompt_tokens = output_tokens = cached_tokens = 0
    thought_tokens = engine_nanoseconds = 0
    for tally in tallies:
        succeeded += tally.succeeded
        failed += tally.failed
        prompt_tokens += tally.prompt_tokens
        output_tokens += tally.output_tokens
        cached_tokens += tally.cached_tokens
        thought_tokens += tally.thought_tokens
        engine_nanoseconds += tally.engine_nanoseconds
    return Tally(
        succeeded,
        failed,
        prompt_tokens,
        output_tokens,
        cached_tokens,
        thought_tokens,
        engine_nanoseconds,
    )


class Answer(Struct, frozen=True, gc=False):
    """One output line, without its newline, and what it adds to the counters."""

    line: bytes
    tally: Tally


class Segment(Struct, frozen=True, gc=False):
    """A shard's sealed outcomes: the name of the blob, its length and the CRC-32 of its bytes."""

    blob: str
    byte_length: int
    crc32: int
    split: int | None = None
    """Where the lines of failed requests begin, which then follow those of all others; None where
    every line stands in input order."""

    def span(self, part: ResultPart) -> tuple[int, int]:
        """Give the bytes of a part as (start, stop)."""
        split = self.byte_length if self.split is None else self.split
        return (0, split) if part is ResultPart.OUTPUT else (split, self.byte_length)


class ShardRecord(Struct, frozen=True, kw_only=True):
    """Everything that is recorded of a shard, for those who check or tidy."""

    plan: ShardPlan
    state: ShardState
    epoch: int
    parts: tuple[JournalPart, ...]
    segment: Segment | None
    """Of a damaged shard what was sealed before, until it is sealed again."""
    damaged: bool
    lost: str | None
    """Why its damaged answers cannot be made again, if they cannot."""


class Reopening(StrEnum):
    """What became of a shard whose segment was found damaged."""

    AGAIN = "again"
    """It will be made again, or is at it."""
    REPLACED = "replaced"
    """It has been made again: another segment stands in its place."""
    NEVER = "never"
    """Nobody can or should make it again."""


class Claim(Struct, frozen=True, kw_only=True):
    """A shard held by a runner until its lease ends."""

    tenant: str
    batch_id: str
    plan: ShardPlan
    epoch: int
    owner: str
    lease_until: Instant
    parts: tuple[JournalPart, ...]
    """What counted when the claim was made; see `taken_over`."""
    closing: bool = False
    """Whether the batch has ended early, and only the lines of unanswered requests are missing."""
    damaged: bool = False
    """Whether the shard was sealed before, and that segment is damaged."""


class Beat(Struct, frozen=True, kw_only=True):
    """Progress of a claim: the journal bytes of its own epoch that are synced, and their sums."""

    claim: Claim
    byte_length: int
    tally: Tally


def taken_over(
    parts: tuple[JournalPart, ...], epoch: int, last_part_bytes: int
) -> tuple[JournalPart, ...]:
    """Freeze what counts of earlier owners when a new owner begins.

    Only the part of the last owner that ever recorded anything may be extended, to the readable
    (and synced) length found in its file; older parts stay as they are. Otherwise a former owner
    that wakes up and appends to its old part could change an answer that a client has already seen.

    Args:
        parts: the list in the shard's row, oldest first.
        epoch: the new owner's epoch.
        last_part_bytes: readable bytes of the last part's journal; ignored without parts.

    Returns:
        the list to record, ending with the new owner's own part of 0 bytes.
    """
    assert all(part.epoch < epoch for part in parts), "an epoch is claimed once"
    own = JournalPart(epoch, 0)
    if not parts:
        return (own,)
    *older, last = parts
    kept = JournalPart(last.epoch, max(last.byte_length, last_part_bytes))
    # Empty parts are dropped: what their owners write from now on cannot count either way, and the
    # list does not grow with every owner that came and went.
    return (*(part for part in (*older, kept) if part.byte_length), own)
