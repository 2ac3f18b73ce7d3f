"""The life of a batch and of a shard, as two tables.

A batch::

    submitted ──planned──► planned ──claimed──► running ──drained──► succeeded
        │                     │                    │
        ├──failed─────────────┼────────────────────┼──► failed
        ├──cancelled──────────┼────────────────────┼──► cancelled
        └──expired────────────┴────────────────────┴──► expired

`submitted` batches wait for the planner, `planned` ones have shards that nobody claimed yet. A wire
that knows only "pending" shows both as that. A batch whose requests all failed still ends
`succeeded`: it did what it was asked. Final states have no way out.

A shard::

    pending ──claimed──► running ──sealed──► sealed
      ▲ ▲                   │                 │ ▲
      │ └─────released──────┘                 │ │
      └───────────────────damaged─────────────┘ │
                          pending, running ──lost┘

A claim whose lease has run out is claimed again from `running`; its epoch rises with each claim.
A sealed shard whose segment is found damaged is made again. If that cannot be, it is sealed with
what is left of it, and stays an error; only shards that were damaged can be lost.

The same tables are the source of the statements' ``WHERE state IN (…)``, so that no status is
spelled anywhere else.
"""

from __future__ import annotations

from enum import StrEnum


class BatchState(StrEnum):
    """Where a batch stands."""

    SUBMITTED = "submitted"
    PLANNED = "planned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class BatchEvent(StrEnum):
    """What can happen to a batch."""

    PLANNED = "planned"
    CLAIMED = "claimed"
    DRAINED = "drained"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ShardState(StrEnum):
    """Where a shard stands."""

    PENDING = "pending"
    RUNNING = "running"
    SEALED = "sealed"


class ShardEvent(StrEnum):
    """What can happen to a shard."""

    CLAIMED = "claimed"
    RELEASED = "released"
    SEALED = "sealed"
    DAMAGED = "damaged"
    LOST = "lost"


_LIVE = (BatchState.SUBMITTED, BatchState.PLANNED, BatchState.RUNNING)

BATCH_TABLE: dict[BatchEvent, dict[BatchState, BatchState]] = {
    BatchEvent.PLANNED: {BatchState.SUBMITTED: BatchState.PLANNED},
    BatchEvent.CLAIMED: {
        BatchState.PLANNED: BatchState.RUNNING,
        BatchState.RUNNING: BatchState.RUNNING,
    },
    BatchEvent.DRAINED: {BatchState.RUNNING: BatchState.SUCCEEDED},
    BatchEvent.FAILED: dict.fromkeys(_LIVE, BatchState.FAILED),
    BatchEvent.CANCELLED: dict.fromkeys(_LIVE, BatchState.CANCELLED),
    BatchEvent.EXPIRED: dict.fromkeys(_LIVE, BatchState.EXPIRED),
}

SHARD_TABLE: dict[ShardEvent, dict[ShardState, ShardState]] = {
    ShardEvent.CLAIMED: {
        ShardState.PENDING: ShardState.RUNNING,
        ShardState.RUNNING: ShardState.RUNNING,
    },
    ShardEvent.RELEASED: {ShardState.RUNNING: ShardState.PENDING},
    ShardEvent.SEALED: {ShardState.RUNNING: ShardState.SEALED},
    ShardEvent.DAMAGED: {ShardState.SEALED: ShardState.PENDING},
    ShardEvent.LOST: dict.fromkeys((ShardState.PENDING, ShardState.RUNNING), ShardState.SEALED),
}

FINAL_STATES = frozenset(BatchState) - frozenset(_LIVE)
LIVE_STATES = frozenset(_LIVE)


def advance_batch(state: BatchState, event: BatchEvent) -> BatchState | None:
    """Give the state after an event, or None when the event means nothing in this state."""
    return BATCH_TABLE[event].get(state)


def advance_shard(state: ShardState, event: ShardEvent) -> ShardState | None:
    """Give the shard's state after an event, or None when it means nothing here."""
    return SHARD_TABLE[event].get(state)


assert all(not FINAL_STATES & table.keys() for table in BATCH_TABLE.values()), "final is final"
