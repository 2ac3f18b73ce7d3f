"""What every store promises about API keys, and about what tenants may have."""
# ruff: noqa: D102, PLR2004 - the names of the promises are sentences, their numbers examples

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.key import ApiKey
from nightrate.domain.quota import Stored, estimate_tokens
from nightrate.domain.shard import Tally
from nightrate.errors import Conflict, OverQuota, OverStorage
from nightrate.store.base import Store
from nightrate.testing.store_samples import (
    END,
    FAULT,
    NOW,
    OURS,
    THEIRS,
    add_file,
    add_planned,
    make_batch,
    make_file,
    make_upload,
    segment_of,
    take,
)


def make_key(
    key_id: str = "k1",
    *,
    tenant: str = OURS,
    created_at: int = NOW,
    expires_at: int | None = None,
) -> ApiKey:
    """Make a live key."""
    return ApiKey(
        key_id=key_id,
        tenant=tenant,
        name=f"key {key_id}",
        digest=f"digest {key_id}",
        created_at=created_at,
        expires_at=expires_at,
    )


class KeyPromises:
    """Promises about keys."""

    async def test_keys_are_listed_newest_first_as_they_were_made(self, store: Store) -> None:
        assert await store.list_keys() == []
        old, new = make_key(expires_at=END), make_key("k2", tenant=THEIRS, created_at=NOW + 1)
        await store.add_key(old, 9)
        await store.add_key(new, 9)
        assert await store.list_keys() == [new, old]

    async def test_the_id_of_a_key_is_taken_once(self, store: Store) -> None:
        await store.add_key(make_key(), 9)
        with pytest.raises(Conflict, match="k1"):
            await store.add_key(make_key(tenant=THEIRS), 9)
        assert await store.list_keys() == [make_key()]

    async def test_keys_that_open_nothing_any_more_leave_room_for_others(
        self, store: Store
    ) -> None:
        await store.add_key(make_key(expires_at=NOW + 5), 2)
        await store.add_key(make_key("k2"), 2)
        with pytest.raises(OverQuota, match="2 keys"):
            await store.add_key(make_key("k3", created_at=NOW + 4), 2)
        await store.add_key(make_key("k3", created_at=NOW + 5), 2)
        await store.revoke_key("k2", NOW + 5)
        await store.add_key(make_key("k4", created_at=NOW + 5), 2)

    async def test_a_key_is_revoked_once(self, store: Store) -> None:
        await store.add_key(make_key(), 9)
        revoked = msgspec.structs.replace(make_key(), revoked_at=NOW + 3)
        assert await store.revoke_key("k1", NOW + 3) == revoked
        assert await store.revoke_key("k1", NOW + 7) == revoked
        assert await store.revoke_key("k2", NOW + 7) is None
        assert await store.list_keys() == [revoked]

    async def test_a_use_is_recorded_unless_a_recent_one_is(self, store: Store) -> None:
        await store.add_key(make_key(), 9)
        await store.add_key(make_key("k2", created_at=0), 9)

        async def used_at() -> list[int | None]:
            return [key.used_at for key in await store.list_keys()]

        await store.touch_key("k1", NOW + 10, NOW)
        assert await used_at() == [NOW + 10, None]
        await store.touch_key("k1", NOW + 15, NOW + 5)
        assert await used_at() == [NOW + 10, None]
        await store.touch_key("k1", NOW + 20, NOW + 10)
        assert await used_at() == [NOW + 20, None]

    async def test_a_use_is_recorded_by_a_clock_that_went_back(self, store: Store) -> None:
        await store.add_key(make_key(), 9)
        await store.touch_key("k1", NOW + 1_000, NOW)
        await store.touch_key("k1", NOW + 1, NOW - 9)
        assert [key.used_at for key in await store.list_keys()] == [NOW + 1]


class StoragePromises:
    """Promises about what a tenant stores. Its files have three bytes each."""

    async def test_files_and_uploads_on_their_way_are_stored(self, store: Store) -> None:
        assert await store.stored(OURS, NOW) == Stored(0, None)
        await add_file(store, make_file())
        later = msgspec.structs.replace(make_file("f2"), expires_at=END + 5)
        await add_file(store, later)
        await store.add_upload(make_upload("u3", "f3"))
        await store.grow_upload(make_upload("u3", "f3"), 10, NOW)
        assert await store.stored(OURS, NOW) == Stored(16, END)
        assert await store.stored(THEIRS, NOW) == Stored(0, None)

    async def test_what_is_deleted_expired_or_cancelled_is_not_stored(self, store: Store) -> None:
        await add_file(store, make_file())
        await add_file(store, msgspec.structs.replace(make_file("f2"), expires_at=END + 5))
        upload = make_upload("u3", "f3")
        await store.add_upload(upload)
        await store.grow_upload(upload, 10, NOW)
        assert await store.stored(OURS, END) == Stored(13, END + 5)
        await store.delete_file(OURS, "f2", NOW)
        assert await store.stored(OURS, END) == Stored(10, None)
        await store.cancel_upload(upload, NOW)
        assert await store.stored(OURS, END) == Stored(0, None)

    async def test_a_file_whose_bytes_a_batch_reads_is_free_when_it_is_deleted(
        self, store: Store
    ) -> None:
        file = await add_file(store, make_file())
        await store.add_batch(make_batch(file=file))
        await store.delete_file(OURS, "f1", NOW)
        assert await store.stored(OURS, NOW) == Stored(0, None)

    async def test_results_are_not_stored(self, store: Store) -> None:
        await add_planned(store, make_batch())
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert await store.get_file(OURS, "batch-b1", NOW) is not None
        assert await store.stored(OURS, NOW) == Stored(0, None)

    async def test_an_upload_begins_only_where_it_fits(self, store: Store) -> None:
        await add_file(store, make_file())
        with pytest.raises(OverStorage, match=r"8 more bytes .* 3 of 10 are stored, 7 are free"):
            await store.add_upload(make_upload("u2", "f2"), asked_bytes=8, stored_max=10)
        assert await store.get_upload("u2") is None
        await store.add_upload(make_upload("u2", "f2"), asked_bytes=7, stored_max=10)

    async def test_no_upload_begins_where_nothing_fits(self, store: Store) -> None:
        await add_file(store, make_file())
        with pytest.raises(OverStorage):
            await store.add_upload(make_upload("u2", "f2"), stored_max=3)
        theirs = msgspec.structs.replace(make_upload("u3", "f3"), tenant=THEIRS)
        await store.add_upload(theirs, stored_max=3)

    async def test_uploads_grow_together_up_to_what_fits(self, store: Store) -> None:
        first, second = make_upload("u1", "f1"), make_upload("u2", "f2")
        for upload in (first, second):
            await store.add_upload(upload, asked_bytes=10, stored_max=10)
        await store.grow_upload(first, 6, NOW, stored_max=10)
        with pytest.raises(OverStorage, match="5 more bytes"):
            await store.grow_upload(second, 5, NOW, stored_max=10)
        await store.grow_upload(second, 4, NOW, stored_max=10)
        assert await store.stored(OURS, NOW) == Stored(10, None)
        grown = await store.get_upload("u2")
        assert grown is not None
        assert grown.received_bytes == 4
        await store.cancel_upload(first, NOW)
        await store.grow_upload(grown, 10, NOW, stored_max=10)

    async def test_the_end_of_an_upload_takes_no_more_room(self, store: Store) -> None:
        upload = make_upload()
        await store.add_upload(upload, stored_max=3)
        await store.grow_upload(upload, 3, NOW, stored_max=3)
        await store.finish_upload(upload, make_file())
        assert await store.stored(OURS, NOW) == Stored(3, END)


class TokenPromises:
    """Promises about the input tokens of live batches. An input has one token by our reckoning."""

    async def test_a_batch_is_taken_only_where_its_tokens_fit(self, store: Store) -> None:
        assert estimate_tokens(make_batch().input_bytes) == 1
        await store.add_batch(make_batch(), tokens_max=2)
        large = msgspec.structs.replace(make_batch("b2"), input_bytes=5)
        with pytest.raises(OverQuota, match=r"about 2 input tokens .* 1 of 2 .* 1 are free"):
            await store.add_batch(large, tokens_max=2)
        assert await store.get_batch(OURS, "b2") is None
        await store.add_batch(make_batch("b2"), tokens_max=2)

    async def test_models_and_tenants_have_their_own_tokens(self, store: Store) -> None:
        await store.add_batch(make_batch(), tokens_max=1)
        await store.add_batch(make_batch(tenant=THEIRS), tokens_max=1)
        await store.add_batch(msgspec.structs.replace(make_batch("b2"), model="n"), tokens_max=1)
        with pytest.raises(OverQuota):
            await store.add_batch(make_batch("b3"), tokens_max=1)

    @pytest.mark.parametrize("end", ["cancelled", "deleted", "failed", "expired", "succeeded"])
    async def test_every_end_frees_tokens_at_once(self, store: Store, end: str) -> None:
        batch = await add_planned(store, make_batch())
        with pytest.raises(OverQuota):
            await store.add_batch(make_batch("b2"), tokens_max=1)
        if end == "cancelled":
            await store.cancel_batch(OURS, "b1", NOW, partial_results=True)
        elif end == "deleted":
            await store.delete_batch(OURS, "b1", NOW)
        elif end == "failed":
            await store.fail_batch(batch, None, FAULT, NOW)
        elif end == "expired":
            await store.expire_batches(END)
        else:
            claim = await take(store)
            await store.seal(claim, segment_of(claim), Tally(2), NOW)
        await store.add_batch(make_batch("b2"), tokens_max=1)
