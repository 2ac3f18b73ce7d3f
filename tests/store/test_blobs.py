"""Blobs are written once, synced when they say so, and never read short."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import zlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from nightrate import limits
from nightrate.errors import Damaged
from nightrate.store.blobs import Blobs, _Folder

T = TypeVar("T")


async def inline(call: Callable[[], T]) -> T:
    return call()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", inline)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Syncs:
    """What was synced, in order, as paths below the root."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.seen: list[str] = []
        patch.setattr(os, "fdatasync", self.note)
        patch.setattr(os, "fsync", self.note)

    def note(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self.seen.append(str(path.relative_to(self.root)))

    def take(self) -> list[str]:
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture
def syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Syncs:
    return Syncs(tmp_path / "blobs", monkeypatch)


# writing --------------------------------------------------------------------------------------


async def test_a_blob_holds_what_was_put(blobs: Blobs) -> None:
    await blobs.put("a/b/c", [b"one ", b"two"])
    assert blobs.path("a/b/c").read_bytes() == b"one two"
    assert await blobs.size("a/b/c") == 7
    assert await blobs.size("a/b/d") is None


async def test_a_name_is_written_once(blobs: Blobs) -> None:
    await blobs.put("a", [b"first"])
    with pytest.raises(FileExistsError):
        await blobs.create("a")
    with pytest.raises(FileExistsError):
        await blobs.put("a", [b"second"])
    assert blobs.path("a").read_bytes() == b"first"


async def test_blobs_are_for_their_owner_only(blobs: Blobs) -> None:
    await blobs.put("a/b", [b"x"])
    for name in ("a", "a/b"):
        assert blobs.path(name).stat().st_mode & 0o077 == 0


async def test_a_short_write_is_carried_on(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    await blobs.put("a", [b"a long piece"])
    assert blobs.path("a").read_bytes() == b"a long piece"


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../x", "a/..", ".", "a//b", "a/", "A", "a b", ".hidden"]
)
async def test_a_name_that_could_lead_elsewhere_is_a_mistake(blobs: Blobs, name: str) -> None:
    with pytest.raises(AssertionError):
        blobs.path(name)


async def test_a_reopened_blob_loses_what_does_not_count(blobs: Blobs) -> None:
    await blobs.put("a", [b"counted, torn"])
    blob = await blobs.reopen("a", 7)
    assert blob.size_bytes == 7
    assert blobs.path("a").read_bytes() == b"counted"
    await blob.append(b" and more", sync=True)
    await blob.close()
    assert blob.size_bytes == 16
    assert blobs.path("a").read_bytes() == b"counted and more"


async def test_a_blob_that_lost_bytes_is_not_reopened(blobs: Blobs) -> None:
    await blobs.put("a", [b"short"])
    with pytest.raises(Damaged, match="blob a ends before byte 9"):
        await blobs.reopen("a", 9)
    assert blobs.path("a").read_bytes() == b"short"
    with pytest.raises(Damaged, match="blob b is missing"):
        await blobs.reopen("b", 0)


async def test_a_blob_that_is_being_written_can_be_read_back_and_cut(blobs: Blobs) -> None:
    blob = await blobs.create("a")
    await blob.append(b"one", b"two", b"three")
    assert blob.size_bytes == 11
    assert await blob.read_all([(3, 3), (0, 3)]) == [b"two", b"one"]
    await blob.cut(6)
    assert blob.size_bytes == 6
    await blob.append(b"!")
    await blob.close()
    await blob.close()
    assert blobs.path("a").read_bytes() == b"onetwo!"


# syncs ----------------------------------------------------------------------------------------


async def test_new_folders_are_synced_from_the_top_before_the_blob_is_made(
    blobs: Blobs, syncs: Syncs
) -> None:
    blob = await blobs.create("a/b/c")
    assert syncs.take() == [".", "a"]
    await blob.close()
    await (await blobs.create("a/b/d")).close()
    assert syncs.take() == []
    await blobs.make("a/e/f")
    assert syncs.take() == ["a", "a/e"]


async def test_the_bytes_are_synced_before_the_name(blobs: Blobs, syncs: Syncs) -> None:
    await blobs.put("a", [b"x"])
    assert syncs.take() == ["a", "."]


async def test_an_append_syncs_only_when_asked_and_the_name_once(
    blobs: Blobs, syncs: Syncs
) -> None:
    blob = await blobs.create("a")
    await blob.append(b"x")
    assert syncs.take() == []
    await blob.append(b"y", sync=True)
    assert syncs.take() == ["a", "."]
    await blob.append(b"z", sync=True)
    await blob.sync()
    assert syncs.take() == ["a", "a"]
    await blob.close()


async def test_the_blob_of_another_writer_is_synced_with_its_name(
    blobs: Blobs, syncs: Syncs
) -> None:
    await blobs.make("a")
    blobs.path("a/plan").write_bytes(b"x")
    syncs.take()
    await blobs.sync("a/plan")
    assert syncs.take() == ["a/plan", "a"]


async def test_a_failed_sync_is_told_and_the_file_is_let_go(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, "fdatasync", refuse)
    before = open_descriptors()
    with pytest.raises(OSError, match="the disk is gone"):
        await blobs.put("a", [b"x"])
    with pytest.raises(OSError, match="the disk is gone"):
        await blobs.sync("a")
    assert open_descriptors() == before


# reading --------------------------------------------------------------------------------------


async def test_a_blob_is_read_in_ranges(blobs: Blobs) -> None:
    await blobs.put("a", [b"0123456789"])
    reader = await blobs.open("a")
    assert await reader.read(2, 3) == b"234"
    assert await reader.read(10, 0) == b""
    assert await reader.read_all([(8, 2), (0, 1)]) == [b"89", b"0"]
    assert await reader.read_some(8, 9) == b"89"
    assert await reader.read_some(10, 9) == b""
    await reader.close()
    await reader.close()


async def test_a_short_read_is_damage_that_names_the_blob(blobs: Blobs) -> None:
    await blobs.put("a", [b"0123456789"])
    reader = await blobs.open("a")
    with pytest.raises(Damaged, match="blob a ends before byte 11"):
        await reader.read(8, 3)
    with pytest.raises(Damaged, match="blob a ends before byte 12"):
        await reader.read_all([(0, 1), (11, 1)])
    await reader.close()


async def test_a_read_that_returns_less_is_carried_on(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await blobs.put("a", [b"0123456789"])
    pread = os.pread
    monkeypatch.setattr(
        os, "pread", lambda descriptor, length, offset: pread(descriptor, min(length, 4), offset)
    )
    reader = await blobs.open("a")
    assert await reader.read(0, 10) == b"0123456789"
    await reader.close()


async def test_a_missing_blob_is_damage_that_names_it(blobs: Blobs) -> None:
    with pytest.raises(Damaged, match="blob a/b is missing"):
        await blobs.open("a/b")


# the rest -------------------------------------------------------------------------------------


async def test_blobs_and_whole_folders_are_deleted_and_missing_ones_are_fine(blobs: Blobs) -> None:
    for name in ("a/b", "a/c/d", "e", "f"):
        await blobs.put(name, [b"x"])
    await blobs.delete("a", "e", "nothing")
    assert await blobs.size("a/b") is None
    assert await blobs.size("e") is None
    assert await blobs.size("f") == 1
    await blobs.put("e", [b"again"])


async def test_a_folder_is_named_a_slice_at_a_time(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCAN_NAMES", 2)
    wanted = [f"f{number}" for number in range(5)]
    for name in wanted:
        await blobs.put(f"a/{name}", [b"x"])
    blobs.path("a/f0").with_name(".hidden").write_bytes(b"no blob of ours")
    slices = [some async for some in blobs.scan("a")]
    assert [len(some) for some in slices] == [2, 2, 1]
    assert sorted(name for some in slices for name in some) == wanted
    assert [some async for some in blobs.scan("nothing")] == []
    assert [some async for some in blobs.scan("a/f0")] == []


async def test_a_scan_that_is_left_lets_go_of_the_folder(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCAN_NAMES", 1)
    for name in ("a/b", "a/c"):
        await blobs.put(name, [b"x"])
    before = open_descriptors()
    scan = blobs.scan("a")
    await anext(scan)
    await scan.aclose()
    assert open_descriptors() == before


async def test_what_exists_is_told_of_blobs_and_folders(blobs: Blobs) -> None:
    await blobs.put("a/b", [b"x"])
    assert await blobs.existing(["a", "a/b", "a/c", "d"]) == ["a", "a/b"]


async def test_the_room_leaves_the_reserve_free(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(total: int, free: int) -> Callable[[Path], object]:
        return lambda _path: type("Usage", (), {"total": total, "free": free})

    large, small = 1000 * limits.GIB, limits.GIB
    monkeypatch.setattr("shutil.disk_usage", usage(large, 3 * limits.GIB))
    assert await blobs.room() == limits.GIB
    monkeypatch.setattr("shutil.disk_usage", usage(small, 10 * limits.MIB))
    assert await blobs.room() == 10 * limits.MIB - int(small * limits.DISK_RESERVE_SHARE)


async def test_blocking_calls_leave_the_loop_to_others(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        threads: set[threading.Thread] = set()

        def run(call: Callable[[], T], /) -> Awaitable[T]:
            def noted() -> T:
                threads.add(threading.current_thread())
                return call()

            return asyncio.get_running_loop().run_in_executor(pool, noted)

        blobs = Blobs(tmp_path / "blobs", run)
        names = [f"some/{number % 7}/folder/{number}" for number in range(40)]
        await asyncio.gather(*(blobs.put(name, [name.encode()]) for name in names))
        for name in names:
            assert blobs.path(name).read_bytes() == name.encode()
        reader = await blobs.open(names[0])
        assert await reader.read(0, 4) == b"some"
        await reader.close()
    assert threading.current_thread() not in threads


async def test_a_folder_that_another_thread_has_just_made_is_synced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(tmp_path, inline)
    (tmp_path / "files").mkdir()
    synced = []

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", note)
    await blobs.make("files")
    assert synced == [str(tmp_path)]


# callers that go away -------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["open", "create"])
async def test_a_blob_whose_opener_left_is_closed(tmp_path: Path, call: str) -> None:
    opened, gone = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def run(work: Callable[[], T]) -> Awaitable[T]:
            def late() -> T:
                result = work()
                opened.set()
                assert gone.wait(10)
                return result

            return asyncio.get_running_loop().run_in_executor(pool, late)

        await Blobs(tmp_path / "blobs", inline).put("there", [b"bytes"])
        name = "there" if call == "open" else "new"
        before = open_descriptors()
        opening = asyncio.ensure_future(getattr(Blobs(tmp_path / "blobs", run), call)(name))
        await asyncio.get_running_loop().run_in_executor(None, opened.wait)
        assert open_descriptors() > before
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        gone.set()
    await asyncio.sleep(0)
    assert open_descriptors() == before


async def test_a_close_that_nobody_waits_for_happens(tmp_path: Path) -> None:
    go = threading.Event()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        blobs = Blobs(tmp_path / "blobs", lambda call: loop.run_in_executor(pool, call))
        await blobs.put("a", [b"x"])
        before = open_descriptors()
        reader = await blobs.open("a")
        busy = loop.run_in_executor(pool, go.wait)
        task = asyncio.ensure_future(reader.close())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        await busy
        await loop.run_in_executor(pool, lambda: None)
        del reader, task
        assert open_descriptors() == before


async def test_a_small_blob_is_read_whole_and_checked_unless_it_is_known(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 4)
    await blobs.put("a", [b"0123456789"])
    open_before = open_descriptors()
    whole = await blobs.whole("a", 10, None)
    assert whole.pieces == [b"0123", b"4567", b"89"]
    assert whole.crc32 == zlib.crc32(b"0123456789")
    again = await blobs.whole("a", 10, whole.stamp)
    assert (again.pieces, again.crc32, again.stamp) == (whole.pieces, None, whole.stamp)
    blobs.path("a").write_bytes(b"9876543210!")
    other = await blobs.whole("a", 10, whole.stamp)
    assert other.crc32 == zlib.crc32(b"9876543210")
    with pytest.raises(Damaged, match="ends before byte 12"):
        await blobs.whole("a", 12, None)
    with pytest.raises(Damaged, match="blob b is missing"):
        await blobs.whole("b", 1, None)
    assert open_descriptors() == open_before


def test_a_folder_is_not_closed_under_a_thread_that_reads_it() -> None:
    reads, goes_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Entries:
        def __iter__(self) -> Entries:
            return self

        def __next__(self) -> object:
            assert not closed.is_set()
            reads.set()
            assert goes_on.wait(10)
            raise StopIteration

        def close(self) -> None:
            closed.set()

    folder = _Folder(Entries())
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(folder.some)
        assert reads.wait(10)
        folder.leave()
        assert not closed.is_set()
        goes_on.set()
        assert reading.result() == []
    folder.leave()
    assert closed.is_set()
