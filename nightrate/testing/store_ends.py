"""What every store promises about batches that a client ends, forgets or changes."""
# ruff: noqa: D102, PLR2004 - the names of the promises are sentences, their numbers examples

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.batch import Batch, BatchForm, PartialResults
from nightrate.domain.file import Page
from nightrate.domain.shard import Claim, JournalPart, Tally
from nightrate.domain.states import BatchState
from nightrate.errors import ClaimLost, Code, OverQuota
from nightrate.store.base import Store
from nightrate.testing.store_samples import (
    END,
    LEASE,
    NOW,
    OURS,
    THEIRS,
    add_file,
    add_planned,
    found,
    make_batch,
    make_file,
    make_plan,
    progress,
    segment_of,
    swept,
    take,
)


async def cancel(store: Store, batch_id: str = "b1", *, partial_results: bool = True) -> Batch:
    """Cancel a batch that must be there."""
    batch = await store.cancel_batch(OURS, batch_id, NOW + 5, partial_results=partial_results)
    assert batch is not None
    return batch


async def take_unfinished(store: Store, owner: str = "closer", *, now: int = NOW) -> Claim:
    """Claim a shard that is to be closed, which must be there."""
    claim = await store.claim_unfinished(await found(store), owner, now, now + LEASE)
    assert claim is not None
    return claim


class EndPromises:
    """Promises about cancelling, deleting and changing."""

    async def events(self, store: Store) -> list[tuple[str, str, str]]:
        """Give (tenant, batch id, type) of every event in the store."""
        raise NotImplementedError

    @pytest.mark.parametrize("stage", ["submitted", "planned", "running"])
    async def test_a_live_batch_is_cancelled_at_once_with_its_event(
        self, store: Store, stage: str
    ) -> None:
        if stage == "submitted":
            await store.add_batch(make_batch())
        else:
            await add_planned(store, make_batch())
        if stage == "running":
            await take(store)
        batch = await cancel(store)
        assert batch == await found(store)
        assert batch.state is BatchState.CANCELLED
        assert batch.ended_at == batch.updated_at == NOW + 5
        assert batch.failure is not None
        assert batch.failure.code is Code.CANCELLED
        assert await self.events(store) == [(OURS, "b1", "batch.cancelled")]
        assert await store.submitted_batches(5) == []
        assert await store.claimable(NOW, 5) == []

    async def test_cancelling_again_or_too_late_changes_nothing(self, store: Store) -> None:
        await store.add_batch(make_batch())
        first = await cancel(store)
        assert await store.cancel_batch(OURS, "b1", END, partial_results=False) == first
        await add_planned(store, make_batch("b2"))
        claim = await take(store, batch="b2")
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert (await cancel(store, "b2")).state is BatchState.SUCCEEDED
        assert len(await self.events(store)) == 2

    async def test_what_another_tenant_has_cannot_be_ended_or_changed(self, store: Store) -> None:
        await add_planned(store, make_batch())
        assert await store.cancel_batch(THEIRS, "b1", NOW, partial_results=True) is None
        assert await store.delete_batch(THEIRS, "b1", NOW) is None
        change = {"display_name": "stolen", "priority": 9}
        assert await store.update_batch(THEIRS, "b1", NOW, **change) is None  # type: ignore[arg-type]
        batch = await found(store)
        assert (batch.state, batch.priority) == (BatchState.PLANNED, 0)

    async def test_who_holds_a_shard_of_a_cancelled_batch_has_lost_it(self, store: Store) -> None:
        await add_planned(store, make_batch())
        claim = await take(store)
        await cancel(store)
        assert await store.beat([progress(claim, 9, Tally(1))], NOW, NOW + LEASE) == [claim]
        with pytest.raises(ClaimLost):
            await store.seal(claim, segment_of(claim), Tally(2), NOW)
        with pytest.raises(ClaimLost):
            await store.freeze(claim, claim.parts)
        assert await store.claim(OURS, "b1", "b", NOW, NOW + LEASE) is None

    async def test_a_deleted_batch_is_out_of_sight_and_tells_nobody(self, store: Store) -> None:
        await add_planned(store, make_batch())
        claim = await take(store)
        batch = await store.delete_batch(OURS, "b1", NOW)
        assert batch is not None
        assert batch.state is BatchState.CANCELLED
        assert await store.get_batch(OURS, "b1") is None
        assert await store.list_batches(OURS, Page(size=5)) == []
        assert await store.delete_batch(OURS, "b1", NOW) is None
        assert await store.cancel_batch(OURS, "b1", NOW, partial_results=True) is None
        assert await store.beat([progress(claim, 9, Tally(1))], NOW, NOW + LEASE) == [claim]
        assert await store.unclosed_batches(5) == []
        assert await self.events(store) == []

    async def test_the_results_of_a_deleted_batch_live_until_their_own_end(
        self, store: Store
    ) -> None:
        await add_planned(store, make_batch())
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        await store.delete_batch(OURS, "b1", NOW)
        assert await swept(store) == []
        assert await store.get_file(OURS, "batch-b1", NOW) is not None
        assert len(await store.segments(OURS, "b1", 0, 9)) == 1
        await store.delete_file(OURS, "batch-b1", NOW)
        await store.sweep(NOW, 0, 9)
        assert await swept(store) == [(OURS, "b1")]
        assert await swept(store) == []
        assert await store.segments(OURS, "b1", 0, 9) == []

    async def test_a_name_and_a_priority_can_be_changed_each_alone(self, store: Store) -> None:
        await add_planned(store, make_batch())
        named = await store.update_batch(OURS, "b1", NOW + 1, display_name="new", priority=None)
        assert named == await found(store)
        assert (named.display_name, named.priority, named.updated_at) == ("new", 0, NOW + 1)
        raised = await store.update_batch(OURS, "b1", NOW + 2, display_name=None, priority=-7)
        assert raised is not None
        assert (raised.display_name, raised.priority) == ("new", -7)
        assert (await store.claimable(NOW, 5))[0].priority == -7

    async def test_a_tenant_has_only_so_many_batches_at_work(self, store: Store) -> None:
        await store.add_batch(make_batch("b1"), live_max=2)
        await store.add_batch(make_batch("b2"), live_max=2)
        with pytest.raises(OverQuota, match="1 more batch was asked for, 2 of 2"):
            await store.add_batch(make_batch("b3"), live_max=2)
        assert await store.get_batch(OURS, "b3") is None
        await store.add_batch(make_batch("b3", tenant=THEIRS), live_max=2)
        await cancel(store, "b1")
        await store.add_batch(make_batch("b4"), live_max=2)
        await store.delete_batch(OURS, "b2", NOW)
        await store.add_batch(make_batch("b5"), live_max=2)


class PartialPromises:
    """Promises about the results of batches that ended early."""

    async def events(self, store: Store) -> list[tuple[str, str, str]]:
        """Give (tenant, batch id, type) of every event in the store."""
        raise NotImplementedError

    @pytest.mark.parametrize("form", BatchForm)
    async def test_closing_every_shard_shows_the_results(
        self, store: Store, form: BatchForm
    ) -> None:
        await add_planned(store, make_batch(form=form), shards=3)
        sealed, held = await take(store), await take(store)
        await store.seal(sealed, segment_of(sealed), Tally(2), NOW)
        await cancel(store)
        assert [batch.batch_id for batch in await store.unclosed_batches(5)] == ["b1"]
        first = await take_unfinished(store)
        assert (first.plan, first.epoch, first.closing) == (held.plan, held.epoch + 1, True)
        await store.freeze(first, (JournalPart(1, 30), JournalPart(2, 0)))
        assert await store.seal(first, segment_of(first), Tally(1, 1), NOW) is None
        assert (await found(store)).partial is PartialResults.DUE
        growing = await store.get_file(OURS, "batch-b1", NOW)
        assert (growing is None) is (form is BatchForm.INLINE)
        last = await take_unfinished(store)
        shown = await store.seal(last, segment_of(last), Tally(0, 2), NOW)
        assert shown == await found(store)
        assert (shown.state, shown.partial) == (BatchState.CANCELLED, PartialResults.SHOWN)
        assert shown.has_results
        assert shown.tally == Tally(3, 3)
        assert await self.events(store) == [(OURS, "b1", "batch.cancelled")]
        assert len(await store.segments(OURS, "b1", 0, 9)) == 3
        file = await store.get_file(OURS, "batch-b1", NOW)
        assert (file is None) is (form is BatchForm.INLINE)
        assert await store.unclosed_batches(5) == []
        assert await store.claim_unfinished(shown, "closer", END, END + LEASE) is None

    async def test_expired_batches_are_closed_alike(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await store.expire_batches(END)
        claim = await take_unfinished(store)
        shown = await store.seal(claim, segment_of(claim), Tally(0, 2), END)
        assert shown is not None
        assert (shown.state, shown.partial) == (BatchState.EXPIRED, PartialResults.SHOWN)

    async def test_nothing_is_due_where_nothing_is_to_be_shown(self, store: Store) -> None:
        for name in ("b1", "b2"):
            await add_planned(store, make_batch(name))
        batch = await cancel(store, partial_results=False)
        await store.expire_batches(END, partial_results=False)
        assert await store.unclosed_batches(5) == []
        assert await store.claim_unfinished(batch, "closer", NOW, NOW + LEASE) is None
        assert not (await found(store)).has_results

    async def test_two_who_close_hold_different_shards(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=2)
        batch = await cancel(store)
        first, second = await take_unfinished(store, "a"), await take_unfinished(store, "b")
        assert {first.plan.index, second.plan.index} == {0, 1}
        assert await store.claim_unfinished(batch, "c", NOW, NOW + LEASE) is None
        later = await take_unfinished(store, "c", now=NOW + LEASE)
        assert (later.plan, later.epoch) == (first.plan, 2)
        with pytest.raises(ClaimLost):
            await store.seal(first, segment_of(first), Tally(0, 2), NOW)
        with pytest.raises(ClaimLost):
            await store.freeze(first, first.parts)

    async def test_a_claim_of_another_kind_passes_no_fence(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await cancel(store)
        claim = await take_unfinished(store)
        plain = msgspec.structs.replace(claim, closing=False)
        with pytest.raises(ClaimLost):
            await store.seal(plain, segment_of(claim), Tally(2), NOW)
        await store.delete_batch(OURS, "b1", NOW)
        with pytest.raises(ClaimLost):
            await store.seal(claim, segment_of(claim), Tally(0, 2), NOW)

    async def test_a_batch_that_ended_unplanned_can_be_planned_once(self, store: Store) -> None:
        batch = make_batch()
        await store.add_batch(batch)
        await cancel(store)
        assert await store.open_batch(batch, *make_plan(2), NOW + 9)
        assert not await store.open_batch(batch, *make_plan(2), NOW + 9)
        planned = await found(store)
        assert (planned.state, planned.request_count) == (BatchState.CANCELLED, 4)
        assert (await take_unfinished(store)).plan.index == 0
        await store.add_batch(make_batch("b2"))
        await cancel(store, "b2", partial_results=False)
        assert not await store.open_batch(make_batch("b2"), *make_plan(2), NOW)

    async def test_results_that_cannot_be_completed_are_dropped(self, store: Store) -> None:
        batch = await add_planned(store, make_batch())
        await cancel(store)
        await store.drop_partial(batch)
        assert (await found(store)).partial is None
        assert await store.unclosed_batches(5) == []

    async def test_an_input_is_kept_until_its_results_are_shown(self, store: Store) -> None:
        file = await add_file(store, make_file())
        await add_planned(store, make_batch(file=file))
        await store.delete_file(OURS, "f1", NOW)
        await cancel(store)
        assert await store.sweep(NOW, 0, 9) == []
        claim = await take_unfinished(store)
        await store.seal(claim, segment_of(claim), Tally(0, 2), NOW)
        assert await store.sweep(NOW, 0, 9) == [file.blob]
