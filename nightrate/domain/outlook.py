"""Where a batch stands among those that want the same engine, and when it will have ended."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from nightrate.clock import Instant
from nightrate.domain.batch import Batch, PartialResults
from nightrate.domain.states import BatchState

_SLACK = 1.5
"""How much slower than so far an engine may become before an estimate was wrong."""


class Standing(Struct, frozen=True, gc=False, kw_only=True):
    """A live batch, as far as others have to wait for it."""

    tenant: str
    batch_id: str
    model: str
    priority: int
    state: BatchState
    request_count: int | None
    """None until its input has been read."""
    done: int
    created_at: Instant
    started_at: Instant | None

    @property
    def pending(self) -> int:
        """Count the requests without an answer; none of a batch whose input is still unread."""
        return 0 if self.request_count is None else self.request_count - self.done

    @property
    def rank(self) -> tuple[int, Instant, str]:
        """Order batches as their shards are handed out, but for the turns of tenants."""
        return -self.priority, self.created_at, self.batch_id

    def comes_before(self, other: Standing) -> bool:
        """Tell whether the engine is given to this one before the other has its turn.

        What has been begun goes on beside what comes later, unless that has a higher priority.
        """
        if other.state is BatchState.RUNNING:
            return self.priority > other.priority
        return self.rank < other.rank


class Outlook(Struct, frozen=True, gc=False, kw_only=True):
    """Why a batch is where it is, and what is to come."""

    reason: str
    queue_position: int | None = None
    """How many batches of its engine come before it; None for one that has ended."""
    eta_seconds: tuple[int, int] | None = None
    """The least and the most until its last answer, as things are going; None if nobody knows."""


def standing_of(batch: Batch) -> Standing:
    """Say of a live batch how others have to wait for it."""
    return Standing(
        tenant=batch.tenant,
        batch_id=batch.batch_id,
        model=batch.model,
        priority=batch.priority,
        state=batch.state,
        request_count=batch.request_count,
        done=batch.tally.succeeded + batch.tally.failed,
        created_at=batch.created_at,
        started_at=batch.started_at,
    )


def outlook_of(
    mine: Standing,
    others: Sequence[Standing],
    trouble: str | None,
    requests_per_second: float | None,
) -> Outlook:
    """Say where a live batch stands.

    Args:
        mine: the batch.
        others: the other live ones of its engine.
        trouble: why the engine answers nobody now; None if it does.
        requests_per_second: how fast the engine has been with batches; None if nobody knows.
    """
    ahead = [other for other in others if other.comes_before(mine)]
    return Outlook(
        reason=trouble or _reason(mine, len(ahead)),
        queue_position=len(ahead),
        eta_seconds=None
        if trouble or not requests_per_second or mine.request_count is None
        else _eta_seconds(mine, others, ahead, requests_per_second),
    )


def _reason(mine: Standing, ahead: int) -> str:
    if mine.state is BatchState.SUBMITTED:
        return "Its input is being read."
    batches = "batch comes" if ahead == 1 else "batches come"
    if mine.state is BatchState.RUNNING:
        if ahead:
            return f"{ahead} {batches} first, with a higher priority."
        return "Its requests are being answered."
    return f"{ahead} {batches} first." if ahead else "It is next."


def _eta_seconds(
    mine: Standing, others: Sequence[Standing], ahead: Sequence[Standing], per_second: float
) -> tuple[int, int]:
    """Estimate the end: with the engine for itself after its turn has come, or sharing it."""
    before = sum(other.pending for other in ahead if other.priority > mine.priority)
    beside = sum(other.pending for other in others if other.priority >= mine.priority)
    least = (mine.pending + before) / per_second
    most = (mine.pending + beside) / per_second * _SLACK
    return math.ceil(least), math.ceil(most)


def after_end(batch: Batch) -> Outlook | None:
    """Say of a batch that has ended what is still being done about it; None for nothing."""
    if batch.partial is PartialResults.DUE:
        return Outlook(reason="The results of what it finished are being put together.")
    if batch.repair_since is not None:
        return Outlook(reason="Answers that the disk damaged are being made again.")
    return None
