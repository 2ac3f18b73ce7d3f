"""Time ends batches and takes away bytes that nobody can ask for."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import msgspec
import pytest

from nightrate import clock, limits, webhook_limits
from nightrate.domain.batch import BatchForm, Once
from nightrate.domain.file import File, FileSource, Upload, UploadState
from nightrate.domain.generation import Failure
from nightrate.domain.states import BatchState
from nightrate.domain.webhook import DeliveryState, Verdict
from nightrate.errors import Code, StoreFault
from nightrate.testing.store_caches import make_cache
from nightrate.testing.store_webhooks import make_webhook
from nightrate.work.open_shard import open_shard
from nightrate.work.upkeep import Upkeep
from tests.work.site import until
from tests.work.workshop import TENANT, Workshop, answer, numbered, opened


async def add_upload(shop: Workshop, name: str, created_at: int) -> Upload:
    upload = Upload(
        tenant=TENANT,
        upload_id=name,
        file_id=name,
        blob=f"files/{name}",
        display_name=None,
        mime_type="jsonl",
        received_bytes=3,
        state=UploadState.ACTIVE,
        created_at=created_at,
    )
    await shop.blobs.put(upload.blob, [b"abc"])
    await shop.store.add_upload(upload)
    return upload


async def add_file(shop: Workshop, name: str, expires_at: int) -> None:
    upload = await add_upload(shop, name, clock.now())
    file = File(
        tenant=TENANT,
        file_id=name,
        blob=upload.blob,
        display_name=None,
        mime_type="jsonl",
        size_bytes=3,
        sha256="",
        source=FileSource.UPLOADED,
        created_at=0,
        updated_at=0,
        expires_at=expires_at,
    )
    await shop.store.finish_upload(upload, file)


async def test_a_turn_forgets_calls_of_yesterday(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Once(key="k", digest="d")
    batch = await shop.submit(numbered(1))
    await shop.store.add_batch(msgspec.structs.replace(batch, batch_id="b2"), once=once)
    upkeep = Upkeep(shop.store, shop.blobs)
    await upkeep.turn()
    assert await shop.store.made_by(TENANT, once, batch.created_at) == "b2"
    later = clock.later(batch.created_at, limits.IDEMPOTENCY_SECONDS)
    monkeypatch.setattr(clock, "now", lambda: later)
    await upkeep.turn()
    assert await shop.store.made_by(TENANT, once, batch.created_at) is None


async def test_a_turn_expires_batches_whose_time_is_over(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.plan(numbered(1))
    upkeep = Upkeep(shop.store, shop.blobs)
    await upkeep.turn()
    assert (await shop.batch()).state is BatchState.PLANNED
    end = clock.later(clock.now(), 3600)
    monkeypatch.setattr("nightrate.clock.now", lambda: end)
    await upkeep.turn()
    assert (await shop.batch()).state is BatchState.EXPIRED


async def test_a_turn_deletes_the_bytes_of_what_is_forgotten(shop: Workshop) -> None:
    now = clock.now()
    await add_file(shop, "expired", now)
    await add_file(shop, "kept", clock.later(now, 3600))
    await add_file(shop, "deleted", clock.later(now, 3600))
    await shop.store.delete_file(TENANT, "deleted", now)
    await add_upload(shop, "old", clock.later(now, -limits.UPLOAD_LIFETIME_SECONDS))
    await add_upload(shop, "young", now)
    await shop.store.cancel_upload(await add_upload(shop, "cancelled", now), now)
    await Upkeep(shop.store, shop.blobs).turn()
    assert shop.files() == ["files/kept", "files/young"]


async def test_a_turn_deletes_cached_contents_that_no_batch_may_name_any_more(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    lifetime_seconds = limits.FILE_LIFETIME_SECONDS
    for cache_id, seconds in [("short", 1), ("long", lifetime_seconds + 9)]:
        cache = make_cache(cache_id, tenant=TENANT, created_at=now)
        await shop.blobs.put(cache.blob, [b"abc"])
        expires_at = clock.later(now, seconds)
        await shop.store.add_cache(msgspec.structs.replace(cache, expires_at=expires_at), 9)
    batch = await shop.submit(numbered(1))
    upkeep = Upkeep(shop.store, shop.blobs)
    monkeypatch.setattr("nightrate.clock.now", lambda: clock.later(now, 5))
    await upkeep.turn()
    assert len([name for name in shop.files() if name.startswith("caches/")]) == 2
    await shop.store.fail_batch(batch, None, Failure(Code.INTERNAL, "It broke."), now)
    await upkeep.turn()
    assert len([name for name in shop.files() if name.startswith("caches/")]) == 2, "for a repair"
    monkeypatch.setattr("nightrate.clock.now", lambda: clock.later(now, lifetime_seconds + 5))
    await upkeep.turn()
    assert [name for name in shop.files() if name.startswith("caches/")] == [
        f"caches/{TENANT}/long"
    ]


async def test_rows_go_before_their_bytes(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    await add_file(shop, "expired", now)
    rows: list[int] = []
    delete = shop.blobs.delete

    async def noted(*names: str) -> None:
        rows.append(len(shop.store._all("SELECT 1 FROM file")))
        await delete(*names)

    monkeypatch.setattr(shop.blobs, "delete", noted)
    await Upkeep(shop.store, shop.blobs).turn()
    assert set(rows) == {0}


@pytest.mark.parametrize(
    "error", [StoreFault("the disk is full"), OSError(errno.EIO, "the disk refuses")]
)
async def test_upkeep_goes_on_after_a_turn_that_failed(
    shop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    upkeep = Upkeep(shop.store, shop.blobs)
    turns: list[float] = []

    async def turn() -> None:
        turns.append(0)
        if len(turns) == 1:
            raise error

    async def sleep(seconds: float) -> None:
        turns.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(upkeep, "turn", turn)
    monkeypatch.setattr("nightrate.clock.sleep", sleep)
    task = asyncio.create_task(upkeep.run())
    await until(lambda: len(turns) >= 4)
    assert turns[:4] == [0, limits.UPKEEP_SECONDS, 0, limits.UPKEEP_SECONDS]
    assert str(error) in caplog.text
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_turn_forgets_what_became_of_old_deliveries(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.store.add_webhook(make_webhook(tenant=TENANT), 9)
    assert await shop.store.add_ping(TENANT, "w1", clock.now())
    (delivery,) = await shop.store.list_deliveries(TENANT, "w1", 9)
    done = Verdict(state=DeliveryState.DELIVERED)
    await shop.store.settle_delivery(delivery, done, "status 200", clock.now())
    upkeep = Upkeep(shop.store, shop.blobs)
    await upkeep.turn()
    assert len(await shop.store.list_deliveries(TENANT, "w1", 9)) == 1
    later = clock.later(clock.now(), webhook_limits.DELIVERY_LOG_SECONDS)
    monkeypatch.setattr("nightrate.clock.now", lambda: later)
    await upkeep.turn()
    assert await shop.store.list_deliveries(TENANT, "w1", 9) == []


async def succeed(shop: Workshop, form: BatchForm = BatchForm.FILE) -> None:
    """Answer a batch of twenty requests, of two shards."""
    await shop.plan(numbered(20), form=form)
    for _ in range(2):
        claim = await shop.claim()
        shard = await open_shard(claim, await shop.batch(), shop.store, shop.blobs)
        for index in range(claim.plan.request_count):
            shard.journal.add(index, answer(f"{index}"))
        await shard.seal(shop.store, shop.blobs)
        await shard.close(shop.blobs, sealed=True)


FOLDER = f"batches/{TENANT}/b1"


@pytest.mark.parametrize("form", BatchForm)
async def test_all_of_a_batch_goes_when_its_results_have_been_kept_long_enough(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, form: BatchForm
) -> None:
    await succeed(shop, form)
    ended = (await shop.batch()).ended_at
    assert ended is not None
    upkeep = Upkeep(shop.store, shop.blobs, results_seconds=limits.RESULT_LIFETIME_SECONDS)
    just_before = clock.later(ended, limits.RESULT_LIFETIME_SECONDS) - 1
    monkeypatch.setattr(clock, "now", lambda: just_before)
    await upkeep.turn()
    assert len(await shop.output()) == 20
    assert f"{FOLDER}/input" not in shop.files()
    monkeypatch.setattr(clock, "now", lambda: clock.later(just_before, 60))
    await upkeep.turn()
    assert await shop.store.get_batch(TENANT, "b1") is None
    assert shop.files() == []


async def test_segments_go_with_the_result_file_and_the_batch_stays(shop: Workshop) -> None:
    await succeed(shop)
    before = await shop.batch()
    upkeep = Upkeep(shop.store, shop.blobs)
    await shop.store.delete_file(TENANT, "batch-b1", clock.now())
    await upkeep.turn()
    assert shop.files() == [f"{FOLDER}/input"]
    assert await shop.batch() == before


async def test_inline_requests_stay_for_two_days_and_as_long_as_they_are_needed(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await shop.plan(numbered(20))
    upkeep = Upkeep(shop.store, shop.blobs)
    days_later = clock.later(batch.created_at, limits.FILE_LIFETIME_SECONDS)
    monkeypatch.setattr(clock, "now", lambda: days_later)
    await shop.store.cancel_batch(TENANT, "b1", days_later, partial_results=True)
    await upkeep.turn()
    assert shop.files() == [f"{FOLDER}/input"], "its requests are to get their status lines"
    await shop.store.drop_partial(await shop.batch())
    monkeypatch.setattr(clock, "now", lambda: days_later - 1)
    await upkeep.turn()
    assert shop.files() == [f"{FOLDER}/input"]
    monkeypatch.setattr(clock, "now", lambda: days_later)
    await upkeep.turn()
    assert shop.files() == []


async def test_rows_of_batches_go_before_their_folders_in_bounded_transactions(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SWEEP_ROWS_MAX", 1)
    await succeed(shop)
    await shop.store.delete_batch(TENANT, "b1", clock.now())
    await shop.store.delete_file(TENANT, "batch-b1", clock.now())
    seen: list[tuple[int, int]] = []
    delete = shop.blobs.delete

    async def noted(*names: str) -> None:
        if FOLDER in names:
            rows = [len(shop.store._all(f"SELECT 1 FROM {name}")) for name in ("batch", "shard")]  # noqa: S608
            seen.append((rows[0], rows[1]))
        await delete(*names)

    monkeypatch.setattr(shop.blobs, "delete", noted)
    await Upkeep(shop.store, shop.blobs).turn()
    assert seen == [(0, 0)]
    assert shop.files() == []


async def test_the_input_of_a_live_batch_outlives_its_file_and_restarts(tmp_path: Path) -> None:
    far = clock.later(clock.now(), 40 * 86_400)
    async with opened(tmp_path) as shop:
        batch = await shop.plan(numbered(20))
        await shop.store.fail_batch(batch, None, Failure(Code.INTERNAL, "only its file"), far)
        file_batch = msgspec.structs.replace(batch, batch_id="b2", expires_at=far + 1)
        await add_file(shop, "f", clock.later(clock.now(), 60))
        named = {"input_file_id": "f", "input_blob": "files/f", "input_bytes": 3}
        await shop.store.add_batch(msgspec.structs.replace(file_batch, **named))
        assert await shop.store.delete_file(TENANT, "f", clock.now())
        await Upkeep(shop.store, shop.blobs).turn()
    async with opened(tmp_path) as shop:
        for _ in range(2):
            await shop.store.sweep(far, far, 99)
            await Upkeep(shop.store, shop.blobs).turn()
        assert "files/f" in shop.files()
        await shop.store.expire_batches(far + 1, partial_results=False)
        await Upkeep(shop.store, shop.blobs).turn()
        assert "files/f" not in shop.files()
