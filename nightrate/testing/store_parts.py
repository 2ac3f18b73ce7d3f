"""What every store promises about batches whose failures are handed out apart.

And about what such a batch shows again: its terms, its start, and what is wrong with its input.
"""
# ruff: noqa: D102, PLR2004 - the names of the promises are sentences, their numbers examples

from __future__ import annotations

import msgspec
import pytest

from nightrate import clock
from nightrate.domain.batch import Batch, Dialect, InputFault, Kind, PartialResults
from nightrate.domain.file import FileSource, Page
from nightrate.domain.shard import Segment, Tally
from nightrate.domain.states import BatchState
from nightrate.store.base import Store
from nightrate.testing.store_samples import (
    END,
    FAULT,
    LEASE,
    NOW,
    OURS,
    add_file,
    add_planned,
    found,
    make_batch,
    make_file,
    make_plan,
    swept,
    take,
)

_OUTPUT, _ERRORS = "batch-b1", "batch-b1-errors"


def _parted(batch_id: str = "b1") -> Batch:
    return msgspec.structs.replace(make_batch(batch_id), kind=Kind(dialect=Dialect.OPENAI))


async def _seal(store: Store, length: int, split: int) -> None:
    """Seal the next shard: so many bytes, the failures from the split on."""
    claim = await take(store)
    segment = Segment(f"segments/{claim.plan.index}", length, 7, split)
    await store.seal(claim, segment, Tally(int(split > 0), int(split < length)), NOW)


async def _sizes(store: Store) -> dict[str, int]:
    files = await store.list_files(OURS, Page(size=9), NOW)
    return {file.file_id: file.size_bytes for file in files}


class PartPromises:
    """Promises about batches with two result files."""

    async def test_what_a_batch_has_to_show_again_is_kept(self, store: Store) -> None:
        terms, seconds = b'{"endpoint":"/v1/x"}', 7200
        batch = msgspec.structs.replace(_parted(), terms=terms, results_seconds=seconds)
        await store.add_batch(batch)
        assert await found(store) == batch
        assert await store.list_batches(OURS, Page(size=9)) == [batch]

    async def test_a_batch_has_started_when_its_first_shard_was_claimed(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=2)
        assert (await found(store)).started_at is None
        await take(store, now=NOW + 5)
        await take(store, now=NOW + 9)
        assert (await found(store)).started_at == NOW + 5

    async def test_the_faults_of_an_input_are_kept(self, store: Store) -> None:
        faults = (InputFault("a", "One.", 1, "x.y"), InputFault("b", "Two."))
        plan, _ = make_plan(1)
        plan = msgspec.structs.replace(plan, input_faults=faults)
        await store.add_batch(_parted())
        assert await store.fail_batch(_parted(), plan, FAULT, NOW)
        assert (await found(store)).faults == faults

    async def test_successes_and_failures_are_two_files(self, store: Store) -> None:
        await add_planned(store, _parted(), shards=3)
        for length, split in ((10, 4), (20, 20), (30, 0)):
            await _seal(store, length, split)
        assert await _sizes(store) == {_OUTPUT: 24, _ERRORS: 36}
        errors = await store.get_file(OURS, _ERRORS, NOW)
        assert errors is not None
        assert errors.display_name == "batch b1 errors"
        segments = await store.segments(OURS, "b1", 0, 9)
        assert [sealed.segment.split for sealed in segments] == [4, 20, 0]

    async def test_without_a_failure_there_is_no_file_of_failures(self, store: Store) -> None:
        await add_planned(store, _parted())
        await _seal(store, 10, 10)
        assert await _sizes(store) == {_OUTPUT: 10}
        assert await store.get_file(OURS, _ERRORS, NOW) is None

    async def test_both_files_can_be_found_while_they_grow(self, store: Store) -> None:
        await add_planned(store, _parted(), shards=3)
        await _seal(store, 10, 4)
        for file_id, size_bytes in ((_OUTPUT, 4), (_ERRORS, 6)):
            file = await store.get_file(OURS, file_id, NOW)
            assert file is not None
            assert (file.file_id, file.size_bytes) == (file_id, size_bytes)

    async def test_a_batch_in_input_order_has_one_file_only(self, store: Store) -> None:
        await add_planned(store, make_batch(), shards=2)
        claim = await take(store)
        await store.seal(claim, Segment("s", 10, 7), Tally(0, 2), NOW)
        assert await store.get_file(OURS, _ERRORS, NOW) is None
        claim = await take(store)
        await store.seal(claim, Segment("t", 10, 7), Tally(0, 2), NOW)
        assert await _sizes(store) == {_OUTPUT: 20}

    async def test_results_are_kept_as_long_as_was_wanted(self, store: Store) -> None:
        await add_planned(store, msgspec.structs.replace(_parted(), results_seconds=7200))
        await _seal(store, 10, 4)
        for file_id in (_OUTPUT, _ERRORS):
            file = await store.get_file(OURS, file_id, NOW)
            assert file is not None
            assert file.expires_at == clock.later(NOW, 7200)

    @pytest.mark.parametrize("event", ["cancelled", "expired"])
    async def test_what_it_finished_is_due_whatever_the_settings(
        self, store: Store, event: str
    ) -> None:
        await add_planned(store, _parted())
        if event == "cancelled":
            await store.cancel_batch(OURS, "b1", NOW, partial_results=False)
        else:
            await store.expire_batches(END, partial_results=False)
        batch = await found(store)
        assert (batch.state, batch.partial) == (BatchState(event), PartialResults.DUE)
        claim = await store.claim_unfinished(batch, "closer", NOW, NOW + LEASE)
        assert claim is not None
        await store.seal(claim, Segment("s", 10, 7, 4), Tally(1, 1), NOW)
        assert await _sizes(store) == {_OUTPUT: 4, _ERRORS: 6}

    async def test_a_deleted_batch_is_kept_until_both_of_its_files_are_gone(
        self, store: Store
    ) -> None:
        await add_planned(store, _parted())
        await _seal(store, 10, 4)
        await store.delete_batch(OURS, "b1", NOW)
        for file_id in (_OUTPUT, _ERRORS):
            assert await swept(store) == []
            assert await store.delete_file(OURS, file_id, NOW)
            await store.sweep(NOW, 0, 9)
        assert await swept(store) == [(OURS, "b1")]

    async def test_files_are_listed_by_their_source_and_in_either_order(self, store: Store) -> None:
        for number in range(3):
            await add_file(store, make_file(f"f{number}", created_at=NOW + number))
        await add_planned(store, make_batch())
        await _seal(store, 10, 10)
        uploaded, generated = FileSource.UPLOADED, FileSource.GENERATED

        async def names(page: Page, source: FileSource | None = None) -> list[str]:
            return [file.file_id for file in await store.list_files(OURS, page, NOW, source)]

        assert await names(Page(size=9), uploaded) == ["f2", "f1", "f0"]
        assert await names(Page(size=9), generated) == [_OUTPUT]
        assert len(await names(Page(size=9))) == 4
        oldest = Page(size=1, oldest_first=True)
        assert await names(oldest, uploaded) == ["f0", "f1"]
        following = Page(size=9, after=(NOW, "f0"), oldest_first=True)
        assert await names(following, uploaded) == ["f1", "f2"]
