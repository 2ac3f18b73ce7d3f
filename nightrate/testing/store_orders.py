"""What every store promises about calls that come twice, and about finding batches."""
# ruff: noqa: D102 - the names of the promises are sentences

from __future__ import annotations

import msgspec
import pytest

from nightrate import clock, limits
from nightrate.domain.batch import BatchFilter, Once
from nightrate.domain.file import Page
from nightrate.domain.states import BatchState
from nightrate.errors import Conflict, MissingFile, OverQuota
from nightrate.store.base import Store
from nightrate.testing.store_samples import (
    NOW,
    OURS,
    THEIRS,
    add_planned,
    found,
    make_batch,
    make_file,
)

ONCE = Once(key="call-1", digest="d1")
END_OF_MEMORY = clock.later(NOW, limits.IDEMPOTENCY_SECONDS)


class OrderPromises:
    """Promises about the keys of calls, strict batches and filters."""

    async def test_a_strict_batch_stays_strict(self, store: Store) -> None:
        await store.add_batch(msgspec.structs.replace(make_batch(), strict=True))
        await store.add_batch(make_batch("b2"))
        assert (await found(store)).strict
        assert not (await found(store, "b2")).strict

    async def test_a_call_of_the_same_key_makes_one_batch(self, store: Store) -> None:
        assert await store.made_by(OURS, ONCE, NOW) is None
        assert await store.add_batch(make_batch(), once=ONCE) == "b1"
        assert await store.add_batch(make_batch("b2"), once=ONCE) == "b1"
        assert await store.made_by(OURS, ONCE, NOW + 1) == "b1"
        assert await store.get_batch(OURS, "b2") is None
        assert await store.add_batch(make_batch("b3", tenant=THEIRS), once=ONCE) == "b3"
        other = Once(key="call-2", digest="d1")
        assert await store.add_batch(make_batch("b4"), once=other) == "b4"

    async def test_the_same_key_for_something_else_is_refused(self, store: Store) -> None:
        await store.add_batch(make_batch(), once=ONCE)
        another = Once(key="call-1", digest="d2")
        with pytest.raises(Conflict, match="made batches/b1"):
            await store.made_by(OURS, another, NOW)
        with pytest.raises(Conflict, match="made batches/b1"):
            await store.add_batch(make_batch("b2"), once=another)
        assert await store.get_batch(OURS, "b2") is None

    async def test_a_call_that_was_refused_is_not_remembered(self, store: Store) -> None:
        with pytest.raises(MissingFile):
            await store.add_batch(make_batch(file=make_file()), once=ONCE)
        await store.add_batch(make_batch("b2"))
        with pytest.raises(OverQuota):
            await store.add_batch(make_batch("b3"), live_max=1, once=ONCE)
        assert await store.made_by(OURS, ONCE, NOW) is None

    async def test_a_repeated_call_needs_no_place(self, store: Store) -> None:
        await store.add_batch(make_batch(), live_max=1, once=ONCE)
        assert await store.add_batch(make_batch("b2"), live_max=1, once=ONCE) == "b1"

    async def test_calls_are_forgotten_in_time(self, store: Store) -> None:
        await store.add_batch(make_batch(), once=ONCE)
        assert await store.made_by(OURS, ONCE, END_OF_MEMORY - 1) == "b1"
        assert await store.made_by(OURS, ONCE, END_OF_MEMORY) is None
        late = make_batch("b2", created_at=END_OF_MEMORY)
        assert await store.add_batch(late, once=Once(key="call-1", digest="d9")) == "b2"
        assert await store.sweep_idempotency(END_OF_MEMORY - 1, 9) == 0
        await store.add_batch(make_batch("b3"), once=Once(key="call-3", digest="d"))
        assert await store.sweep_idempotency(NOW, 9) == 1
        assert await store.sweep_idempotency(END_OF_MEMORY, 9) == 1

    async def test_what_a_deleted_batch_was_made_by_is_still_known(self, store: Store) -> None:
        await store.add_batch(make_batch(), once=ONCE)
        await store.delete_batch(OURS, "b1", NOW)
        assert await store.made_by(OURS, ONCE, NOW) == "b1"

    async def test_batches_can_be_listed_by_state_and_name(self, store: Store) -> None:
        await store.add_batch(make_batch("b1", created_at=10))
        await add_planned(store, make_batch("b2", created_at=20))
        await store.add_batch(make_batch("b3", created_at=30))
        await store.cancel_batch(OURS, "b3", NOW, partial_results=False)

        async def listed(wanted: BatchFilter, page: Page) -> list[str]:
            return [batch.batch_id for batch in await store.list_batches(OURS, page, wanted)]

        page = Page(size=9)
        pending = BatchFilter(states=frozenset({BatchState.SUBMITTED, BatchState.PLANNED}))
        assert await listed(pending, page) == ["b2", "b1"]
        assert await listed(pending, Page(size=1, after=(20, "b2"))) == ["b1"]
        assert await listed(BatchFilter(display_name="batch b3"), page) == ["b3"]
        both = BatchFilter(states=frozenset({BatchState.RUNNING}), display_name="batch b3")
        assert await listed(both, page) == []
        assert await listed(BatchFilter(), page) == ["b3", "b2", "b1"]
