"""What every store promises about shards that are made again because their segment is damaged."""
# ruff: noqa: D102, PLR2004 - the names of the promises are sentences, their numbers examples

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.batch import Batch, BatchForm, Dialect, Kind, PartialResults
from nightrate.domain.file import Page
from nightrate.domain.shard import Claim, JournalPart, Reopening, Segment, Tally
from nightrate.domain.states import BatchState, ShardState
from nightrate.errors import ClaimLost
from nightrate.store.base import Store
from nightrate.store.records import BEFORE_ALL
from nightrate.testing.store_samples import (
    END,
    FAULT,
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
    make_upload,
    progress,
    segment_of,
    take,
)


async def seal_all(store: Store, shards: int = 2) -> list[Segment]:
    """Seal every shard of a batch, each with two successes."""
    segments = []
    for _ in range(shards):
        claim = await take(store)
        segments.append(segment_of(claim))
        await store.seal(claim, segments[-1], Tally(2, 0, 8, 0, 0, 3, 40), NOW)
    return segments


async def reopen(store: Store, shard: int = 0, blob: str = "", now: int = NOW + 9) -> Reopening:
    """Report the segment of a shard as damaged; as its first claim wrote it, unless named."""
    return await store.reopen_shard(OURS, "b1", shard, blob or f"segments/{shard}.1", now)


async def size_of(store: Store, file_id: str = "batch-b1") -> int:
    """Give the length of a result file, which must be there."""
    file = await store.get_file(OURS, file_id, NOW)
    assert file is not None
    return file.size_bytes


class RepairPromises:
    """Promises about `Store.reopen_shard` and what follows it."""

    async def events(self, store: Store) -> list[tuple[str, str, str]]:
        """Give (tenant, batch id, type) of every event in the store."""
        raise NotImplementedError

    async def test_a_damaged_shard_of_a_running_batch_is_claimed_again(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=2)
        await seal_all(store, 1)
        assert await reopen(store) is Reopening.AGAIN
        batch = await found(store)
        assert (batch.tally, batch.repair_since) == (Tally(), None)
        assert await store.segments(OURS, "b1", 0, 9) == []
        claim = await take(store, "b")
        assert (claim.plan.index, claim.epoch, claim.damaged) == (0, 2, True)
        assert claim.parts == (JournalPart(2, 0),)
        other = await take(store, "b")
        assert (other.plan.index, other.damaged) == (1, False)
        for held in (claim, other):
            await store.seal(held, segment_of(held), Tally(1, 1), NOW)
        ended = await found(store)
        assert (ended.state, ended.tally) == (BatchState.SUCCEEDED, Tally(2, 2))
        assert len(await self.events(store)) == 1

    @pytest.mark.parametrize("form", BatchForm)
    async def test_a_batch_that_has_succeeded_is_repaired_and_stays_what_it_is(
        self, store: Store, form: BatchForm
    ) -> None:
        await add_planned(store, make_batch(form=form), shards=2)
        await seal_all(store)
        before = await found(store)
        assert await store.claimable(NOW, 9) == []
        assert await reopen(store) is Reopening.AGAIN
        during = await found(store)
        assert during.repair_since == NOW + 9
        assert (during.state, during.tally) == (before.state, before.tally)
        assert [one.batch_id for one in await store.claimable(NOW, 9)] == ["b1"]
        assert await store.claim_unfinished(during, "closer", NOW, NOW + LEASE) is None
        claim = await take(store, "b")
        await store.freeze(claim, claim.parts)
        assert await store.beat([progress(claim, 9, Tally(1))], NOW, NOW + LEASE) == []
        assert (await found(store)).tally == before.tally
        longer = Segment("segments/0.2", 1_000, 8)
        ended = await store.seal(claim, longer, Tally(1, 1, 9), NOW + 20)
        assert ended == await found(store)
        assert (ended.state, ended.ended_at) == (BatchState.SUCCEEDED, before.ended_at)
        assert ended.repair_since is None
        assert ended.tally == Tally(3, 1, 17, 0, 0, 3, 40)
        segments = [one.segment for one in await store.segments(OURS, "b1", 0, 9)]
        assert segments == [longer, Segment("segments/1.1", 11, 7)]
        if form is BatchForm.FILE:
            assert await size_of(store) == 1_011
        assert len(await self.events(store)) == 1
        assert await store.claimable(NOW, 9) == []

    async def test_damage_is_the_same_whoever_finds_it(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await seal_all(store, 1)
        assert [await reopen(store), await reopen(store)] == [Reopening.AGAIN] * 2
        claim = await take(store)
        assert await reopen(store) is Reopening.AGAIN
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert await reopen(store) is Reopening.REPLACED
        assert len(await store.segments(OURS, "b1", 0, 9)) == 1
        assert await reopen(store, blob="segments/0.2") is Reopening.AGAIN
        assert (await take(store)).epoch == 3

    async def test_what_is_not_sealed_or_not_there_is_not_reopened(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=2)
        claim = await take(store)
        assert await reopen(store, blob="segments/0.1") is Reopening.NEVER
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert await reopen(store, shard=7) is Reopening.NEVER
        other = await store.reopen_shard(THEIRS, "b1", 0, "segments/0.1", NOW)
        assert other is Reopening.NEVER
        assert len(await store.segments(OURS, "b1", 0, 9)) == 1

    async def test_a_batch_that_shows_nothing_is_not_repaired(self, store: Store) -> None:
        for end in ("fail", "cancel", "delete"):
            batch = make_batch(end)
            await add_planned(store, batch, shards=2)
            claim = await take(store, batch=end)
            await store.seal(claim, segment_of(claim), Tally(2), NOW)
            if end == "fail":
                await store.fail_batch(batch, None, FAULT, NOW)
            elif end == "cancel":
                await store.cancel_batch(OURS, end, NOW, partial_results=False)
            else:
                await store.delete_batch(OURS, end, NOW)
            outcome = await store.reopen_shard(OURS, end, 0, "segments/0.1", NOW)
            assert outcome is Reopening.NEVER, end

    async def test_who_repairs_is_fenced_like_any_owner(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await seal_all(store, 1)
        await reopen(store)
        zombie = await take(store, "zombie")
        later = await take(store, "later", now=NOW + LEASE)
        assert later.epoch == zombie.epoch + 1
        assert await store.beat([progress(zombie, 9, Tally(1))], NOW, NOW + LEASE) == [zombie]
        with pytest.raises(ClaimLost):
            await store.seal(zombie, segment_of(zombie), Tally(2), NOW)
        await store.release([later])
        again = await take(store)
        await store.seal(again, segment_of(again), Tally(2), NOW)
        with pytest.raises(ClaimLost):
            await store.seal(again, segment_of(again), Tally(2), NOW)

    @pytest.mark.parametrize("claimed", [False, True])
    async def test_deleting_a_batch_ends_its_repair(self, store: Store, *, claimed: bool) -> None:
        await add_planned(store, make_batch(), shards=2)
        await seal_all(store)
        await reopen(store)
        claim = await take(store) if claimed else None
        await store.delete_batch(OURS, "b1", NOW)
        assert await store.claimable(NOW + LEASE, 9) == []
        if claim is not None:
            with pytest.raises(ClaimLost):
                await store.seal(claim, segment_of(claim), Tally(2), NOW)
        first, second = await store.segments(OURS, "b1", 0, 9)
        assert first.lost is not None
        assert "deleted" in first.lost
        assert second.lost is None
        assert await size_of(store) == 21
        assert await reopen(store) is Reopening.NEVER

    async def test_an_input_is_kept_until_the_repair_has_ended(self, store: Store) -> None:
        file = await add_file(store, make_file())
        await add_planned(store, make_batch(file=file))
        await seal_all(store, 1)
        await store.delete_file(OURS, "f1", NOW)
        assert await reopen(store) is Reopening.AGAIN
        assert await store.sweep(NOW, 0, 9) == []
        assert await store.input_digest(await found(store)) == file.sha256
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert await store.sweep(NOW, 0, 9) == [file.blob]
        assert await reopen(store, blob="segments/0.2") is Reopening.NEVER
        assert await store.input_digest(await found(store)) is None

    async def test_the_file_of_failures_appears_with_the_first_of_them(self, store: Store) -> None:
        kind = Kind(dialect=Dialect.OPENAI)
        await add_planned(store, msgspec.structs.replace(make_batch(), kind=kind), shards=2)
        for _ in range(2):
            claim = await take(store)
            name = f"segments/{claim.plan.index}.1"
            await store.seal(claim, Segment(name, 10, 7, 10), Tally(2), NOW)
        assert await store.get_file(OURS, "batch-b1-errors", NOW) is None
        for shard in range(2):
            assert await reopen(store, shard) is Reopening.AGAIN
        first, second = await take(store), await take(store)
        await store.seal(first, Segment("segments/0.2", 10, 7, 6), Tally(1, 1), NOW + 20)
        await store.seal(second, Segment("segments/1.2", 10, 7, 9), Tally(1, 1), NOW + 20)
        errors = await store.get_file(OURS, "batch-b1-errors", NOW)
        output = await store.get_file(OURS, "batch-b1", NOW)
        assert errors is not None
        assert output is not None
        assert (output.size_bytes, errors.size_bytes) == (15, 5)
        assert errors.expires_at == output.expires_at

    @pytest.mark.parametrize("swept_first", [False, True])
    async def test_a_result_file_that_is_gone_does_not_come_back(
        self, store: Store, *, swept_first: bool
    ) -> None:
        await add_planned(store, make_batch())
        await seal_all(store, 1)
        await store.delete_file(OURS, "batch-b1", NOW)
        if swept_first:
            await store.sweep(NOW, 0, 9)
            assert await reopen(store) is Reopening.NEVER
            return
        assert await reopen(store) is Reopening.AGAIN
        claim = await take(store)
        await store.sweep(NOW, 0, 9)
        assert (await store.sweep_results(9)).batches == ()  # when it has been repaired
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert await store.get_file(OURS, "batch-b1", NOW) is None
        assert await store.list_files(OURS, Page(size=9), NOW) == []
        assert (await store.sweep_results(9)).batches == ((OURS, "b1"),)

    async def test_what_a_repair_needs_is_kept_until_it_has_ended(self, store: Store) -> None:
        await add_planned(store, make_batch(form=BatchForm.INLINE))
        await seal_all(store, 1)
        assert await reopen(store) is Reopening.AGAIN
        batch = await found(store)
        assert await store.sweep_inputs(END, END, 9) == []
        assert (await store.sweep_batches(END, END, 9)).batches == ()
        assert await store.named([batch.input_blob]) == {batch.input_blob}
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert await store.sweep_inputs(END, END, 9) == [(OURS, "b1")]
        assert await reopen(store, blob="segments/0.2") is Reopening.NEVER


async def ended_early(store: Store) -> Batch:
    """Make a batch that was cancelled, with its partial results shown."""
    await add_planned(store, make_batch(), shards=2)
    await seal_all(store, 1)
    await store.cancel_batch(OURS, "b1", NOW + 5, partial_results=True)
    claim = await take_unfinished(store)
    shown = await store.seal(claim, segment_of(claim), Tally(0, 2), NOW)
    assert shown is not None
    return shown


async def take_unfinished(store: Store) -> Claim:
    """Claim a shard that is to be closed, which must be there."""
    claim = await store.claim_unfinished(await found(store), "closer", NOW, NOW + LEASE)
    assert claim is not None
    return claim


class LossPromises:
    """Promises about damage that stays, and about batches that ended early."""

    async def events(self, store: Store) -> list[tuple[str, str, str]]:
        """Give (tenant, batch id, type) of every event in the store."""
        raise NotImplementedError

    async def test_shown_partial_results_are_closed_again(self, store: Store) -> None:
        shown = await ended_early(store)
        assert await reopen(store) is Reopening.AGAIN
        assert await store.claimable(NOW, 9) == []
        assert await store.claim(OURS, "b1", "a", NOW, NOW + LEASE) is None
        during = await found(store)
        assert (during.partial, during.tally) == (PartialResults.SHOWN, shown.tally)
        assert await store.unclosed_batches(9) == [during]
        claim = await take_unfinished(store)
        assert (claim.plan.index, claim.closing, claim.damaged) == (0, True, True)
        again = await store.seal(claim, Segment("segments/0.2", 30, 7), Tally(0, 2), NOW)
        assert again is not None
        assert (again.tally, again.repair_since) == (Tally(0, 4), None)
        assert await size_of(store) == 41
        assert await store.unclosed_batches(9) == []
        assert len(await self.events(store)) == 1

    async def test_damage_before_partial_results_are_shown_is_closed_with_them(
        self, store: Store
    ) -> None:
        await add_planned(store, make_batch(), shards=2)
        await seal_all(store, 1)
        await store.cancel_batch(OURS, "b1", NOW + 5, partial_results=True)
        assert await reopen(store) is Reopening.AGAIN
        batch = await found(store)
        assert (batch.tally, batch.repair_since) == (Tally(), None)
        closed = [await take_unfinished(store), await take_unfinished(store)]
        assert [(one.plan.index, one.damaged) for one in closed] == [(0, True), (1, False)]
        for claim in closed:
            await store.seal(claim, segment_of(claim), Tally(0, 2), NOW)
        assert (await found(store)).partial is PartialResults.SHOWN
        assert await size_of(store) == 21

    async def test_a_repair_that_is_given_up_leaves_the_damage_named(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=3)
        segments = await seal_all(store, 3)
        for shard in (0, 1):
            await reopen(store, shard)
        held = await take(store)
        await store.seal(held, Segment("segments/0.2", 50, 7), Tally(2), NOW)
        late = await take(store)
        await store.end_repair(await found(store), "the input is gone", NOW + 30)
        with pytest.raises(ClaimLost):
            await store.seal(late, segment_of(late), Tally(2), NOW)
        batch = await found(store)
        assert (batch.repair_since, batch.tally) == (None, Tally(6, 0, 16, 0, 0, 6, 80))
        sealed = await store.segments(OURS, "b1", 0, 9)
        assert [one.lost for one in sealed] == [None, "the input is gone", None]
        assert [one.segment for one in sealed][1:] == segments[1:]
        assert await size_of(store) == 50 + 11 + 12
        assert await reopen(store, 1) is Reopening.NEVER
        assert await store.claimable(NOW, 9) == []

    async def test_giving_up_what_is_not_repaired_changes_nothing(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=2)
        await seal_all(store, 1)
        await reopen(store)
        before = await found(store)
        await store.end_repair(before, "why", NOW)
        assert await found(store) == before
        assert (await take(store)).plan.index == 0

    async def test_a_repair_has_its_time(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await seal_all(store, 1)
        await reopen(store, now=NOW + 9)
        assert await store.expire_repairs(NOW + 9, "too late", NOW + 99, 9) == []
        (given_up,) = await store.expire_repairs(NOW + 10, "too late", NOW + 99, 9)
        assert given_up.batch_id == "b1"
        (sealed,) = await store.segments(OURS, "b1", 0, 9)
        assert sealed.lost == "too late"
        assert await store.expire_repairs(NOW + 10, "too late", NOW + 99, 9) == []

    async def test_a_sealed_shard_can_be_lost_at_once(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await seal_all(store, 1)
        lose = {"why": "no input", "now": NOW}
        assert not await store.lose_shard(OURS, "b1", 0, "segments/0.9", **lose)  # type: ignore[arg-type]
        assert not await store.lose_shard(THEIRS, "b1", 0, "segments/0.1", **lose)  # type: ignore[arg-type]
        assert await store.lose_shard(OURS, "b1", 0, "segments/0.1", **lose)  # type: ignore[arg-type]
        assert await reopen(store) is Reopening.NEVER
        (record,) = await store.shards(OURS, "b1", 0, 9)
        assert (record.state, record.damaged, record.lost) == (ShardState.SEALED, True, "no input")

    async def test_every_record_can_be_listed(self, store: Store) -> None:
        file = await add_file(store, make_file())
        await store.add_upload(make_upload("u2", "f2"))
        await add_planned(store, make_batch(file=file), shards=3)
        await add_planned(store, make_batch("b2", tenant=THEIRS))
        await store.delete_batch(THEIRS, "b2", NOW)
        await store.delete_file(OURS, "f1", NOW)
        claim = await take(store)
        await store.freeze(claim, claim.parts)
        await reopen(store)
        first = await store.every_batch(BEFORE_ALL, 1)
        rest = await store.every_batch((first[0].tenant, first[0].batch_id), 9)
        keys = [(one.tenant, one.batch_id) for one in first + rest]
        assert keys == [(OURS, "b1"), (THEIRS, "b2")]
        assert await store.every_batch((THEIRS, "b2"), 9) == []
        assert await store.every_file(BEFORE_ALL, 9) == [file]
        assert {one.upload_id for one in await store.every_upload("", 9)} == {"of-f1", "u2"}
        assert await store.every_cache(BEFORE_ALL, 9) == []
        records = await store.shards(OURS, "b1", 0, 2) + await store.shards(OURS, "b1", 2, 9)
        assert [one.plan for one in records] == list(make_plan(3)[1])
        running, *pending = records
        assert (running.state, running.epoch) == (ShardState.RUNNING, 1)
        assert running.parts == (JournalPart(1, 0),)
        assert {one.state for one in pending} == {ShardState.PENDING}
        assert {one.segment for one in records} == {None}
