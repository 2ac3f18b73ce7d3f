"""What every store promises about cached contents."""
# ruff: noqa: D102 - the names of the promises are sentences, their numbers examples

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.cache import Cache
from nightrate.domain.file import Page
from nightrate.domain.shard import Tally
from nightrate.errors import OverQuota
from nightrate.store.base import Store
from nightrate.testing.store_samples import (
    END,
    FAULT,
    NOW,
    OURS,
    THEIRS,
    add_planned,
    make_batch,
    segment_of,
    take,
)


def make_cache(cache_id: str = "c1", *, tenant: str = OURS, created_at: int = NOW) -> Cache:
    """Make a cached content."""
    return Cache(
        tenant=tenant,
        cache_id=cache_id,
        model="m",
        display_name="book",
        blob=f"caches/{tenant}/{cache_id}",
        size_bytes=3,
        token_count=7,
        created_at=created_at,
        updated_at=created_at,
        expires_at=END,
    )


class CachePromises:
    """Promises about cached contents: whose they are, when they end, and who keeps their bytes."""

    async def test_a_cached_content_is_found_by_its_tenant_until_it_expires(
        self, store: Store
    ) -> None:
        cache = msgspec.structs.replace(make_cache(), display_name=None)
        await store.add_cache(cache, 9)
        assert await store.get_cache(OURS, "c1", END - 1) == cache
        assert await store.get_cache(OURS, "c1", END) is None
        assert await store.get_cache(THEIRS, "c1", NOW) is None
        assert await store.get_cache(OURS, "c2", NOW) is None

    async def test_two_tenants_may_use_one_id(self, store: Store) -> None:
        ours, theirs = make_cache(), make_cache(tenant=THEIRS)
        await store.add_cache(ours, 1)
        await store.add_cache(theirs, 1)
        assert await store.delete_cache(OURS, "c1", NOW) == ours.blob
        assert await store.get_cache(THEIRS, "c1", NOW) == theirs

    async def test_one_tenant_has_so_many_cached_contents(self, store: Store) -> None:
        await store.add_cache(make_cache(), 1)
        with pytest.raises(OverQuota):
            await store.add_cache(make_cache("c2"), 1)
        assert await store.get_cache(OURS, "c2", NOW) is None

    async def test_cached_contents_are_listed_newest_first_without_gap_or_repeat(
        self, store: Store
    ) -> None:
        for number, created_at in enumerate([30, 10, 20, 20]):
            await store.add_cache(make_cache(f"c{number}", created_at=created_at), 9)
        await store.add_cache(make_cache("theirs", tenant=THEIRS), 9)
        first = await store.list_caches(OURS, Page(size=2), NOW)
        assert [cache.cache_id for cache in first] == ["c0", "c3", "c2"]
        rest = await store.list_caches(OURS, Page(size=2, after=(20, "c3")), NOW)
        assert [cache.cache_id for cache in rest] == ["c2", "c1"]
        assert await store.list_caches(OURS, Page(size=2), END) == []

    async def test_another_end_counts_from_now_on(self, store: Store) -> None:
        await store.add_cache(make_cache(), 9)
        changed = await store.change_cache(OURS, "c1", END + 5, NOW + 1)
        expected = msgspec.structs.replace(make_cache(), expires_at=END + 5, updated_at=NOW + 1)
        assert changed == expected
        assert await store.get_cache(OURS, "c1", END) == expected
        assert await store.change_cache(THEIRS, "c1", END, NOW) is None
        assert await store.change_cache(OURS, "c1", END + 9, END + 5) is None

    async def test_a_deleted_cached_content_is_gone_at_once(self, store: Store) -> None:
        await store.add_cache(make_cache(), 9)
        await store.add_batch(make_batch())
        assert await store.delete_cache(THEIRS, "c1", NOW) is None
        assert await store.delete_cache(OURS, "c1", NOW) == "caches/ours/c1"
        assert await store.delete_cache(OURS, "c1", NOW) is None
        assert await store.get_cache(OURS, "c1", NOW) is None
        assert await store.sweep_caches(END, END, 9) == []

    async def test_an_expired_cached_content_cannot_be_deleted_again(self, store: Store) -> None:
        await store.add_cache(make_cache(), 9)
        assert await store.delete_cache(OURS, "c1", END) is None
        assert await store.sweep_caches(END, END, 9) == ["caches/ours/c1"]

    async def test_expired_cached_contents_are_swept_with_their_blobs(self, store: Store) -> None:
        for number in range(3):
            await store.add_cache(make_cache(f"c{number}"), 9)
        assert await store.sweep_caches(END - 1, END, 9) == []
        assert [len(await store.sweep_caches(END, END, 2)) for _ in range(3)] == [2, 1, 0]
        assert await store.get_cache(OURS, "c0", NOW) is None

    @pytest.mark.parametrize("created_at", [NOW, END - 1])
    async def test_a_live_batch_keeps_what_it_could_name_when_it_was_made(
        self, store: Store, created_at: int
    ) -> None:
        await store.add_cache(make_cache(), 9)
        await add_planned(store, make_batch(created_at=created_at))
        assert await store.sweep_caches(END, END, 9) == []
        assert await store.get_cache(OURS, "c1", created_at) == make_cache()
        claim = await take(store)
        assert await store.sweep_caches(END, END, 9) == []
        await store.seal(claim, segment_of(claim), Tally(2), END)
        assert await store.sweep_caches(END, END, 9) == ["caches/ours/c1"]

    async def test_a_batch_that_may_have_to_be_repaired_keeps_it_too(self, store: Store) -> None:
        await store.add_cache(make_cache(), 9)
        batch = make_batch(created_at=NOW)
        await store.add_batch(batch)
        await store.fail_batch(batch, None, FAULT, NOW)
        assert await store.sweep_caches(END, NOW - 1, 9) == []
        assert await store.sweep_caches(END, NOW, 9) == ["caches/ours/c1"]

    async def test_a_batch_that_is_repaired_keeps_it_too(self, store: Store) -> None:
        await store.add_cache(make_cache(), 9)
        await add_planned(store, make_batch(created_at=NOW))
        claim = await take(store)
        segment = segment_of(claim)
        await store.seal(claim, segment, Tally(2), END)
        await store.reopen_shard(OURS, claim.batch_id, claim.plan.index, segment.blob, END)
        assert await store.sweep_caches(END, END, 9) == []

    @pytest.mark.parametrize(
        ("tenant", "created_at", "ended"),
        [(THEIRS, NOW, False), (OURS, END, False), (OURS, NOW, True)],
        ids=["of another tenant", "made after its end", "that has ended"],
    )
    async def test_no_other_batch_keeps_it(
        self,
        store: Store,
        tenant: str,
        created_at: int,
        ended: bool,  # noqa: FBT001 - pytest gives it by name
    ) -> None:
        await store.add_cache(make_cache(), 9)
        batch = make_batch(tenant=tenant, created_at=created_at)
        await store.add_batch(batch)
        if ended:
            await store.fail_batch(batch, None, FAULT, NOW)
        assert await store.sweep_caches(END, END, 9) == ["caches/ours/c1"]
