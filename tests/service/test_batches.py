"""An accepted batch survives everything; what cannot be accepted says why."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate import clock, limits
from nightrate.domain.batch import Batch, BatchForm, Change, Order
from nightrate.domain.file import File, FileSource, Page
from nightrate.domain.states import BatchState
from nightrate.domain.webhook import WebhookConfig
from nightrate.errors import BadRequest, NotFound, OverQuota, Precondition, TooLarge
from nightrate.service.batches import Batches
from nightrate.service.models import Models
from nightrate.service.quotas import TokenQuotas
from tests.service.home import TENANT, Home, opened, pieces

MODEL = "models/gemini-2.5-flash"
OTHER = "somebody-else"


def inline_order(*items: bytes, name: str | None = None, priority: int = 0) -> Order:
    return Order(display_name=name, priority=priority, file_name=None, inline=items)


def file_order(file_id: str) -> Order:
    return Order(display_name="mine", priority=3, file_name=file_id, inline=None)


class Desk:
    """The service, and what it told the planner."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.told = 0
        self.batches = Batches(home.store, home.blobs, Models({"gemini-*": "text"}), self.tell)

    def tell(self) -> None:
        self.told += 1

    async def upload(self, data: bytes) -> File:
        upload = await self.home.start()
        await self.home.files.append(upload.upload_id, 0, pieces(data))
        return await self.home.files.finalize(upload.upload_id)

    async def stored(self, batch: Batch) -> bytes:
        return self.home.blobs.path(batch.input_blob).read_bytes()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as home:
        yield Desk(home)


@pytest.mark.parametrize(("asked", "given"), [(None, 7200), (3600, 3600), (86400, 7200)])
async def test_a_batch_expires_when_it_asks_to_but_not_after_the_server_says(
    desk: Desk, asked: int | None, given: int
) -> None:
    home = desk.home
    batches = Batches(
        *(home.store, home.blobs, Models({"gemini-*": "text"}), desk.tell), lifetime_seconds=7200
    )
    order = msgspec.structs.replace(inline_order(b"{}"), lifetime_seconds=asked)
    batch = await batches.submit(TENANT, MODEL, order)
    assert batch.expires_at - batch.created_at == given * 1_000_000


async def test_inline_requests_become_an_input_of_one_line_each(desk: Desk) -> None:
    order = inline_order(b'{"a":1}', b'{\n "b":\r\n 2}', name="mine", priority=5)
    batch = await desk.batches.submit(TENANT, MODEL, order)
    assert await desk.stored(batch) == b'{"a":1}\n{  "b":   2}\n'
    assert batch.input_bytes == len(await desk.stored(batch))
    assert batch.form is BatchForm.INLINE
    assert batch.input_file_id is None
    assert batch.model == "gemini-2.5-flash"
    assert (batch.display_name, batch.priority) == ("mine", 5)
    assert batch.state is BatchState.SUBMITTED
    assert batch.expires_at - batch.created_at == limits.BATCH_LIFETIME_SECONDS * 1_000_000
    assert await desk.home.store.get_batch(TENANT, batch.batch_id) == batch
    assert desk.told == 1


async def test_a_batch_without_a_name_gets_one(desk: Desk) -> None:
    batch = await desk.batches.submit(TENANT, MODEL, inline_order(b"{}"))
    assert batch.display_name.startswith("batch-")


async def test_the_bytes_are_synced_before_the_row_that_names_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    add_batch = desk.home.store.add_batch

    async def noted(batch: Batch, **options: Any) -> str:
        happened.append("row")
        return await add_batch(batch, **options)

    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: happened.append("bytes"))
    monkeypatch.setattr(desk.home.store, "add_batch", noted)
    await desk.batches.submit(TENANT, MODEL, inline_order(b"{}"))
    assert happened == ["bytes", "row"]


async def test_a_batch_reads_its_uploaded_file_without_a_copy(desk: Desk) -> None:
    file = await desk.upload(b'{"a":1}\n')
    batch = await desk.batches.submit(TENANT, MODEL, file_order(file.file_id))
    assert batch.input_blob == file.blob
    assert batch.input_bytes == file.size_bytes == 8
    assert batch.form is BatchForm.FILE
    assert batch.input_file_id == file.file_id


async def test_an_unknown_model_is_refused_before_anything_is_written(desk: Desk) -> None:
    with pytest.raises(NotFound, match="models/gpt-9"):
        await desk.batches.submit(TENANT, "models/gpt-9", inline_order(b"{}"))
    assert desk.told == 0
    assert await desk.home.store.submitted_batches(5) == []


async def test_an_unknown_or_expired_file_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="files/none does not exist"):
        await desk.batches.submit(TENANT, MODEL, file_order("none"))
    file = await desk.upload(b"{}\n")
    later = clock.later(clock.now(), limits.FILE_LIFETIME_SECONDS + 1)
    monkeypatch.setattr("nightrate.clock.now", lambda: later)
    with pytest.raises(NotFound, match="expired"):
        await desk.batches.submit(TENANT, MODEL, file_order(file.file_id))
    assert desk.told == 0


async def test_the_file_of_another_tenant_does_not_exist(desk: Desk) -> None:
    file = await desk.upload(b"{}\n")
    with pytest.raises(NotFound):
        await desk.batches.submit(OTHER, MODEL, file_order(file.file_id))


async def test_a_file_that_goes_while_the_batch_is_made_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await desk.upload(b"{}\n")
    get_file = desk.home.store.get_file

    async def deleted_right_after(*arguments: str | int) -> File | None:
        found = await get_file(*arguments)  # type: ignore[arg-type]
        await desk.home.store.delete_file(TENANT, file.file_id, clock.now())
        return found

    monkeypatch.setattr(desk.home.store, "get_file", deleted_right_after)
    with pytest.raises(NotFound, match="does not exist any more"):
        await desk.batches.submit(TENANT, MODEL, file_order(file.file_id))
    assert desk.told == 0


async def test_an_empty_file_is_refused(desk: Desk) -> None:
    file = await desk.upload(b"")
    with pytest.raises(BadRequest, match="is empty"):
        await desk.batches.submit(TENANT, MODEL, file_order(file.file_id))


async def test_a_file_over_the_limit_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await desk.upload(b"{}\n" * 10)
    monkeypatch.setattr(limits, "FILE_BYTES_MAX", 29)
    with pytest.raises(TooLarge, match="over the limit"):
        await desk.batches.submit(TENANT, MODEL, file_order(file.file_id))


async def test_a_result_file_is_no_input(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await desk.upload(b"{}\n")
    result = msgspec.structs.replace(file, blob=None, source=FileSource.GENERATED)

    async def generated(*_arguments: object) -> File:
        return result

    monkeypatch.setattr(desk.home.store, "get_file", generated)
    with pytest.raises(Precondition, match="holds results"):
        await desk.batches.submit(TENANT, MODEL, file_order(file.file_id))


async def test_a_nearly_full_disk_takes_no_new_work(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def room() -> int:
        return 2

    monkeypatch.setattr(desk.home.blobs, "room", room)
    with pytest.raises(OverQuota, match="nearly full"):
        await desk.batches.submit(TENANT, MODEL, inline_order(b"{}"))
    assert desk.told == 0


async def test_a_batch_is_found_by_its_tenant_only(desk: Desk) -> None:
    batch = await desk.batches.submit(TENANT, MODEL, inline_order(b"{}"))
    assert await desk.batches.get(TENANT, batch.batch_id) == batch
    with pytest.raises(NotFound, match=batch.batch_id):
        await desk.batches.get(OTHER, batch.batch_id)


async def test_batches_are_listed_by_pages_until_the_last(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for second in range(5):
        monkeypatch.setattr("nightrate.clock.now", lambda second=second: second * 10)
        made.append(await desk.batches.submit(TENANT, MODEL, inline_order(b"{}")))
    first, after = await desk.batches.list(TENANT, Page(size=2))
    assert first == [made[4], made[3]]
    assert after == (30, made[3].batch_id)
    middle, after = await desk.batches.list(TENANT, Page(size=2, after=after))
    assert middle == [made[2], made[1]]
    last, after = await desk.batches.list(TENANT, Page(size=2, after=after))
    assert last == [made[0]]
    assert after is None
    assert await desk.batches.list(OTHER, Page(size=2)) == ([], None)


async def test_a_target_that_is_not_allowed_is_refused_before_anything_is_kept(desk: Desk) -> None:
    config = WebhookConfig(uris=("https://h", "https://169.254.169.254/"), user_metadata=None)
    order = msgspec.structs.replace(inline_order(b"{}"), webhook=config)
    with pytest.raises(BadRequest) as refused:
        await desk.batches.submit(TENANT, MODEL, order)
    assert refused.value.field == "batch.webhookConfig.uris[1]"
    assert await desk.home.store.list_batches(TENANT, Page(size=9)) == []


# ends and changes -----------------------------------------------------------------------------


async def test_a_batch_over_the_limit_leaves_nothing_and_an_end_frees_its_place(
    desk: Desk,
) -> None:
    home = desk.home
    models = Models({"gemini-*": "text"})
    batches = Batches(home.store, home.blobs, models, desk.tell, live_max=1)
    first = await batches.submit(TENANT, MODEL, inline_order(b"{}"))
    with pytest.raises(OverQuota, match="0 places are free"):
        await batches.submit(TENANT, MODEL, inline_order(b"{}"))
    assert await home.blobs.list(f"batches/{TENANT}") == [first.batch_id]
    assert desk.told == 1
    file = await desk.upload(b'{"a":1}\n')
    with pytest.raises(OverQuota):
        await batches.submit(TENANT, MODEL, file_order(file.file_id))
    assert await desk.stored(await _again(batches, first, file)) == b'{"a":1}\n'


async def test_a_batch_with_too_many_tokens_leaves_nothing_and_an_end_frees_its_tokens(
    desk: Desk,
) -> None:
    home = desk.home
    models = Models({"gemini-*": "text"})
    quotas = TokenQuotas({"gemini-*": 3})
    batches = Batches(home.store, home.blobs, models, desk.tell, token_quotas=quotas)
    first = await batches.submit(TENANT, MODEL, inline_order(b"{}", b"{}"))
    assert first.input_bytes == 6
    with pytest.raises(OverQuota, match=r"about 2 input tokens .* 2 of 3 .* 1 are free"):
        await batches.submit(TENANT, MODEL, inline_order(b"{}", b"{}"))
    assert await home.blobs.list(f"batches/{TENANT}") == [first.batch_id]
    await batches.submit(TENANT, "gemini-other", inline_order(b"{}", b"{}"))
    await batches.delete(TENANT, first.batch_id)
    await batches.submit(TENANT, MODEL, inline_order(b"{}", b"{}"))


async def _again(batches: Batches, first: Batch, file: File) -> Batch:
    await batches.cancel(TENANT, first.batch_id)
    return await batches.submit(TENANT, MODEL, file_order(file.file_id))


async def test_who_works_on_a_batch_is_told_of_its_end_after_it_is_durable(desk: Desk) -> None:
    home = desk.home
    seen: list[BatchState | None] = []

    async def stopped(batch: Batch) -> None:
        found = await home.store.get_batch(TENANT, batch.batch_id)
        seen.append(found.state if found else None)

    models = Models({"gemini-*": "text"})
    batches = Batches(home.store, home.blobs, models, desk.tell, stopped=stopped)
    made = [await batches.submit(TENANT, MODEL, inline_order(b"{}")) for _ in range(2)]
    cancelled = await batches.cancel(TENANT, made[0].batch_id)
    assert cancelled.state is BatchState.CANCELLED
    await batches.delete(TENANT, made[1].batch_id)
    assert seen == [BatchState.CANCELLED, None]


async def test_a_change_is_seen_by_everybody(desk: Desk) -> None:
    batch = await desk.batches.submit(TENANT, MODEL, inline_order(b"{}", name="old"))
    changed = await desk.batches.update(TENANT, batch.batch_id, Change(display_name="new"))
    assert changed == await desk.batches.get(TENANT, batch.batch_id)
    assert (changed.display_name, changed.priority) == ("new", 0)


async def test_verbs_on_a_batch_of_another_tenant_find_nothing(desk: Desk) -> None:
    batch_id = (await desk.batches.submit(TENANT, MODEL, inline_order(b"{}"))).batch_id
    with pytest.raises(NotFound):
        await desk.batches.cancel(OTHER, batch_id)
    with pytest.raises(NotFound):
        await desk.batches.delete(OTHER, batch_id)
    with pytest.raises(NotFound):
        await desk.batches.update(OTHER, batch_id, Change(priority=1))
    assert (await desk.batches.get(TENANT, batch_id)).state is BatchState.SUBMITTED
