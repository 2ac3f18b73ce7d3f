"""What every store promises about what it forgets, step by step, and about what is still named."""
# ruff: noqa: D102, PLR2004 - the names of the promises are sentences, their numbers examples

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.batch import Batch, BatchForm, Once
from nightrate.domain.file import Page
from nightrate.domain.shard import Tally
from nightrate.domain.webhook import WebhookConfig
from nightrate.store.base import Store
from nightrate.store.sweeps import Kept, Swept
from nightrate.testing.store_caches import make_cache
from nightrate.testing.store_samples import (
    END,
    FAULT,
    NOW,
    OURS,
    THEIRS,
    add_file,
    add_planned,
    found,
    make_batch,
    make_file,
    make_upload,
    segment_of,
    take,
)

LATER = NOW + 500
"""When the batches of these tests end."""


async def add_succeeded(
    store: Store, batch_id: str = "b1", *, form: BatchForm = BatchForm.FILE, shards: int = 1
) -> Batch:
    """Make a batch exist that has all its results."""
    await add_planned(store, make_batch(batch_id, form=form), shards)
    for _ in range(shards):
        claim = await take(store, batch=batch_id)
        await store.seal(claim, segment_of(claim), Tally(2), LATER)
    return await found(store, batch_id)


async def forget_results(store: Store, batch_id: str = "b1") -> None:
    """Remove the result file of a batch, as a client may."""
    assert await store.delete_file(OURS, f"batch-{batch_id}", LATER)
    await store.sweep(LATER, 0, 9)


class RetentionPromises:
    """Promises about batches that ended long ago."""

    async def events(self, store: Store) -> list[tuple[str, str, str]]:
        """Give (tenant, batch id, type) of every event in the store."""
        raise NotImplementedError

    async def test_an_ended_batch_is_listed_for_a_while_and_then_gone_with_all_about_it(
        self, store: Store
    ) -> None:
        await add_succeeded(store, form=BatchForm.INLINE, shards=3)
        assert await store.sweep_batches(END, LATER - 1, 9) == Swept((), more=False)
        assert len(await store.segments(OURS, "b1", 0, 9)) == 3
        assert await store.sweep_batches(END, LATER, 9) == Swept(((OURS, "b1"),), more=False)
        assert await store.get_batch(OURS, "b1") is None
        assert await store.list_batches(OURS, Page(size=9)) == []
        assert await store.segments(OURS, "b1", 0, 9) == []
        assert await self.events(store) == []
        assert await store.kept(OURS, ["b1"]) == {}

    @pytest.mark.parametrize("how", ["failed", "cancelled", "expired"])
    async def test_so_is_one_that_ended_without_results(self, store: Store, how: str) -> None:
        batch = make_batch()
        webhook = WebhookConfig(uris=("https://example.com/hook",), user_metadata=None)
        await store.add_batch(batch, webhook=webhook)
        if how == "failed":
            await store.fail_batch(batch, None, FAULT, LATER)
        elif how == "cancelled":
            await store.cancel_batch(OURS, "b1", LATER, partial_results=False)
        else:
            await store.expire_batches(END, partial_results=False)
        assert (await store.sweep_batches(END, LATER - 1, 9)).batches == ()
        assert (await store.sweep_batches(END, END, 9)).batches == ((OURS, "b1"),)
        assert await store.get_batch(OURS, "b1") is None

    async def test_a_batch_is_listed_as_long_as_its_result_file_lives(self, store: Store) -> None:
        batch = await add_succeeded(store)
        file = await store.get_file(OURS, "batch-b1", LATER)
        assert file is not None
        assert (await store.sweep_batches(END, END, 9)).batches == ()
        assert await found(store) == batch
        await store.sweep(file.expires_at - 1, 0, 9)
        assert (await store.sweep_batches(END, END, 9)).batches == ()
        await store.sweep(file.expires_at, 0, 9)
        assert (await store.sweep_batches(END, END, 9)).batches == ((OURS, "b1"),)

    async def test_a_live_batch_and_one_with_results_due_stay_however_old(
        self, store: Store
    ) -> None:
        await add_planned(store, make_batch())
        await add_planned(store, make_batch("b2"))
        await store.cancel_batch(OURS, "b2", LATER, partial_results=True)
        assert await store.sweep_batches(END, END, 9) == Swept((), more=False)
        assert len(await store.unclosed_batches(9)) == 1

    async def test_a_large_batch_goes_in_steps_and_is_out_of_sight_from_the_first(
        self, store: Store
    ) -> None:
        await add_succeeded(store, form=BatchForm.INLINE, shards=7)
        steps = []
        for _ in range(4):
            steps.append(await store.sweep_batches(END, LATER, 3))
            assert await store.get_batch(OURS, "b1") is None
        assert [step.more for step in steps] == [True, True, False, False]
        assert [len(step.batches) for step in steps] == [0, 0, 1, 0]

    async def test_one_step_drops_no_more_batches_than_it_is_told(self, store: Store) -> None:
        for number in range(3):
            await store.add_batch(make_batch(f"b{number}"))
        for number in range(2):
            await store.delete_batch(OURS, f"b{number}", NOW)
        steps = [await store.sweep_batches(NOW, 0, 1) for _ in range(3)]
        assert sorted(step.batches for step in steps) == [(), ((OURS, "b0"),), ((OURS, "b1"),)]

    async def test_the_name_of_a_forgotten_batch_is_remembered_for_its_call(
        self, store: Store
    ) -> None:
        once = Once(key="k", digest="d")
        await store.add_batch(make_batch(), once=once)
        await store.delete_batch(OURS, "b1", NOW)
        await store.sweep_batches(NOW, 0, 9)
        assert await store.made_by(OURS, once, NOW + 1) == "b1"


class ResultsRetentionPromises:
    """Promises about results whose time is over while their batch is still listed."""

    async def test_segments_are_named_no_more_when_the_result_file_is_gone(
        self, store: Store
    ) -> None:
        before = await add_succeeded(store, shards=3)
        assert await store.sweep_results(9) == Swept((), more=False)
        await forget_results(store)
        assert await store.kept(OURS, ["b1"]) == {"b1": Kept(input=True, results=True)}
        assert await store.sweep_results(9) == Swept(((OURS, "b1"),), more=False)
        assert await store.kept(OURS, ["b1"]) == {"b1": Kept(input=True, results=False)}
        assert await store.segments(OURS, "b1", 0, 9) == []
        assert await found(store) == before
        assert await store.sweep_results(9) == Swept((), more=False)

    async def test_the_segments_of_a_large_batch_go_in_steps(self, store: Store) -> None:
        await add_succeeded(store, shards=7)
        await forget_results(store)
        left = []
        for more in (True, True, False):
            assert (await store.sweep_results(3)).more is more
            left.append(len(await store.segments(OURS, "b1", 0, 9)))
        assert left == [4, 1, 0]

    async def test_results_are_over_only_when_both_result_files_are_gone(
        self, store: Store
    ) -> None:
        await add_succeeded(store)
        await add_succeeded(store, "b2")
        await forget_results(store)
        assert await store.sweep_results(9) == Swept(((OURS, "b1"),), more=False)
        assert len(await store.segments(OURS, "b2", 0, 9)) == 1

    async def test_an_uploaded_file_that_goes_ends_no_results(self, store: Store) -> None:
        file = await add_file(store, make_file())
        await add_planned(store, make_batch(file=file))
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), LATER)
        await store.delete_file(OURS, "f1", LATER)
        assert await store.sweep(LATER, 0, 9) == [file.blob]
        assert await store.sweep_results(9) == Swept((), more=False)


class InputRetentionPromises:
    """Promises about inline requests, which nobody can delete."""

    async def test_inline_requests_go_when_their_batch_has_ended_and_they_are_old(
        self, store: Store
    ) -> None:
        await add_succeeded(store, form=BatchForm.INLINE)
        assert await store.sweep_inputs(END, NOW - 1, 9) == []
        assert await store.sweep_inputs(END, NOW, 9) == [(OURS, "b1")]
        assert await store.kept(OURS, ["b1"]) == {"b1": Kept(input=False, results=True)}
        assert await store.sweep_inputs(END, NOW, 9) == []

    async def test_a_live_batch_keeps_its_requests_however_old(self, store: Store) -> None:
        await add_planned(store, make_batch(form=BatchForm.INLINE))
        assert await store.sweep_inputs(END, END, 9) == []
        await store.cancel_batch(OURS, "b1", LATER, partial_results=True)
        assert await store.sweep_inputs(END, END, 9) == [], "they are still to get their lines"
        batch = await found(store)
        await store.drop_partial(batch)
        assert await store.sweep_inputs(END, END, 9) == [(OURS, "b1")]

    async def test_a_batch_over_an_uploaded_file_has_none(self, store: Store) -> None:
        file = await add_file(store, make_file())
        batch = make_batch(file=file)
        await store.add_batch(batch)
        await store.fail_batch(batch, None, FAULT, LATER)
        assert await store.sweep_inputs(END, END, 9) == []

    async def test_one_step_takes_no_more_than_it_is_told(self, store: Store) -> None:
        for number in range(3):
            batch = make_batch(f"b{number}")
            await store.add_batch(batch)
            await store.fail_batch(batch, None, FAULT, LATER)
        assert [len(await store.sweep_inputs(END, END, 2)) for _ in range(3)] == [2, 1, 0]


class NamePromises:
    """Promises about telling what is needed from what is not."""

    async def test_blobs_of_files_uploads_and_caches_are_named(self, store: Store) -> None:
        file = await add_file(store, make_file())
        await store.add_upload(make_upload("u2", "f2"))
        cache = make_cache()
        await store.add_cache(cache, 9)
        names = [str(file.blob), "files/u2", cache.blob, "files/nobody", "caches/nobody"]
        assert await store.named(names) == set(names[:3])
        assert await store.named([]) == set()

    async def test_the_input_of_a_live_batch_is_named_whatever_became_of_its_file(
        self, store: Store
    ) -> None:
        file = await add_file(store, make_file())
        await add_planned(store, make_batch(file=file))
        await store.delete_file(OURS, "f1", NOW)
        assert await store.sweep(END, END, 9) == []
        assert await store.named([str(file.blob)]) == {file.blob}
        await store.cancel_batch(OURS, "b1", LATER, partial_results=True)
        assert await store.named([str(file.blob)]) == {file.blob}
        await store.drop_partial(await found(store))
        assert await store.sweep(END, END, 9) == [file.blob]
        assert await store.named([str(file.blob)]) == set()

    async def test_a_finished_upload_names_nothing_beside_its_file(self, store: Store) -> None:
        file = msgspec.structs.replace(make_file(), blob="files/u1")
        await store.add_upload(make_upload())
        await store.finish_upload(make_upload(), file)
        assert await store.named(["files/u1"]) == {"files/u1"}
        await store.delete_file(OURS, "f1", NOW)
        assert await store.sweep(NOW, 0, 9) == ["files/u1"]
        assert await store.named(["files/u1"]) == set()

    async def test_a_deleted_batch_keeps_its_folder_as_long_as_it_has_a_row(
        self, store: Store
    ) -> None:
        await add_succeeded(store)
        await store.delete_batch(OURS, "b1", LATER)
        assert set(await store.kept(OURS, ["b1", "b2"])) == {"b1"}
        assert await store.kept(THEIRS, ["b1"]) == {}
