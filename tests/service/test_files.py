"""Uploads survive what clients and machines do to them; files are found, listed and removed."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nightrate import clock, limits
from nightrate.domain.file import FileSource, Page, Upload, UploadState
from nightrate.errors import (
    BadRequest,
    Conflict,
    NoRoom,
    NotFound,
    OutOfRange,
    OverStorage,
    Precondition,
    StoreFault,
    TooLarge,
)
from nightrate.service.files import Files
from nightrate.store.blobs import Appender
from tests.service.home import TENANT, Home, LineCutError, broken, open_descriptors, opened, pieces


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    async with opened(tmp_path) as home:
        yield home


# the ordinary way ------------------------------------------------------------------------------


async def test_pieces_become_a_file_with_its_digest(home: Home) -> None:
    upload = await home.start()
    first = await home.files.append(upload.upload_id, 0, pieces(b"hel", b"lo "))
    assert (first.received_bytes, first.state) == (6, UploadState.ACTIVE)
    await home.files.append(upload.upload_id, 6, pieces(b"world"))
    file = await home.files.finalize(upload.upload_id)
    assert await home.stored(file) == b"hello world"
    assert file.sha256 == hashlib.sha256(b"hello world").hexdigest()
    assert (file.size_bytes, file.mime_type, file.display_name) == (11, "jsonl", "input")
    assert file.source is FileSource.UPLOADED
    assert file.expires_at == clock.later(file.created_at, limits.FILE_LIFETIME_SECONDS)
    assert await home.files.get(TENANT, file.file_id) == file


async def test_an_empty_file_is_a_file(home: Home) -> None:
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces())
    file = await home.files.finalize(upload.upload_id)
    assert file.size_bytes == 0
    assert file.sha256 == hashlib.sha256(b"").hexdigest()
    assert await home.stored(file) == b""


async def test_finalizing_again_gives_the_same_file(home: Home) -> None:
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"x"))
    file = await home.files.finalize(upload.upload_id)
    home.restart()
    assert await home.files.finalize(upload.upload_id) == file
    replay = await home.files.append(upload.upload_id, 0, pieces(b"x"))
    assert (replay.state, replay.received_bytes) == (UploadState.FINAL, 1)


async def test_what_is_counted_was_synced_before(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, grow = os.fdatasync, home.store.grow_upload

    def noted_sync(descriptor: int) -> None:
        sync(descriptor)
        order.append("synced")

    async def noted_grow(
        upload: Upload, received_bytes: int, now: int, *, stored_max: int | None = None
    ) -> None:
        await grow(upload, received_bytes, now, stored_max=stored_max)
        order.append(f"counted {received_bytes}")

    monkeypatch.setattr(os, "fdatasync", noted_sync)
    monkeypatch.setattr(home.store, "grow_upload", noted_grow)
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"abc"))
    await home.files.append(upload.upload_id, 3, pieces(b"de"))
    assert order == ["synced", "counted 3", "synced", "counted 5"]


async def test_a_long_piece_is_counted_on_the_way(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_BYTES", 4)
    monkeypatch.setattr(limits, "UPLOAD_SYNC_BYTES", 8)
    upload = await home.start()
    counted: list[int] = []

    async def slow_client() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b"1234"
            counted.append((await home.files.query(upload.upload_id)).received_bytes)

    await home.files.append(upload.upload_id, 0, slow_client())
    assert counted == [0, 8, 8, 16, 16, 24]


# clients that repeat, skip and break off -------------------------------------------------------


async def test_a_repeated_piece_is_taken_once(home: Home) -> None:
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"abcd"))
    again = await home.files.append(upload.upload_id, 0, pieces(b"ab", b"cd"))
    assert again.received_bytes == 4
    longer = await home.files.append(upload.upload_id, 2, pieces(b"c", b"def"))
    assert longer.received_bytes == 6
    assert await home.stored(await home.files.finalize(upload.upload_id)) == b"abcdef"


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoRoom), (errno.EIO, StoreFault)])
async def test_a_disk_that_refuses_to_open_the_blob_is_told_and_the_upload_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    upload = await home.start()

    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(home.blobs, "create", refuse)
        for call in (
            lambda: home.files.append(upload.upload_id, 0, pieces(b"hello")),
            lambda: home.files.finalize(upload.upload_id),
        ):
            with pytest.raises(kind, match="0 bytes are kept"):
                await call()
    await home.files.append(upload.upload_id, 0, pieces(b"hello"))
    home.restart()
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(Appender, "read_all", refuse)
        with pytest.raises(kind, match="5 bytes are kept"):
            await home.files.finalize(upload.upload_id)
    assert open_descriptors() == before
    assert await home.stored(await home.files.finalize(upload.upload_id)) == b"hello"


async def test_a_piece_from_the_future_is_refused_and_changes_nothing(home: Home) -> None:
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"abcd"))
    with pytest.raises(OutOfRange, match="begins at byte 5, but only 4"):
        await home.files.append(upload.upload_id, 5, pieces(b"x"))
    assert (await home.files.query(upload.upload_id)).received_bytes == 4


async def test_a_piece_that_breaks_off_keeps_what_arrived(home: Home) -> None:
    upload = await home.start()
    with pytest.raises(LineCutError):
        await home.files.append(upload.upload_id, 0, broken(b"ab", b"c"))
    assert (await home.files.query(upload.upload_id)).received_bytes == 3
    home.restart()
    await home.files.append(upload.upload_id, 3, pieces(b"def"))
    assert await home.stored(await home.files.finalize(upload.upload_id)) == b"abcdef"


async def test_two_pieces_at_once_are_taken_one_after_the_other(home: Home) -> None:
    upload = await home.start()
    inside = asyncio.Event()
    let_go = asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        yield b"ab"
        inside.set()
        await let_go.wait()
        yield b"cd"

    first = asyncio.create_task(home.files.append(upload.upload_id, 0, held()))
    await inside.wait()
    second = asyncio.create_task(home.files.append(upload.upload_id, 0, pieces(b"abcdef")))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not second.done()
    let_go.set()
    assert (await first).received_bytes == 4
    assert (await second).received_bytes == 6
    assert await home.stored(await home.files.finalize(upload.upload_id)) == b"abcdef"


async def test_a_cancelled_call_leaves_a_session_that_can_go_on(home: Home) -> None:
    upload = await home.start()
    inside = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * limits.WRITE_BYTES
        inside.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(home.files.append(upload.upload_id, 0, endless()))
    await inside.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    held = await home.files.query(upload.upload_id)
    assert held.received_bytes == limits.WRITE_BYTES
    await home.files.append(upload.upload_id, held.received_bytes, pieces(b"y"))
    file = await home.files.finalize(upload.upload_id)
    assert file.sha256 == hashlib.sha256(b"x" * limits.WRITE_BYTES + b"y").hexdigest()


# bounds ----------------------------------------------------------------------------------------


async def test_a_file_over_the_bound_is_refused_when_it_is_announced(home: Home) -> None:
    with pytest.raises(TooLarge, match=str(limits.FILE_BYTES_MAX)):
        await home.start(announced=limits.FILE_BYTES_MAX + 1)


async def test_a_file_over_the_bound_is_refused_when_it_arrives(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FILE_BYTES_MAX", 5)
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"123"))
    with pytest.raises(TooLarge):
        await home.files.append(upload.upload_id, 3, pieces(b"45", b"6"))
    assert (await home.files.finalize(upload.upload_id)).size_bytes == 5


async def test_idle_uploads_do_not_keep_their_blobs_open(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UPLOADS_OPEN_MAX", 2)
    uploads = [await home.start() for _ in range(6)]
    before = open_descriptors()
    for upload in uploads:
        await home.files.append(upload.upload_id, 0, pieces(b"a"))
    assert open_descriptors() == before + 2
    for upload in uploads:
        await home.files.append(upload.upload_id, 1, pieces(b"b"))
        assert await home.stored(await home.files.finalize(upload.upload_id)) == b"ab"
    assert open_descriptors() == before


async def test_an_unknown_session_is_not_found_and_not_remembered(home: Home) -> None:
    for call in (home.files.query, home.files.finalize, home.files.cancel):
        with pytest.raises(NotFound):
            await call("nobody")
    with pytest.raises(NotFound):
        await home.files.append("nobody", 0, pieces(b"x"))
    assert not home.files._sessions._sessions


async def test_an_upload_left_alone_for_too_long_is_gone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await home.start()
    end = clock.later(upload.created_at, limits.UPLOAD_LIFETIME_SECONDS)
    monkeypatch.setattr(clock, "now", lambda: end)
    with pytest.raises(NotFound, match="expired"):
        await home.files.append(upload.upload_id, 0, pieces(b"x"))


# cancelling, names, lists ----------------------------------------------------------------------


async def test_a_cancelled_upload_takes_and_gives_nothing(home: Home) -> None:
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"abc"))
    for _ in range(2):
        assert (await home.files.cancel(upload.upload_id)).state is UploadState.CANCELLED
    with pytest.raises(Precondition):
        await home.files.append(upload.upload_id, 3, pieces(b"d"))
    with pytest.raises(Precondition):
        await home.files.finalize(upload.upload_id)


async def test_cancelling_a_finished_upload_changes_nothing(home: Home) -> None:
    upload = await home.start()
    file = await home.files.finalize(upload.upload_id)
    assert (await home.files.cancel(upload.upload_id)).state is UploadState.FINAL
    assert await home.files.get(TENANT, file.file_id) == file


async def test_a_name_used_again_does_not_share_its_bytes_with_the_cancelled_upload(
    home: Home,
) -> None:
    former = await home.start("mine")
    await home.files.append(former.upload_id, 0, pieces(b"old"))
    await home.files.cancel(former.upload_id)
    upload = await home.start("mine")
    await home.files.append(upload.upload_id, 0, pieces(b"new"))
    file = await home.files.finalize(upload.upload_id)
    await home.blobs.delete(*await home.store.sweep(clock.now(), 0, 100))
    assert await home.stored(file) == b"new"
    assert await home.blobs.size(former.blob) is None


async def test_a_taken_name_is_refused(home: Home) -> None:
    upload = await home.start("mine")
    with pytest.raises(Conflict):
        await home.start("mine")
    await home.files.finalize(upload.upload_id)
    with pytest.raises(Conflict):
        await home.start("mine")


@pytest.mark.parametrize(
    "file_id", ["-a", "a-", "A", "a/b", "a.b", "", " ", "a" * 41, "batch-1", "a\n"]
)
async def test_a_name_that_cannot_be_is_refused(home: Home, file_id: str) -> None:
    with pytest.raises(BadRequest):
        await home.start(file_id)


@pytest.mark.parametrize(
    ("display_name", "mime_type"),
    [("x" * 513, "jsonl"), (None, ""), (None, "a\r\nb"), (None, "x" * 256), (None, "é")],
)
async def test_a_description_that_cannot_be_is_refused(
    home: Home, display_name: str | None, mime_type: str
) -> None:
    with pytest.raises(BadRequest):
        await home.files.start_upload(
            TENANT, display_name=display_name, mime_type=mime_type, file_id=None
        )


async def test_pages_of_files_follow_each_other_and_end(home: Home) -> None:
    made = []
    for _ in range(5):
        upload = await home.start()
        made.append((await home.files.finalize(upload.upload_id)).file_id)
    seen: list[str] = []
    after = None
    sizes = []
    while True:
        files, after = await home.files.list(TENANT, Page(size=2, after=after))
        sizes.append(len(files))
        seen += [file.file_id for file in files]
        if after is None:
            break
    assert sorted(seen) == sorted(made)
    assert sizes == [2, 2, 1]
    assert await home.files.list("other", Page(size=2)) == ([], None)


async def test_a_full_last_page_names_no_next_one(home: Home) -> None:
    for _ in range(2):
        await home.files.finalize((await home.start()).upload_id)
    files, following = await home.files.list(TENANT, Page(size=2))
    assert (len(files), following) == (2, None)


async def test_a_deleted_file_is_not_found_and_not_deleted_again(home: Home) -> None:
    file = await home.files.finalize((await home.start()).upload_id)
    with pytest.raises(NotFound):
        await home.files.delete("other", file.file_id)
    await home.files.delete(TENANT, file.file_id)
    with pytest.raises(NotFound):
        await home.files.get(TENANT, file.file_id)
    with pytest.raises(NotFound):
        await home.files.delete(TENANT, file.file_id)


# what a tenant may store -----------------------------------------------------------------------


@pytest.fixture
async def small(home: Home) -> Home:
    """Give files of which a tenant may store ten bytes."""
    home.files = Files(home.store, home.blobs, 10)
    return home


async def test_an_upload_that_announces_too_much_does_not_begin(small: Home) -> None:
    with pytest.raises(OverStorage, match="11 more bytes"):
        await small.start(announced=11)
    await small.start(announced=10)


async def test_an_upload_that_becomes_too_much_is_refused_and_takes_no_room(small: Home) -> None:
    upload = await small.start()
    await small.files.append(upload.upload_id, 0, pieces(b"123456"))
    with pytest.raises(OverStorage, match=r"11 more bytes .* 0 of 10 .* never fit"):
        await small.files.append(upload.upload_id, 6, pieces(b"78901"))
    assert (await small.files.query(upload.upload_id)).state is UploadState.CANCELLED
    assert (await small.store.stored(TENANT, clock.now())).stored_bytes == 0
    await small.blobs.delete(*await small.store.sweep(clock.now(), 0, 9))
    assert await small.blobs.size(upload.blob) is None


async def test_bytes_that_come_twice_count_once(small: Home) -> None:
    upload = await small.start()
    await small.files.append(upload.upload_id, 0, pieces(b"123456"))
    await small.files.append(upload.upload_id, 0, pieces(b"1234567890"))
    assert (await small.files.finalize(upload.upload_id)).size_bytes == 10


async def test_a_long_piece_is_stopped_before_it_is_written(
    small: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_BYTES", 4)
    upload = await small.start()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 4
            yield b"1234"

    with pytest.raises(OverStorage):
        await small.files.append(upload.upload_id, 0, endless())
    assert sent == 12
    assert small.blobs.path(upload.blob).stat().st_size == 8


async def test_two_uploads_at_once_do_not_get_more_than_there_is(small: Home) -> None:
    first, second = await small.start(), await small.start()
    both = asyncio.Barrier(2)

    async def six_bytes() -> AsyncIterator[bytes]:
        await both.wait()  # both have been told that there are ten
        yield b"123456"

    calls = [small.files.append(upload.upload_id, 0, six_bytes()) for upload in (first, second)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(isinstance(end, OverStorage) for end in ends) == [False, True]
    assert (await small.store.stored(TENANT, clock.now())).stored_bytes == 6


async def test_a_deleted_file_leaves_its_room_at_once(small: Home) -> None:
    upload = await small.start()
    await small.files.append(upload.upload_id, 0, pieces(b"1234567890"))
    file = await small.files.finalize(upload.upload_id)
    with pytest.raises(OverStorage, match="0 are free") as caught:
        await small.start()
    assert caught.value.retry_seconds == pytest.approx(limits.FILE_LIFETIME_SECONDS, abs=60)
    await small.files.delete(TENANT, file.file_id)
    await small.start(announced=10)


async def test_a_session_is_unknown_to_another_tenant(home: Home) -> None:
    upload = await home.start()
    assert await home.files.query(upload.upload_id, TENANT) == upload
    with pytest.raises(NotFound) as foreign:
        await home.files.query(upload.upload_id, "other")
    with pytest.raises(NotFound) as unknown:
        await home.files.query("nobody", "other")
    assert foreign.value.message == unknown.value.message
