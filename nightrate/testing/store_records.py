"""What every store promises about records: files, uploads, batches, and what is swept."""
# ruff: noqa: D102, PLR2004 - the names of the promises are sentences, their numbers examples

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from nightrate.domain.file import Page, UploadState
from nightrate.domain.shard import ShardPlan, Tally
from nightrate.domain.states import BatchState
from nightrate.errors import ClaimLost, Code, Conflict, NotFound
from nightrate.store.base import Store
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


class UploadPromises:
    """Promises about uploads and files."""

    async def test_an_upload_is_found_by_its_id(self, store: Store) -> None:
        await store.add_upload(make_upload())
        assert await store.get_upload("u1") == make_upload()
        assert await store.get_upload("u2") is None

    async def test_two_sessions_cannot_hold_one_name(self, store: Store) -> None:
        await store.add_upload(make_upload())
        with pytest.raises(Conflict, match="f1"):
            await store.add_upload(make_upload("u2"))
        assert await store.get_upload("u2") is None

    async def test_a_session_cannot_hold_the_name_of_a_file(self, store: Store) -> None:
        await add_file(store, make_file())
        with pytest.raises(Conflict, match="f1"):
            await store.add_upload(make_upload())

    async def test_tenants_may_use_the_same_name(self, store: Store) -> None:
        await store.add_upload(make_upload())
        await store.add_upload(msgspec.structs.replace(make_upload("u2"), tenant=THEIRS))
        await add_file(store, make_file("f2", tenant=THEIRS))
        await add_file(store, make_file("f3"))

    async def test_an_upload_grows_and_never_shrinks(self, store: Store) -> None:
        upload = make_upload()
        await store.add_upload(upload)
        await store.grow_upload(upload, 5, NOW)
        await store.grow_upload(upload, 3, NOW)
        assert await store.get_upload("u1") == msgspec.structs.replace(upload, received_bytes=5)

    async def test_a_cancelled_upload_frees_its_name_and_does_not_grow(self, store: Store) -> None:
        upload = make_upload()
        await store.add_upload(upload)
        await store.cancel_upload(upload, NOW)
        await store.grow_upload(upload, 5, NOW)
        cancelled = msgspec.structs.replace(upload, state=UploadState.CANCELLED)
        assert await store.get_upload("u1") == cancelled
        await store.add_upload(make_upload("u2"))

    async def test_a_finished_upload_is_a_file(self, store: Store) -> None:
        upload = make_upload()
        await store.add_upload(upload)
        await store.finish_upload(upload, make_file())
        assert await store.get_file(OURS, "f1", NOW) == make_file()
        ended = await store.get_upload("u1")
        assert ended is not None
        assert ended.state is UploadState.FINAL

    async def test_an_upload_ends_once(self, store: Store) -> None:
        upload = make_upload()
        await store.add_upload(upload)
        await store.finish_upload(upload, make_file())
        await store.cancel_upload(upload, NOW)
        with pytest.raises(Conflict):
            await store.finish_upload(upload, make_file("f2"))
        assert await store.get_file(OURS, "f2", NOW) is None
        ended = await store.get_upload("u1")
        assert ended is not None
        assert ended.state is UploadState.FINAL

    async def test_a_cancelled_upload_becomes_no_file(self, store: Store) -> None:
        upload = make_upload()
        await store.add_upload(upload)
        await store.cancel_upload(upload, NOW)
        with pytest.raises(Conflict):
            await store.finish_upload(upload, make_file())
        assert await store.get_file(OURS, "f1", NOW) is None

    async def test_an_expired_file_is_out_of_sight(self, store: Store) -> None:
        await add_file(store, make_file())
        assert await store.get_file(OURS, "f1", END - 1) is not None
        assert await store.get_file(OURS, "f1", END) is None
        assert await store.list_files(OURS, Page(size=5), END) == []
        assert not await store.delete_file(OURS, "f1", END)

    async def test_a_deleted_file_is_out_of_sight(self, store: Store) -> None:
        await add_file(store, make_file())
        assert await store.delete_file(OURS, "f1", NOW)
        assert await store.get_file(OURS, "f1", NOW) is None
        assert await store.list_files(OURS, Page(size=5), NOW) == []
        assert not await store.delete_file(OURS, "f1", NOW)

    async def test_files_of_another_tenant_do_not_exist(self, store: Store) -> None:
        await add_file(store, make_file())
        assert await store.get_file(THEIRS, "f1", NOW) is None
        assert await store.list_files(THEIRS, Page(size=5), NOW) == []
        assert not await store.delete_file(THEIRS, "f1", NOW)
        assert await store.get_file(OURS, "f1", NOW) is not None

    async def test_files_are_listed_newest_first_by_pages_while_some_are_added(
        self, store: Store
    ) -> None:
        for number, created_at in [(1, 10), (2, 20), (3, 20), (4, 30), (5, 40)]:
            await add_file(store, make_file(f"f{number}", created_at=created_at))
        first = await store.list_files(OURS, Page(size=2), NOW)
        assert [file.file_id for file in first] == ["f5", "f4", "f3"]  # one more tells of a rest
        await add_file(store, make_file("f6", created_at=50))
        rest = await store.list_files(OURS, Page(size=9, after=(30, "f4")), NOW)
        assert [file.file_id for file in rest] == ["f3", "f2", "f1"]


class BatchPromises:
    """Promises about batches: submitted, opened, ended."""

    async def events(self, store: Store) -> list[tuple[str, str, str]]:
        """Give (tenant, batch id, type) of every event in the store."""
        raise NotImplementedError

    async def test_a_submitted_batch_is_found_and_waits_for_planning(self, store: Store) -> None:
        await store.add_batch(make_batch())
        assert await store.get_batch(OURS, "b1") == make_batch()
        assert await store.submitted_batches(5) == [make_batch()]

    async def test_batches_wait_for_planning_oldest_first(self, store: Store) -> None:
        for batch_id, created_at in [("b1", 30), ("b2", 10), ("b3", 20)]:
            await store.add_batch(make_batch(batch_id, created_at=created_at))
        waiting = await store.submitted_batches(2)
        assert [batch.batch_id for batch in waiting] == ["b2", "b3"]

    @pytest.mark.parametrize("gone", ["never there", "deleted", "another's", "replaced"])
    async def test_a_batch_is_refused_when_its_file_has_gone(self, store: Store, gone: str) -> None:
        file = make_file()
        if gone == "deleted":
            await add_file(store, file)
            await store.delete_file(OURS, "f1", NOW)
        elif gone == "another's":
            await add_file(store, make_file(tenant=THEIRS))
        elif gone == "replaced":
            await add_file(store, msgspec.structs.replace(file, blob="files/other"))
        with pytest.raises(NotFound, match="f1"):
            await store.add_batch(make_batch(file=file))
        assert await store.get_batch(OURS, "b1") is None

    async def test_batches_of_another_tenant_do_not_exist(self, store: Store) -> None:
        batch = await add_planned(store, make_batch())
        foreign = msgspec.structs.replace(batch, tenant=THEIRS)
        assert await store.get_batch(THEIRS, "b1") is None
        assert await store.list_batches(THEIRS, Page(size=5)) == []
        assert await store.claim(THEIRS, "b1", "a", NOW, NOW + LEASE) is None
        assert not await store.open_batch(foreign, *make_plan(1), NOW)
        assert not await store.fail_batch(foreign, None, FAULT, NOW)
        claim = msgspec.structs.replace(await take(store), tenant=THEIRS)
        with pytest.raises(ClaimLost):
            await store.freeze(claim, claim.parts)
        assert await store.beat([progress(claim, 0, Tally())], NOW, NOW + LEASE) == [claim]
        with pytest.raises(ClaimLost):
            await store.seal(claim, segment_of(claim), Tally(2), NOW)
        await store.release([claim])
        assert await store.claim(OURS, "b1", "b", NOW, NOW + LEASE) is None
        assert await store.segments(THEIRS, "b1", 0, 5) == []

    async def test_the_same_id_serves_two_tenants(self, store: Store) -> None:
        await add_planned(store, make_batch())
        await add_planned(store, make_batch(tenant=THEIRS))
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert (await found(store)).state is BatchState.SUCCEEDED
        theirs = await found(store, tenant=THEIRS)
        assert theirs.state is BatchState.PLANNED
        assert theirs.tally == Tally()
        assert await store.segments(THEIRS, "b1", 0, 5) == []

    async def test_batches_are_listed_newest_first_by_pages_while_some_are_added(
        self, store: Store
    ) -> None:
        for number, created_at in [(1, 10), (2, 20), (3, 20), (4, 30)]:
            await store.add_batch(make_batch(f"b{number}", created_at=created_at))
        first = await store.list_batches(OURS, Page(size=2))
        assert [batch.batch_id for batch in first] == ["b4", "b3", "b2"]
        await store.add_batch(make_batch("b5", created_at=50))
        rest = await store.list_batches(OURS, Page(size=9, after=(20, "b3")))
        assert [batch.batch_id for batch in rest] == ["b2", "b1"]

    async def test_a_batch_is_planned_once(self, store: Store) -> None:
        batch = make_batch()
        await store.add_batch(batch)
        assert await store.open_batch(batch, *make_plan(2), NOW + 1)
        assert not await store.open_batch(batch, *make_plan(3), NOW + 2)
        planned = await found(store)
        assert planned.state is BatchState.PLANNED
        assert planned.request_count == 4
        assert planned.updated_at == NOW + 1
        assert await store.submitted_batches(5) == []

    async def test_a_plan_that_breaks_off_leaves_no_shards(self, store: Store) -> None:
        def broken() -> Iterator[ShardPlan]:
            yield from make_plan(2)[1]
            raise OSError("the plan cannot be read")

        batch = make_batch()
        await store.add_batch(batch)
        with pytest.raises(OSError, match="cannot be read"):
            await store.open_batch(batch, make_plan(3)[0], broken(), NOW)
        assert await store.submitted_batches(5) == [batch]
        assert await store.open_batch(batch, *make_plan(1), NOW)
        await take(store)
        assert await store.claim(OURS, "b1", "b", NOW, NOW + LEASE) is None

    async def test_a_live_batch_can_fail_with_its_event(self, store: Store) -> None:
        batch = make_batch()
        await store.add_batch(batch)
        assert await store.fail_batch(batch, make_plan(3)[0], FAULT, NOW + 5)
        failed = await found(store)
        assert failed.state is BatchState.FAILED
        assert failed.failure == FAULT
        assert failed.ended_at == failed.updated_at == NOW + 5
        assert failed.request_count == 6
        assert await self.events(store) == [(OURS, "b1", "batch.failed")]

    async def test_overdue_batches_expire_with_their_event(self, store: Store) -> None:
        await store.add_batch(make_batch())
        await add_planned(store, make_batch("b2", tenant=THEIRS))
        await store.add_batch(msgspec.structs.replace(make_batch("b3"), expires_at=END + 1))
        assert await store.expire_batches(END - 1) == []
        ended = await store.expire_batches(END)
        assert {batch.batch_id for batch in ended} == {"b1", "b2"}
        expired = await found(store, "b2", THEIRS)
        assert expired.state is BatchState.EXPIRED
        assert expired.request_count == 2
        assert expired.failure is not None
        assert expired.failure.code is Code.DEADLINE_EXCEEDED
        assert (await found(store, "b3")).state is BatchState.SUBMITTED
        assert sorted(await self.events(store)) == [
            (OURS, "b1", "batch.expired"),
            (THEIRS, "b2", "batch.expired"),
        ]

    async def test_final_is_final(self, store: Store) -> None:
        failed, done = make_batch(), make_batch("b2")
        await store.add_batch(failed)
        await store.fail_batch(failed, None, FAULT, NOW)
        await add_planned(store, done)
        claim = await take(store, batch="b2")
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        before = [await found(store), await found(store, "b2")]
        events = await self.events(store)
        for batch in (failed, done):
            assert not await store.fail_batch(batch, None, FAULT, END)
            assert not await store.open_batch(batch, *make_plan(1), END)
            assert await store.claim(OURS, batch.batch_id, "a", END, END + LEASE) is None
        assert await store.expire_batches(END + 1) == []
        assert [await found(store), await found(store, "b2")] == before
        assert await self.events(store) == events


class SweepPromises:
    """Promises about what is dropped, and when."""

    async def test_a_deleted_file_is_swept_with_its_blob(self, store: Store) -> None:
        await add_file(store, make_file())
        await add_file(store, make_file("f2"))
        assert await store.sweep(NOW, 0, 9) == []
        await store.delete_file(OURS, "f1", NOW)
        assert await store.sweep(NOW, 0, 9) == ["files/ours-f1"]
        assert await store.sweep(NOW, 0, 9) == []
        assert await store.get_file(OURS, "f2", NOW) is not None

    async def test_an_expired_file_is_swept_with_its_blob(self, store: Store) -> None:
        await add_file(store, make_file())
        assert await store.sweep(END, 0, 9) == ["files/ours-f1"]

    async def test_a_swept_name_is_free_again(self, store: Store) -> None:
        await add_file(store, make_file())
        await store.delete_file(OURS, "f1", NOW)
        await store.sweep(NOW, 0, 9)
        await store.add_upload(make_upload())

    async def test_a_live_batch_keeps_the_bytes_it_reads(self, store: Store) -> None:
        file = await add_file(store, make_file())
        await add_planned(store, make_batch(file=file))
        assert await store.delete_file(OURS, "f1", NOW)
        assert await store.sweep(END, 0, 9) == []
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert await store.sweep(NOW, 0, 9) == [file.blob]

    async def test_a_result_file_has_no_blob_to_sweep(self, store: Store) -> None:
        await add_planned(store, make_batch())
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        assert await store.delete_file(OURS, "batch-b1", NOW)
        assert await store.sweep(NOW, 0, 9) == []
        assert await store.get_file(OURS, "batch-b1", NOW) is None

    async def test_cancelled_and_forgotten_uploads_are_swept(self, store: Store) -> None:
        for name, created_at in [("cancelled", 20), ("old", 10), ("young", 20), ("final", 10)]:
            await store.add_upload(make_upload(name, name, created_at=created_at))
        await store.cancel_upload(make_upload("cancelled", "cancelled"), NOW)
        await store.finish_upload(make_upload("final", "final"), make_file("final"))
        assert sorted(await store.sweep(NOW, 10, 9)) == ["files/cancelled", "files/old"]
        assert [await store.get_upload(name) is None for name in ("old", "young", "final")] == [
            True,
            False,
            True,
        ]
        assert await store.get_file(OURS, "final", NOW) is not None

    async def test_one_sweep_drops_no_more_than_it_is_told(self, store: Store) -> None:
        for number in range(5):
            await add_file(store, make_file(f"f{number}"))
            await store.delete_file(OURS, f"f{number}", NOW)
        swept = [await store.sweep(NOW, 0, 2) for _ in range(4)]
        assert [len(blobs) for blobs in swept] == [2, 2, 1, 0]

    async def test_a_sound_store_can_be_written(self, store: Store) -> None:
        await store.check()
