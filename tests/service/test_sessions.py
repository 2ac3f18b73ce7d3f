"""Uploads survive machines that fail: torn tails, full disks, failed syncs, any history."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightrate import limits
from nightrate.errors import Damaged, NoRoom, OverQuota, Precondition, StoreFault
from nightrate.service.sessions import uninterrupted
from tests.service.home import Home, LineCutError, broken, opened, pieces


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    async with opened(tmp_path) as home:
        yield home


async def test_a_torn_tail_is_cut_off_after_a_restart(home: Home) -> None:
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"good"))
    with home.blobs.path(upload.blob).open("ab") as blob:
        blob.write(b"written but never counted")
    home.restart()
    await home.files.append(upload.upload_id, 4, pieces(b" end"))
    file = await home.files.finalize(upload.upload_id)
    assert await home.stored(file) == b"good end"
    assert file.sha256 == hashlib.sha256(b"good end").hexdigest()


async def test_a_blob_that_lost_counted_bytes_is_never_made_a_file(home: Home) -> None:
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"abcdef"))
    home.restart()
    os.truncate(home.blobs.path(upload.blob), 5)
    with pytest.raises(Damaged, match="holds 5 bytes, but 6 were acknowledged"):
        await home.files.finalize(upload.upload_id)


async def test_the_name_of_an_empty_file_is_synced_before_the_file_exists(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    upload = await home.start()
    file = await home.files.finalize(upload.upload_id)
    assert len(synced) == 1
    assert await home.stored(file) == b""


async def test_a_write_is_awaited_even_by_a_caller_that_is_cancelled() -> None:
    begun, let_go = asyncio.Event(), asyncio.Event()
    written: list[str] = []

    async def write() -> None:
        begun.set()
        await let_go.wait()
        written.append("whole")

    caller = asyncio.create_task(uninterrupted(write()))
    await begun.wait()
    caller.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not caller.done()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert written == ["whole"]


async def test_a_full_disk_in_the_middle_of_a_write_costs_that_write_only(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_BYTES", 4)
    monkeypatch.setattr(limits, "UPLOAD_SYNC_BYTES", 4)
    upload = await home.start()
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if bytes(data).startswith(b"5"):
            write(descriptor, data[:2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(NoRoom, match=r"No space left on device.*4 bytes are kept"):
            await home.files.append(upload.upload_id, 0, pieces(b"1234", b"5678", b"9abc"))
    assert (await home.files.query(upload.upload_id)).received_bytes == 4
    await home.files.append(upload.upload_id, 4, pieces(b"5678"))
    assert await home.stored(await home.files.finalize(upload.upload_id)) == b"12345678"


async def test_a_failed_sync_gives_the_upload_up(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"ab"))

    def fails(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails)
        with pytest.raises(StoreFault, match="start a new one"):
            await home.files.append(upload.upload_id, 2, pieces(b"cd"))
    with pytest.raises(Precondition, match="cancelled"):
        await home.files.finalize(upload.upload_id)


async def test_no_upload_begins_or_goes_on_when_the_disk_has_only_its_reserve(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await home.start()
    monkeypatch.setattr(limits, "DISK_RESERVE_BYTES", 2**62)
    monkeypatch.setattr(limits, "DISK_RESERVE_SHARE", 1.0)
    with pytest.raises(OverQuota, match="no room"):
        await home.start()
    with pytest.raises(OverQuota, match="no room"):
        await home.files.append(upload.upload_id, 0, pieces(b"x"))


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 40),  # bytes that are new
            st.integers(0, 40),  # bytes sent again before them
            st.integers(1, 7),  # how the network cuts them
            st.sampled_from(["answered", "answered", "broken", "restart", "torn"]),
        ),
        max_size=8,
    )
)
def test_any_history_of_pieces_gives_the_bytes_that_the_client_meant(
    steps: list[tuple[int, int, int, str]],
) -> None:
    meant = bytes(range(256)) * 2

    async def history(folder: Path) -> None:
        async with opened(folder) as home:
            upload = await home.start()
            for fresh, again, cut, ending in steps:
                held = (await home.files.query(upload.upload_id)).received_bytes
                begin = max(0, held - again)
                sent = meant[begin : held + fresh]
                parts = [sent[at : at + cut] for at in range(0, len(sent), cut)]
                if ending == "broken":
                    with pytest.raises(LineCutError):
                        await home.files.append(upload.upload_id, begin, broken(*parts))
                else:
                    await home.files.append(upload.upload_id, begin, pieces(*parts))
                if ending == "torn" and held + fresh:
                    with home.blobs.path(upload.blob).open("ab") as blob:
                        blob.write(b"?")
                if ending in {"restart", "torn"}:
                    await home.files.close()
                    home.restart()
            total = sum(step[0] for step in steps)
            file = await home.files.finalize(upload.upload_id)
            assert await home.stored(file) == meant[:total]
            assert file.sha256 == hashlib.sha256(meant[:total]).hexdigest()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(history(Path(folder)))
