"""New work is taken while there is room beside the reserve, and a full disk is told as such."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from nightrate import limits
from nightrate.errors import Fault, NoRoom, StoreFault
from nightrate.service.space import Space
from nightrate.store.blobs import Blobs
from tests.service.home import TENANT, Home, opened, pieces
from tests.service.test_batches import MODEL as BATCH_MODEL
from tests.service.test_batches import Desk, desk, file_order, inline_order

__all__ = ["desk"]


class Disk:
    """How much room there is, and how often somebody looked."""

    def __init__(self, blobs: Blobs, patch: pytest.MonkeyPatch) -> None:
        self.room_bytes = 10**9
        self.used: Callable[[], int] = lambda: 0
        self.looks = 0
        self.seconds = 0.0
        patch.setattr(blobs, "room", self._room)
        patch.setattr("nightrate.clock.monotonic", lambda: self.seconds)

    async def _room(self) -> int:
        self.looks += 1
        return self.room_bytes - self.used()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    async with opened(tmp_path) as home:
        yield home


@pytest.fixture
def disk(home: Home, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(home.blobs, monkeypatch)


async def blocks(*sizes: int) -> AsyncIterator[list[bytes]]:
    for size in sizes:
        yield [b"x" * size]


async def test_many_uploads_share_what_was_seen_of_the_room(home: Home, disk: Disk) -> None:
    space = Space(home.blobs)
    disk.room_bytes = 25
    given = [space.taken(blocks(10, 10)) for _ in range(2)]
    await anext(given[0])
    await anext(given[1])
    assert disk.looks == 1
    disk.room_bytes = 5
    with pytest.raises(NoRoom):
        await anext(given[0])
    assert disk.looks == 2, "what seems to be full is looked at again"
    disk.room_bytes = 19
    with pytest.raises(NoRoom):
        await anext(given[1])
    assert disk.looks == 3


async def test_the_block_before_may_not_be_on_the_disk_yet(home: Home, disk: Disk) -> None:
    space = Space(home.blobs)
    disk.room_bytes = 15
    taken = space.taken(blocks(10, 10))
    await anext(taken)
    disk.room_bytes = 20
    await anext(taken)
    assert disk.looks == 2


async def test_a_look_at_the_room_grows_old(home: Home, disk: Disk) -> None:
    space = Space(home.blobs)
    taken = space.taken(blocks(1, 1, 1))
    await anext(taken)
    disk.seconds = limits.ROOM_SECONDS / 2
    await anext(taken)
    assert disk.looks == 1
    disk.seconds = limits.ROOM_SECONDS
    disk.room_bytes = 0
    with pytest.raises(NoRoom):
        await anext(taken)


async def test_an_upload_stops_at_the_reserve_and_goes_on_when_space_was_freed(
    home: Home, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_BYTES", 4)
    upload = await home.start()
    looks = disk.looks
    disk.room_bytes = 9
    disk.used = lambda: 0 if disk.looks <= looks + 2 else 8
    with pytest.raises(NoRoom):
        await home.files.append(upload.upload_id, 0, pieces(b"abcd", b"efgh", b"ijkl"))
    assert (await home.files.query(upload.upload_id)).received_bytes == 8
    disk.room_bytes = 100
    await home.files.append(upload.upload_id, 8, pieces(b"ijkl"))
    assert await home.stored(await home.files.finalize(upload.upload_id)) == b"abcdefghijkl"


def refuse(number: int) -> Callable[..., Any]:
    def write(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    return write


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, NoRoom), (errno.EDQUOT, NoRoom), (errno.EIO, StoreFault)],
)
async def test_an_upload_that_the_disk_refuses_keeps_what_it_had(
    home: Home, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Fault]
) -> None:
    upload = await home.start()
    await home.files.append(upload.upload_id, 0, pieces(b"abcd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse(number))
        with pytest.raises(kind, match=r"failed .*; 4 bytes are kept"):
            await home.files.append(upload.upload_id, 4, pieces(b"efgh"))
    await home.files.append(upload.upload_id, 4, pieces(b"efgh"))
    assert await home.stored(await home.files.finalize(upload.upload_id)) == b"abcdefgh"


async def test_a_batch_over_an_uploaded_file_needs_room_for_its_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await desk.upload(b"{}\n")
    disk = Disk(desk.home.blobs, monkeypatch)
    disk.room_bytes = 0
    with pytest.raises(NoRoom):
        await desk.batches.submit(TENANT, BATCH_MODEL, file_order(file.file_id))
    assert desk.told == 0
    disk.room_bytes = 1
    await desk.batches.submit(TENANT, BATCH_MODEL, file_order(file.file_id))
    assert desk.told == 1


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoRoom), (errno.EIO, StoreFault)])
async def test_requests_that_the_disk_refuses_leave_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Fault]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse(number))
        with pytest.raises(kind, match="could not be written"):
            await desk.batches.submit(TENANT, BATCH_MODEL, inline_order(b"{}"))
    root = desk.home.blobs.path("batches")
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert desk.told == 0
