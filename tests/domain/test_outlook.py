"""Where a batch stands among others, and when it will have ended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from nightrate.domain.batch import PartialResults
from nightrate.domain.outlook import Standing, after_end, outlook_of, standing_of
from nightrate.domain.shard import Tally
from nightrate.domain.states import BatchState
from nightrate.testing.store_samples import make_batch

MINE = Standing(
    tenant="ours",
    batch_id="m",
    model="model",
    priority=0,
    state=BatchState.PLANNED,
    request_count=100,
    done=0,
    created_at=50,
    started_at=None,
)


def other(batch_id: str = "o", **members: Any) -> Standing:
    return structs.replace(MINE, batch_id=batch_id, **members)


OLDER, YOUNGER = other("o", created_at=40), other("y", created_at=60)
URGENT = other("u", created_at=60, priority=5)


@pytest.mark.parametrize(
    ("state", "others", "position", "reason"),
    [
        (BatchState.PLANNED, [], 0, "It is next."),
        (BatchState.PLANNED, [YOUNGER], 0, "It is next."),
        (BatchState.PLANNED, [OLDER], 1, "1 batch comes first."),
        (BatchState.PLANNED, [OLDER, URGENT, YOUNGER], 2, "2 batches come first."),
        (BatchState.RUNNING, [OLDER], 0, "Its requests are being answered."),
        (BatchState.RUNNING, [URGENT], 1, "1 batch comes first, with a higher priority."),
        (BatchState.SUBMITTED, [OLDER], 1, "Its input is being read."),
    ],
)
def test_a_batch_waits_for_those_that_come_first(
    state: BatchState, others: list[Standing], position: int, reason: str
) -> None:
    found = outlook_of(other("m", state=state), others, None, None)
    assert (found.queue_position, found.reason) == (position, reason)
    assert found.eta_seconds is None


@pytest.mark.parametrize(
    ("mine", "others", "eta_seconds"),
    [
        (MINE, [], (10, 15)),
        (other("m", done=50), [], (5, 8)),
        (MINE, [OLDER], (10, 30)),
        (MINE, [URGENT, other("b", priority=-1)], (20, 30)),
        (MINE, [other("s", request_count=None)], (10, 15)),
        (other("m", request_count=None), [], None),
    ],
)
def test_the_end_is_estimated_by_the_speed_and_what_comes_first(
    mine: Standing, others: list[Standing], eta_seconds: tuple[int, int] | None
) -> None:
    assert outlook_of(mine, others, None, 10.0).eta_seconds == eta_seconds


def test_nobody_knows_the_end_while_the_engine_is_in_trouble() -> None:
    found = outlook_of(MINE, [OLDER], "Its engine is being loaded.", 10.0)
    assert (found.reason, found.queue_position) == ("Its engine is being loaded.", 1)
    assert found.eta_seconds is None


standings = st.builds(
    other,
    st.text("abcdef", min_size=1, max_size=2),
    priority=st.integers(-2, 2),
    created_at=st.integers(0, 5),
    done=st.integers(0, 100),
    state=st.sampled_from([BatchState.SUBMITTED, BatchState.PLANNED, BatchState.RUNNING]),
)


@given(standings, st.lists(standings, max_size=6), st.data())
def test_a_batch_never_falls_back_when_another_goes(
    mine: Standing, others: list[Standing], data: st.DataObject
) -> None:
    before = outlook_of(mine, others, None, 3.0)
    assert before.eta_seconds is not None
    low, high = before.eta_seconds
    assert low <= high
    if others:
        del others[data.draw(st.integers(0, len(others) - 1))]
    after = outlook_of(mine, others, None, 3.0)
    assert after.eta_seconds is not None
    assert (after.queue_position or 0) <= (before.queue_position or 0)
    assert after.eta_seconds[0] <= low
    assert after.eta_seconds[1] <= high


def test_a_batch_stands_by_what_it_has_done() -> None:
    batch = structs.replace(make_batch(), tally=Tally(succeeded=3, failed=2), request_count=9)
    found = standing_of(batch)
    assert (found.done, found.pending) == (5, 4)
    assert (found.tenant, found.batch_id, found.model) == (
        batch.tenant,
        batch.batch_id,
        batch.model,
    )


def test_what_has_ended_tells_what_is_still_done_about_it() -> None:
    ended = structs.replace(make_batch(), state=BatchState.CANCELLED)
    assert after_end(ended) is None
    due = after_end(structs.replace(ended, partial=PartialResults.DUE))
    assert due is not None
    assert "put together" in due.reason
    assert due.queue_position is None
    shown = structs.replace(ended, partial=PartialResults.SHOWN)
    assert after_end(shown) is None
    repaired = after_end(structs.replace(shown, repair_since=5))
    assert repaired is not None
    assert "made again" in repaired.reason
