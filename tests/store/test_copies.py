"""A copy of a data directory holds every byte that its database names, and nothing newer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from nightrate import clock, upkeep_limits
from nightrate.domain.backup import Progress
from nightrate.domain.document import Document
from nightrate.errors import BadRequest, Damaged, Fault, StoreFault
from nightrate.service.vault import Vault
from nightrate.store.copies import back_up, restore
from nightrate.store.directory import open_directory
from nightrate.tools.index import Index
from nightrate.work.open_shard import open_shard
from tests.work.test_upkeep import add_file, add_upload, succeed
from tests.work.workshop import TENANT, Workshop, answer, line, numbered, opened

JOURNAL = f"batches/{TENANT}/live/journal/00000000.1"


def run(steps: Iterator[Progress]) -> Progress:
    """Copy to the end."""
    *_, last = steps
    assert last.done
    return last


def blobs_of(path: Path) -> dict[str, bytes]:
    """Give every blob of a directory."""
    root = path / "blobs"
    return {
        str(found.relative_to(root)): found.read_bytes()
        for found in root.rglob("*")
        if found.is_file()
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a data directory in use, with its format and its keys."""
    directory = open_directory(tmp_path / "data")
    Vault(directory.keys)
    directory.unlock()
    return directory.path


async def fill(shop: Workshop) -> None:
    """Make one of each: results, a file, an upload that grows, a journal that grows, an orphan."""
    now = clock.now()
    await succeed(shop)
    await add_file(shop, "input", clock.later(now, 3600))
    upload = await add_upload(shop, "growing", now)
    shop.blobs.path(upload.blob).write_bytes(b"abc and what is not counted")
    await shop.plan(numbered(20), "live")
    claim = await shop.claim(batch_id="live")
    shard = await open_shard(claim, await shop.batch("live"), shop.store, shop.blobs)
    shard.journal.add(0, answer("zero"))
    await shard.journal.flush()
    await shop.store.beat([shard.beat()], now, clock.later(now, 60))
    shard.journal.add(1, answer("one"))
    await shard.journal.flush()
    await shard.close(shop.blobs, sealed=False)
    await shop.blobs.put(f"batches/{TENANT}/live/segments/00000000.9", [b"of an epoch to come"])


async def test_a_backup_holds_what_the_database_names_and_nothing_else(
    tmp_path: Path, data: Path
) -> None:
    async with opened(data) as shop:
        await fill(shop)
        done = run(back_up(data, tmp_path / "copy"))
        wanted = blobs_of(data)
        del wanted[f"batches/{TENANT}/live/segments/00000000.9"]
        wanted["files/growing"] = b"abc"
        assert blobs_of(tmp_path / "copy") == wanted
        assert (done.damaged, done.there, done.linked, done.copied) == (0, 0, 5, 2)
        assert done.done_bytes == sum(map(len, wanted.values()))
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
    for name in ("secrets.key", "pepper.key", "signing.pem"):
        copied = tmp_path / "copy" / "keys" / name
        assert copied.read_bytes() == (data / "keys" / name).read_bytes()
        assert copied.stat().st_mode & 0o777 == 0o600


async def test_what_grows_is_never_linked(tmp_path: Path, data: Path) -> None:
    async with opened(data) as shop:
        await fill(shop)
        run(back_up(data, tmp_path / "copy"))
        copied = tmp_path / "copy" / "blobs"
        for name in ("files/growing", JOURNAL):
            assert (copied / name).stat().st_ino != shop.blobs.path(name).stat().st_ino
        assert (copied / "files/input").samefile(shop.blobs.path("files/input"))


async def test_where_nothing_can_be_linked_all_is_copied_and_synced(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(18, "another disk")

    synced: set[str] = set()
    sync = os.fdatasync

    def note(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fdatasync", note)
    async with opened(data) as shop:
        await fill(shop)
        done = run(back_up(data, tmp_path / "copy"))
        assert (done.linked, done.copied) == (0, 7)
    names = {Path(name).name for name in blobs_of(tmp_path / "copy")}
    assert {f"{name}.part" for name in names} | {"state.sqlite.new"} <= synced


async def test_a_restored_directory_is_worked_in_as_if_nothing_had_happened(
    tmp_path: Path, data: Path
) -> None:
    async with opened(data) as shop:
        await fill(shop)
        run(back_up(data, tmp_path / "copy"))
        wanted = await shop.output()
    run(restore(tmp_path / "copy", tmp_path / "new"))
    open_directory(tmp_path / "new").unlock()
    async with opened(tmp_path / "new") as shop:
        assert await shop.output() == wanted
        await shop.store.release_all()
        claim = await shop.claim("b", "live")
        assert claim.epoch == 2
        shard = await open_shard(claim, await shop.batch("live"), shop.store, shop.blobs)
        assert shard.journal.count == 2, "what was synced beyond the last word of its owner counts"
        for index in range(2, claim.plan.request_count):
            shard.journal.add(index, answer(f"{index}"))
        await shard.seal(shop.store, shop.blobs)
        await shard.close(shop.blobs, sealed=True)
        assert (await shop.output("live"))[:3] == [b"zero", b"one", b"2"]
        upload = await shop.store.get_upload("growing")
        assert upload is not None
        assert upload.received_bytes == 3
    assert not (tmp_path / "new" / "blobs").samefile(tmp_path / "copy" / "blobs")
    for name in blobs_of(tmp_path / "new").keys() & blobs_of(tmp_path / "copy").keys():
        new, old = (tmp_path / place / "blobs" / name for place in ("new", "copy"))
        assert not new.samefile(old), "a restored server shares nothing with the backup"


async def test_the_database_is_copied_as_of_one_moment_while_others_write(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_limits, "BACKUP_PAGES", 1)
    async with opened(data) as shop:
        for number in range(40):
            await shop.plan([line("x" * 900)], f"b{number}")
        steps = back_up(data, tmp_path / "copy")
        next(steps)
        for number in range(40, 80):
            await shop.plan([line("x" * 900)], f"b{number}")
        done = run(steps)
        assert done.damaged == 0
    run(restore(tmp_path / "copy", tmp_path / "new"))
    async with opened(tmp_path / "new") as shop:
        assert len(shop.store._all("SELECT 1 FROM batch")) == 40
        assert len(shop.files()) == 40


async def test_a_second_backup_into_the_same_place_brings_what_is_new(
    tmp_path: Path, data: Path
) -> None:
    async with opened(data) as shop:
        await fill(shop)
        run(back_up(data, tmp_path / "copy"))
        await add_file(shop, "more", clock.later(clock.now(), 3600))
        done = run(back_up(data, tmp_path / "copy"))
    assert (done.there, done.linked, done.copied) == (5, 1, 2)
    run(restore(tmp_path / "copy", tmp_path / "new"))
    assert "files/more" in blobs_of(tmp_path / "new")


async def test_a_backup_that_breaks_off_leaves_the_earlier_one_whole(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_limits, "BACKUP_BLOBS", 1)
    async with opened(data) as shop:
        await fill(shop)
        run(back_up(data, tmp_path / "copy"))
        before = await shop.batch()
        await shop.store.delete_batch(TENANT, "b1", clock.now())
        steps = back_up(data, tmp_path / "copy")
        while next(steps).doing != "copying blobs":
            pass
        steps.close()
    run(restore(tmp_path / "copy", tmp_path / "new"))
    async with opened(tmp_path / "new") as shop:
        assert await shop.batch() == before


async def test_a_first_backup_or_a_restore_that_breaks_off_is_used_by_nobody(
    tmp_path: Path, data: Path
) -> None:
    async with opened(data) as shop:
        await fill(shop)
    steps = back_up(data, tmp_path / "copy")
    next(steps)
    steps.close()
    with pytest.raises(BadRequest, match="not finished"):
        run(restore(tmp_path / "copy", tmp_path / "new"))
    run(back_up(data, tmp_path / "copy"))
    steps = restore(tmp_path / "copy", tmp_path / "new")
    next(steps)
    steps.close()
    for place in ("copy", "new"):
        with pytest.raises(StoreFault, match="nightrate restore"):
            open_directory(tmp_path / place)


async def test_missing_and_short_blobs_are_told_and_the_others_copied(
    tmp_path: Path, data: Path
) -> None:
    async with opened(data) as shop:
        await fill(shop)
        shop.blobs.path("files/input").unlink()
        shop.blobs.path(JOURNAL).write_bytes(b"n")
    done = run(back_up(data, tmp_path / "copy"))
    assert (done.damaged, done.first_damaged) == (2, "files/input")
    assert "files/growing" in blobs_of(tmp_path / "copy")


async def test_a_damaged_database_is_not_copied(tmp_path: Path, data: Path) -> None:
    async with opened(data) as shop:
        for number in range(30):
            await shop.plan(numbered(20), f"b{number}")
    run(back_up(data, tmp_path / "copy"))
    for path in (data / "state.sqlite", tmp_path / "copy" / "state.sqlite"):
        content = bytearray(path.read_bytes())
        for page in range(8192, len(content), 4096):
            content[page : page + 64] = b"\xff" * 64
        path.write_bytes(content)
    for steps in (back_up(data, tmp_path / "two"), restore(tmp_path / "copy", tmp_path / "new")):
        with pytest.raises(Damaged, match="damaged"):
            run(steps)


async def inline(call: Callable[[], Any]) -> Any:
    return call()


async def indexed(path: Path) -> list[str]:
    """Give the addresses in the index of a directory."""
    index = Index(path / "search.sqlite", inline, inline)
    try:
        return [document.uri for document in await index.documents()]
    finally:
        await index.close()


async def test_the_index_of_documents_is_copied_while_it_is_open(
    tmp_path: Path, data: Path
) -> None:
    index = Index(data / "search.sqlite", inline, inline)
    async with opened(data) as shop:
        await fill(shop)
    await index.put(Document("file:///one", "One", "The first."))
    run(back_up(data, tmp_path / "copy"))  # it is open, and its newest page is in its log
    await index.put(Document("file:///two", "Two", "The second."))
    await index.close()
    run(restore(tmp_path / "copy", tmp_path / "new"))
    assert await indexed(tmp_path / "new") == ["file:///one"]
    run(back_up(data, tmp_path / "copy"))
    assert await indexed(tmp_path / "copy") == ["file:///one", "file:///two"]
    (data / "search.sqlite").unlink()
    run(back_up(data, tmp_path / "copy"))
    assert not (tmp_path / "copy" / "search.sqlite").exists()


async def test_a_damaged_index_is_told_and_the_last_whole_one_is_kept(
    tmp_path: Path, data: Path
) -> None:
    async with opened(data) as shop:
        await fill(shop)
    index = Index(data / "search.sqlite", inline, inline)
    await index.put(Document("file:///one", "One", "The first."))
    await index.close()
    run(back_up(data, tmp_path / "copy"))
    (data / "search.sqlite").write_bytes(b"this is no database of any kind" * 400)
    done = run(back_up(data, tmp_path / "copy"))
    assert (done.damaged, done.first_damaged) == (1, "search.sqlite")
    assert await indexed(tmp_path / "copy") == ["file:///one"]
    assert not (tmp_path / "copy" / "search.sqlite.new").exists()


def full(path: Path) -> None:
    path.mkdir()
    (path / "letter").write_text("Dear aunt")


def a_file(path: Path) -> None:
    path.write_text("x")


@pytest.mark.parametrize("make", [full, a_file])
def test_a_place_that_holds_something_else_is_refused(
    tmp_path: Path, data: Path, make: Callable[[Path], None]
) -> None:
    with closing(apsw.Connection(str(data / "state.sqlite"))):
        make(tmp_path / "copy")
    for steps in (back_up(data, tmp_path / "copy"), restore(tmp_path / "copy", data)):
        with pytest.raises(BadRequest):
            run(steps)


async def test_the_backup_of_another_server_is_not_replaced(tmp_path: Path, data: Path) -> None:
    async with opened(data):
        run(back_up(data, tmp_path / "copy"))
    directory = open_directory(tmp_path / "other")
    Vault(directory.keys)
    directory.unlock()
    async with opened(directory.path):
        with pytest.raises(BadRequest, match="another server"):
            run(back_up(directory.path, tmp_path / "copy"))


async def test_a_backup_of_an_unknown_version_is_not_restored(tmp_path: Path, data: Path) -> None:
    async with opened(data):
        run(back_up(data, tmp_path / "copy"))
    (tmp_path / "copy" / "format").write_text("nightrate data, format 999\n")
    with pytest.raises(Fault, match="another version"):
        run(restore(tmp_path / "copy", tmp_path / "new"))
