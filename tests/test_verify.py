"""``verify`` finds whatever is not what was written, says what to do, and changes nothing else."""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from nightrate import clock
from nightrate.domain.cache import Cache
from nightrate.domain.file import File
from nightrate.errors import StoreFault
from nightrate.service.vault import Vault
from nightrate.store.blobs import Reader
from nightrate.store.directory import open_directory
from nightrate.testing.store_samples import make_upload
from nightrate.verify import KEY_FILES, Flaw, Summary, verify
from nightrate.work.open_shard import open_shard
from tests.work.site import ScriptedEngine, Waits, working
from tests.work.test_repairs import cut, flip, uploaded
from tests.work.workshop import TENANT, answer, numbered, opened

FOLDER = f"batches/{TENANT}/b1"
LIVE = f"batches/{TENANT}/live"


async def look(
    path: Path, *, repair: bool = False, watch: Callable[[Summary], None] = lambda _summary: None
) -> tuple[list[Flaw], Summary]:
    flaws: list[Flaw] = []
    summary = await verify(path, repair=repair, tell=flaws.append, watch=watch)
    return flaws, summary


@pytest.fixture
async def data(tmp_path: Path, waits: Waits) -> Path:
    """Make a directory that holds one of everything, as a killed server leaves it."""
    del waits
    directory = open_directory(tmp_path)
    Vault(directory.keys)
    async with opened(tmp_path) as shop:
        await uploaded(shop, numbered(3))
        await shop.blobs.put(f"caches/{TENANT}/c1", [b"{}"])
        await shop.store.add_cache(_cache(), 9)
        await shop.plan(numbered(40))
        async with working(shop, ScriptedEngine()) as site:
            await site.ended()
        batch = await shop.plan(numbered(20), "live")
        await shop.blobs.put(f"{LIVE}/plan", [(tmp_path / "plan").read_bytes()])
        shard = await open_shard(await shop.claim(batch_id="live"), batch, shop.store, shop.blobs)
        for index in range(3):
            shard.journal.add(index, answer(f"answer {index}"))
        await shard.journal.flush()
        now = clock.now()
        await shop.store.beat([shard.beat()], now, now + 1)
        await shard.close(shop.blobs, sealed=False)
    (tmp_path / "plan").unlink()
    directory.unlock()
    return tmp_path


def _cache() -> Cache:
    now = clock.now()
    return Cache(
        tenant=TENANT,
        cache_id="c1",
        model="m",
        display_name=None,
        blob=f"caches/{TENANT}/c1",
        size_bytes=2,
        token_count=1,
        created_at=now,
        updated_at=now,
        expires_at=clock.later(now, 3600),
        crc32=zlib.crc32(b"{}"),
    )


async def test_a_sound_directory_is_sound_and_stays_as_it_is(data: Path) -> None:
    def state() -> dict[str, bytes]:
        return {
            str(path.relative_to(data)): path.read_bytes()
            for path in (data / "blobs").rglob("*")
            if path.is_file()
        }

    before = state()
    seen: list[int] = []
    flaws, summary = await look(data, repair=True, watch=lambda so_far: seen.append(so_far.bytes))
    assert flaws == []
    assert (summary.flaws, summary.orphans.count) == (0, 0)
    assert summary.blobs == 1 + 1 + 2 + 2 + 1  # file, cache, inputs, segments, journal
    assert seen == sorted(seen)
    assert seen[-1] == summary.bytes > 0
    assert state() == before


DAMAGE: dict[str, Callable[[Path], None]] = {"flip": flip, "cut": cut, "gone": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("shard", [0, 1])
async def test_a_damaged_segment_is_named_and_made_again_on_demand(
    data: Path, damage: str, shard: int
) -> None:
    blob = f"{FOLDER}/segments/{shard:08d}.1"
    DAMAGE[damage](data / "blobs" / blob)
    (flaw,), summary = await look(data)
    assert (flaw.blob, flaw.tenant, flaw.batch, flaw.shard) == (blob, TENANT, "b1", shard)
    assert "--repair" in flaw.remedy
    assert (summary.flaws, summary.reopened) == (1, 0)
    (flaw,), summary = await look(data, repair=True)
    assert flaw.blob == blob
    assert summary.reopened == 1
    (flaw,), summary = await look(data, repair=True)  # until the server has run
    assert (flaw.blob, flaw.found, summary.reopened) == (blob, "it is damaged", 0)
    async with opened(data) as shop:
        async with working(shop, ScriptedEngine()) as site:
            while (await shop.batch()).repair_since is not None:
                site.runner.wake()
                await clock.sleep(0)
        assert len(await shop.keys()) == 40


async def test_a_segment_with_lines_too_few_is_damage_though_its_checksum_fits(
    data: Path,
) -> None:
    database = sqlite3.connect(data / "state.sqlite")
    with database:
        database.execute("UPDATE shard SET request_count = 15 WHERE batch_id = 'b1' AND shard = 0")
    database.close()
    flaws, _ = await look(data)
    assert "16 lines of 15 requests" in flaws[0].found
    assert {flaw.blob for flaw in flaws[1:]} == {"state.sqlite"}


async def test_what_cannot_be_made_again_is_told_so_for_ever(data: Path) -> None:
    flip(data / f"blobs/{FOLDER}/segments/00000000.1")
    (data / f"blobs/{FOLDER}/input").unlink()
    for repair in (True, False, True):
        (flaw,), summary = await look(data, repair=repair)
        assert "restore it from a backup, or delete the batch" in flaw.remedy
        assert summary.reopened == 0
    assert "damaged for good" in flaw.found


@pytest.mark.parametrize(
    ("blob", "damage", "found"),
    [
        (f"files/{TENANT}/f1", "flip", "SHA-256"),
        (f"files/{TENANT}/f1", "cut", "bytes, not"),
        (f"files/{TENANT}/f1", "gone", "it is missing"),
        (f"caches/{TENANT}/c1", "flip", "CRC-32"),
        (f"caches/{TENANT}/c1", "cut", "1 bytes, not 2"),
        (f"caches/{TENANT}/c1", "gone", "it is missing"),
        (f"{LIVE}/input", "cut", "bytes, not"),
        (f"{LIVE}/input", "gone", "it is missing"),
        (f"{LIVE}/plan", "flip", "plan"),
        (f"{LIVE}/journal/00000000.1", "flip", "can be read up to byte"),
        (f"{LIVE}/journal/00000000.1", "cut", "can be read up to byte"),
        (f"{LIVE}/journal/00000000.1", "gone", "it is missing"),
    ],
)
async def test_every_damaged_blob_is_named_with_what_to_do(
    data: Path, blob: str, damage: str, found: str
) -> None:
    DAMAGE[damage](data / "blobs" / blob)
    (flaw,), summary = await look(data)
    assert flaw.blob == blob
    assert found in flaw.found
    assert flaw.remedy
    assert summary.orphans.count == 0


async def test_what_the_disk_cannot_read_is_a_flaw(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Reader.feed

    async def broken(self: Reader, take: Callable[[bytes], object], *place: int) -> None:
        if self._path.parent.name == "segments":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        await feed(self, take, *place)

    monkeypatch.setattr(Reader, "feed", broken)
    flaws, _ = await look(data)
    assert [flaw.shard for flaw in flaws] == [0, 1]
    assert {flaw.found for flaw in flaws} == {"it cannot be read: Input/output error"}


async def test_an_upload_under_way_must_hold_what_was_acknowledged(data: Path) -> None:
    upload = make_upload("u9", "f9")
    async with opened(data) as shop:
        await shop.store.add_upload(upload)
        await shop.store.grow_upload(upload, 5, clock.now())
    (flaw,), _ = await look(data)
    assert (flaw.blob, flaw.found) == (upload.blob, "it is missing")


async def test_what_nothing_names_is_counted_and_no_flaw(data: Path) -> None:
    for name in (
        *(f"files/{TENANT}/forgotten", f"{FOLDER}/segments/00000000.9", f"{FOLDER}/journal/x"),
        *("batches/default/unknown/input", "elsewhere"),
    ):
        path = data / "blobs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    flaws, summary = await look(data)
    orphans = summary.orphans
    assert flaws == []
    assert (orphans.count, orphans.bytes, orphans.young) == (5, 25, 5)
    assert f"{FOLDER}/segments/00000000.9" in orphans.names


@pytest.mark.parametrize("name", KEY_FILES)
async def test_keys_are_checked_and_never_made(data: Path, name: str) -> None:
    path = data / "keys" / name
    cut(path)
    path.write_bytes(path.read_bytes()[:20])
    (flaw,), _ = await look(data)
    assert name in flaw.found
    path.unlink()
    (flaw,), _ = await look(data)
    assert (flaw.blob, flaw.found) == (f"keys/{name}", "it is missing")
    assert not path.exists()


async def test_a_database_that_cannot_be_opened_is_damage(data: Path) -> None:
    path = data / "state.sqlite"
    path.write_bytes(b"rubbish" * 1_000)
    (flaw,), _ = await look(data)
    assert (flaw.blob, "backup" in flaw.remedy) == ("state.sqlite", True)
    path.unlink()
    (flaw,), _ = await look(data)
    assert flaw.found == "it is missing"
    assert not path.exists()


async def test_what_sqlite_finds_in_depth_is_told(data: Path) -> None:
    """An index that lacks a row is found by the whole check only."""
    database = sqlite3.connect(data / "state.sqlite")
    database.execute("PRAGMA writable_schema = ON")
    with database:
        database.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, '''pending''', '''sealed''')"
            " WHERE name = 'shard_pending'"
        )
    database.close()
    flaws, _ = await look(data)
    assert {flaw.blob for flaw in flaws} == {"state.sqlite"}


async def test_what_cannot_be_looked_at_is_refused(data: Path, tmp_path: Path) -> None:
    held = open_directory(data)
    with pytest.raises(StoreFault, match="in use by another nightrate"):
        await look(data)
    held.unlock()
    with pytest.raises(StoreFault, match="There is no data directory"):
        await look(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    (data / "format").write_bytes(b"of another time")
    with pytest.raises(StoreFault, match="written by another version"):
        await look(data)


async def test_files_out_of_sight_are_not_orphans(data: Path) -> None:
    async with opened(data) as shop:
        file: File | None = await shop.store.get_file(TENANT, "f1", clock.now())
        assert file is not None
        await shop.store.delete_file(TENANT, "f1", clock.now())
        await shop.store.delete_batch(TENANT, "b1", clock.now())
    flaws, summary = await look(data)
    assert (flaws, summary.orphans.count) == ([], 0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    return Waits(monkeypatch)
