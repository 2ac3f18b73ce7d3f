"""The life of a batch and of a shard: every state with every event."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.domain.states import (
    FINAL_STATES,
    LIVE_STATES,
    BatchEvent,
    BatchState,
    ShardEvent,
    ShardState,
    advance_batch,
    advance_shard,
)

B, E = BatchState, BatchEvent

BATCH_WALK = {
    (B.SUBMITTED, E.PLANNED): B.PLANNED,
    (B.PLANNED, E.CLAIMED): B.RUNNING,
    (B.RUNNING, E.CLAIMED): B.RUNNING,
    (B.RUNNING, E.DRAINED): B.SUCCEEDED,
    (B.SUBMITTED, E.FAILED): B.FAILED,
    (B.PLANNED, E.FAILED): B.FAILED,
    (B.RUNNING, E.FAILED): B.FAILED,
    (B.SUBMITTED, E.CANCELLED): B.CANCELLED,
    (B.PLANNED, E.CANCELLED): B.CANCELLED,
    (B.RUNNING, E.CANCELLED): B.CANCELLED,
    (B.SUBMITTED, E.EXPIRED): B.EXPIRED,
    (B.PLANNED, E.EXPIRED): B.EXPIRED,
    (B.RUNNING, E.EXPIRED): B.EXPIRED,
}

SHARD_WALK = {
    (ShardState.PENDING, ShardEvent.CLAIMED): ShardState.RUNNING,
    (ShardState.RUNNING, ShardEvent.CLAIMED): ShardState.RUNNING,
    (ShardState.RUNNING, ShardEvent.RELEASED): ShardState.PENDING,
    (ShardState.RUNNING, ShardEvent.SEALED): ShardState.SEALED,
    (ShardState.SEALED, ShardEvent.DAMAGED): ShardState.PENDING,
    (ShardState.PENDING, ShardEvent.LOST): ShardState.SEALED,
    (ShardState.RUNNING, ShardEvent.LOST): ShardState.SEALED,
}


@pytest.mark.parametrize(("state", "event"), [*product(BatchState, BatchEvent)])
def test_a_batch_goes_where_the_picture_says_and_nowhere_else(
    state: BatchState, event: BatchEvent
) -> None:
    assert advance_batch(state, event) is BATCH_WALK.get((state, event))


@pytest.mark.parametrize(("state", "event"), [*product(ShardState, ShardEvent)])
def test_a_shard_goes_where_the_picture_says_and_nowhere_else(
    state: ShardState, event: ShardEvent
) -> None:
    assert advance_shard(state, event) is SHARD_WALK.get((state, event))


def test_every_state_is_live_or_final() -> None:
    assert frozenset(BatchState) == LIVE_STATES | FINAL_STATES
    assert not LIVE_STATES & FINAL_STATES
    assert frozenset({B.SUCCEEDED, B.FAILED, B.CANCELLED, B.EXPIRED}) == FINAL_STATES


@given(st.lists(st.sampled_from(BatchEvent)))
def test_a_batch_that_has_ended_stays_as_it_is(events: list[BatchEvent]) -> None:
    state = BatchState.SUBMITTED
    ended: BatchState | None = None
    for event in events:
        state = advance_batch(state, event) or state
        if ended is not None:
            assert state is ended
        if state in FINAL_STATES:
            ended = state


def test_every_state_can_be_reached() -> None:
    reached = {BatchState.SUBMITTED}
    for _ in BatchState:
        reached |= {
            state
            for before, event in product(reached, BatchEvent)
            if (state := advance_batch(before, event)) is not None
        }
    assert reached == set(BatchState)
