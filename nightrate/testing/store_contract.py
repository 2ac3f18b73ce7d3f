"""What every store promises, as tests: subclass `StoreContract`, provide a store, run pytest.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self) -> AsyncIterator[Store]:
            store = MyStore(...)
            yield store
            await store.close()

        async def events(self, store: Store) -> list[tuple[str, str, str]]:
            return [...]  # (tenant, batch id, type) of every event

The tests need pytest-asyncio in its auto mode and an empty store for each of them. Times are small
whole numbers that the tests make up: a store asks no clock about anything it is told.
"""
# ruff: noqa: D102, PLR2004 - the names of the promises are sentences, their numbers examples

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from msgspec import structs

from nightrate import limits
from nightrate.domain.batch import BatchForm
from nightrate.domain.file import FileSource, Page
from nightrate.domain.outlook import standing_of
from nightrate.domain.shard import JournalPart, Segment, ShardPlan, Tally
from nightrate.domain.states import BatchState
from nightrate.domain.tariff import Quote, TokenPrices
from nightrate.errors import ClaimLost
from nightrate.store.base import Store
from nightrate.testing.store_caches import CachePromises
from nightrate.testing.store_ends import EndPromises, PartialPromises
from nightrate.testing.store_keys import KeyPromises, StoragePromises, TokenPromises
from nightrate.testing.store_orders import OrderPromises
from nightrate.testing.store_parts import PartPromises
from nightrate.testing.store_records import BatchPromises, SweepPromises, UploadPromises
from nightrate.testing.store_repairs import LossPromises, RepairPromises
from nightrate.testing.store_retention import (
    InputRetentionPromises,
    NamePromises,
    ResultsRetentionPromises,
    RetentionPromises,
)
from nightrate.testing.store_samples import (
    END,
    FAULT,
    LEASE,
    NOW,
    OURS,
    THEIRS,
    add_planned,
    found,
    frozen,
    make_batch,
    progress,
    segment_of,
    take,
)
from nightrate.testing.store_webhooks import DeliveryPromises, WebhookPromises


class ClaimPromises:
    """Promises about claims: one holder, epochs that never fall, a fence."""

    async def test_claims_take_shards_in_order_and_start_the_batch(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=2)
        first, second = await take(store), await take(store, "b")
        assert (await found(store)).state is BatchState.RUNNING
        assert first.plan == ShardPlan(0, 0, 2, 1, 0, 50)
        assert second.plan == ShardPlan(1, 2, 2, 3, 50, 50)
        assert (first.epoch, first.owner, first.lease_until) == (1, "a", NOW + LEASE)
        assert first.parts == (JournalPart(1, 0),)
        assert await store.claim(OURS, "b1", "c", NOW, NOW + LEASE) is None

    async def test_a_batch_that_is_not_planned_has_nothing_to_claim(self, store: Store) -> None:
        await store.add_batch(make_batch())
        assert await store.claimable(NOW, 5) == []
        assert await store.claim(OURS, "b1", "a", NOW, NOW + LEASE) is None

    async def test_standings_are_those_of_live_batches_of_all_tenants(self, store: Store) -> None:
        await store.add_batch(make_batch("b3", created_at=NOW + 3))
        await add_planned(store, make_batch("b2", tenant=THEIRS, created_at=NOW + 2), shards=2)
        await add_planned(store, make_batch(), shards=2)
        claim = await take(store, now=NOW + 9)
        await store.beat([progress(claim, 70, Tally(3, 1, 5, 6, 2))], NOW, NOW + LEASE)
        ended = await add_planned(store, make_batch("b4"))
        await store.cancel_batch(OURS, ended.batch_id, NOW, partial_results=False)
        first, second, third = await store.standings(5)
        assert (first.batch_id, first.done, first.started_at) == ("b1", 4, NOW + 9)
        assert first == standing_of(await found(store))
        assert second == standing_of(await found(store, "b2", THEIRS))
        assert third == standing_of(await found(store, "b3"))
        assert third.request_count is None
        assert await store.standings(2) == [first, second]

    async def test_a_claim_lasts_as_long_as_its_lease(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await take(store)
        assert await store.claim(OURS, "b1", "b", NOW + LEASE - 1, NOW + 2 * LEASE) is None
        later = await take(store, "b", now=NOW + LEASE)
        assert (later.epoch, later.owner) == (2, "b")

    async def test_an_overdue_shard_is_claimed_before_a_fresh_one(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=3)
        await take(store)
        await take(store, now=NOW + LEASE // 2)
        again = await take(store, "b", now=NOW + LEASE)
        assert (again.plan.index, again.epoch) == (0, 2)
        assert (await take(store, "b", now=NOW + LEASE)).plan.index == 2

    async def test_a_beat_renews_the_lease_and_shows_the_progress(self, store: Store) -> None:
        await add_planned(store, make_batch())
        claim = await take(store)
        beat = progress(claim, 70, Tally(1, 0, 5, 6, 2))
        assert await store.beat([beat], NOW + 50, NOW + 50 + LEASE) == []
        batch = await found(store)
        assert batch.tally == Tally(1, 0, 5, 6, 2)
        assert batch.updated_at == NOW + 50
        assert await store.claim(OURS, "b1", "b", NOW + LEASE, NOW + 9 * LEASE) is None
        later = await take(store, "b", now=NOW + 50 + LEASE)
        assert later.parts == (JournalPart(1, 70),)

    async def test_a_released_shard_is_free_at_once_and_keeps_its_epoch(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await store.release([await take(store)])
        claim = await take(store, "b")
        assert claim.epoch == 2
        assert claim.parts == (JournalPart(1, 0),)

    async def test_releasing_everything_frees_every_claim_of_every_tenant(
        self, store: Store
    ) -> None:
        await add_planned(store, make_batch(), shards=2)
        await add_planned(store, make_batch(tenant=THEIRS))
        await take(store)
        await take(store)
        await store.claim(THEIRS, "b1", "a", NOW, NOW + LEASE)
        assert await store.release_all() == 3
        assert await store.release_all() == 0
        assert (await take(store, "b")).epoch == 2
        assert len(await store.claimable(NOW, 5)) == 2

    async def test_the_epoch_never_falls(self, store: Store) -> None:
        await add_planned(store, make_batch())
        epochs = []
        now = NOW
        for turn in range(6):
            claim = await take(store, f"owner {turn}", now=now)
            epochs.append(claim.epoch)
            if turn % 3 == 0:
                await store.release([claim])
            elif turn % 3 == 1:
                await store.release_all()
            else:
                now += LEASE
        assert epochs == [1, 2, 3, 4, 5, 6]

    async def test_a_freeze_is_what_the_next_owner_finds(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await store.release([await take(store)])
        second = await take(store, "b")
        await store.freeze(second, frozen(second, JournalPart(1, 40)).parts)
        assert (
            await store.beat([progress(frozen(second, JournalPart(1, 40)), 33, Tally())], 5, 5)
            == []
        )
        third = await take(store, "c")
        assert third.parts == (JournalPart(1, 40), JournalPart(2, 33))

    async def test_several_claims_beat_together_and_the_lost_ones_are_told(
        self, store: Store
    ) -> None:
        await add_planned(store, make_batch(), shards=3)
        kept, lost, also_kept = [await take(store) for _ in range(3)]
        await store.release([lost])
        beats = [progress(claim, 1, Tally(1)) for claim in (kept, lost, also_kept)]
        assert await store.beat(beats, NOW, NOW + LEASE) == [lost]
        assert (await found(store)).tally == Tally(2)

    @pytest.mark.parametrize("how", ["taken over", "released", "expired", "failed", "sealed"])
    async def test_the_words_of_a_lost_claim_are_refused(self, store: Store, how: str) -> None:
        batch = await add_planned(store, make_batch())
        claim = await take(store)
        await store.beat([progress(claim, 5, Tally(1))], NOW, NOW + LEASE)
        if how == "taken over":
            await take(store, "b", now=NOW + LEASE)
        elif how == "released":
            await store.release([claim])
        elif how == "expired":
            await store.expire_batches(END)
        elif how == "failed":
            await store.fail_batch(batch, None, FAULT, NOW)
        else:
            await store.seal(claim, segment_of(claim), Tally(2), NOW)
        before = await found(store)
        with pytest.raises(ClaimLost):
            await store.freeze(claim, frozen(claim, JournalPart(0, 9)).parts)
        assert await store.beat([progress(claim, 9, Tally(2, 9))], END, END) == [claim]
        with pytest.raises(ClaimLost):
            await store.seal(claim, Segment("other", 1, 1), Tally(1), END)
        await store.release([claim])
        assert await found(store) == before
        if how == "taken over":  # the late release took nothing from the new owner
            assert await store.claim(OURS, "b1", "c", NOW + LEASE, END) is None
        if how == "sealed":
            (sealed,) = await store.segments(OURS, "b1", 0, 5)
            assert sealed.segment == segment_of(claim)

    async def test_an_owner_of_the_same_epoch_but_another_name_has_no_claim(
        self, store: Store
    ) -> None:
        await add_planned(store, make_batch())
        claim = msgspec.structs.replace(await take(store), owner="somebody else")
        assert await store.beat([progress(claim, 0, Tally())], NOW, NOW + LEASE) == [claim]
        with pytest.raises(ClaimLost):
            await store.seal(claim, segment_of(claim), Tally(2), NOW)

    async def test_claimable_batches_come_by_priority_then_oldest_first(self, store: Store) -> None:
        for batch_id, created_at, priority in [
            ("old", 10, 0),
            ("older", 5, 0),
            ("urgent", 30, 5),
            ("late", 40, 0),
            ("idle", 1, -1),
        ]:
            batch = make_batch(batch_id, created_at=created_at, priority=priority)
            await add_planned(store, batch)
        claimable = await store.claimable(NOW, 4)
        assert [batch.batch_id for batch in claimable] == ["urgent", "older", "old", "late"]
        assert claimable[0].priority == 5
        assert claimable[0].model == "m"

    async def test_claimable_batches_tell_how_many_shards_are_at_work(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=3)
        await take(store)
        await take(store, now=NOW + 50)
        (batch,) = await store.claimable(NOW + 60, 5)
        assert batch.running_shards == 2
        (batch,) = await store.claimable(NOW + LEASE, 5)  # the first lease has ended
        assert batch.running_shards == 1
        await take(store, now=NOW + 60)
        assert await store.claimable(NOW + 60, 5) == []


class SealPromises:
    """Promises about sealing, closing and reading."""

    async def events(self, store: Store) -> list[tuple[str, str, str]]:
        """Give (tenant, batch id, type) of every event in the store."""
        raise NotImplementedError

    async def test_the_last_seal_closes_the_batch_with_its_file_and_its_event(
        self, store: Store
    ) -> None:
        await add_planned(store, make_batch(), shards=2)
        first, second = await take(store), await take(store)
        assert await store.seal(second, segment_of(second), Tally(1, 1, 5), NOW + 1) is None
        assert (await found(store)).state is BatchState.RUNNING
        assert await self.events(store) == []
        ended = await store.seal(first, segment_of(first), Tally(2, 0, 7), NOW + 2)
        assert ended == await found(store)
        assert ended.state is BatchState.SUCCEEDED
        assert ended.tally == Tally(3, 1, 12)
        assert ended.ended_at == NOW + 2
        assert await self.events(store) == [(OURS, "b1", "batch.succeeded")]
        file = await store.get_file(OURS, "batch-b1", NOW + 3)
        assert file is not None
        assert file.blob is None
        assert file.size_bytes == 10 + 11
        assert file.source is FileSource.GENERATED
        lifetime = limits.RESULT_LIFETIME_SECONDS * 1_000_000
        assert file.expires_at == NOW + 2 + lifetime
        assert await store.list_files(OURS, Page(size=5), NOW + 3) == [file]
        assert await store.get_file(THEIRS, "batch-b1", NOW + 3) is None

    async def test_an_inline_batch_has_no_result_file(self, store: Store) -> None:
        await add_planned(store, make_batch(form=BatchForm.INLINE), shards=2)
        first, second = await take(store), await take(store)
        await store.seal(first, segment_of(first), Tally(2), NOW)
        assert await store.get_file(OURS, "batch-b1", NOW) is None
        ended = await store.seal(second, segment_of(second), Tally(2), NOW)
        assert ended is not None
        assert await store.get_file(OURS, "batch-b1", NOW) is None
        assert await store.list_files(OURS, Page(size=5), NOW) == []

    async def test_a_shard_is_sealed_once_and_its_counters_stay(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=2)
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(1, 1), NOW)
        with pytest.raises(ClaimLost):
            await store.seal(claim, Segment("other", 1, 1), Tally(2), NOW)
        assert (await found(store)).tally == Tally(1, 1)
        (sealed,) = await store.segments(OURS, "b1", 0, 5)
        assert sealed.segment == segment_of(claim)
        assert (sealed.shard, sealed.first_request, sealed.request_count) == (0, 0, 2)

    async def test_a_sealed_shard_is_never_claimed_again(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=2)
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        await store.release([claim])
        await store.release_all()
        assert (await take(store, now=NOW + 9 * LEASE)).plan.index == 1
        assert await store.claim(OURS, "b1", "b", NOW + 9 * LEASE, END) is None

    async def test_segments_are_given_up_to_the_first_gap_by_pages(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=4)
        claims = [await take(store) for _ in range(4)]
        for index in (0, 1, 3):
            await store.seal(claims[index], segment_of(claims[index]), Tally(2), NOW)
        given = await store.segments(OURS, "b1", 0, 9)
        assert [sealed.shard for sealed in given] == [0, 1]
        await store.seal(claims[2], segment_of(claims[2]), Tally(2), NOW)
        pages = [await store.segments(OURS, "b1", start, 2) for start in (0, 2, 4)]
        assert [[sealed.shard for sealed in page] for page in pages] == [[0, 1], [2, 3], []]

    async def test_a_growing_result_file_is_what_is_sealed_without_a_gap(
        self, store: Store
    ) -> None:
        await add_planned(store, make_batch(), shards=3)
        assert await store.get_file(OURS, "batch-b1", NOW) is None
        claims = [await take(store) for _ in range(3)]
        sizes = []
        for index in (1, 0):
            await store.seal(claims[index], segment_of(claims[index]), Tally(2), NOW)
            file = await store.get_file(OURS, "batch-b1", NOW)
            assert file is not None
            sizes.append(file.size_bytes)
        assert sizes == [0, 10 + 11]
        assert await store.get_file(THEIRS, "batch-b1", NOW) is None

    async def test_counters_are_what_the_shards_sum_up_to(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=3)
        sealed, beating, _ = [await take(store) for _ in range(3)]
        await store.beat([progress(beating, 5, Tally(1, 0, 10, 20, 3, 4, 5))], NOW, NOW + LEASE)
        much = 2**62  # nanoseconds of an engine are many
        await store.seal(sealed, segment_of(sealed), Tally(1, 1, 100, 200, 30, 40, much), NOW)
        summed = Tally(2, 1, 110, 220, 33, 44, much + 5)
        assert (await found(store)).tally == summed
        (listed,) = await store.list_batches(OURS, Page(size=5))
        assert listed.tally == summed

    async def test_a_batch_keeps_what_it_is_charged_by_as_it_was_written(
        self, store: Store
    ) -> None:
        prices = TokenPrices(input=Decimal("0.30"), output=Decimal("2.5"), cached=Decimal("1E-12"))
        quote = Quote(
            currency="USD",
            batch_share=Decimal("0.50"),
            tokens=prices,
            machine_price_per_hour=Decimal(2),
        )
        machine_only = structs.replace(quote, tokens=None)
        for batch_id, kept in (("b1", quote), ("b2", machine_only), ("b3", None)):
            batch = structs.replace(make_batch(batch_id), quote=kept)
            await add_planned(store, batch)
            read = (await found(store, batch_id)).quote
            assert read == kept
            assert repr(read) == repr(kept)  # 0.30 equals 0.3 and reads otherwise


class StoreContract(
    OrderPromises,
    UploadPromises,
    BatchPromises,
    EndPromises,
    ClaimPromises,
    SealPromises,
    PartialPromises,
    PartPromises,
    SweepPromises,
    RepairPromises,
    LossPromises,
    RetentionPromises,
    ResultsRetentionPromises,
    InputRetentionPromises,
    NamePromises,
    WebhookPromises,
    DeliveryPromises,
    KeyPromises,
    StoragePromises,
    TokenPromises,
    CachePromises,
):
    """Promises of an empty store. To provide: the fixture ``store`` and the method ``events``."""
