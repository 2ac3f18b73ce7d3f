"""A succeeded batch keeps its segments, and nothing else of its work."""

from __future__ import annotations

from pathlib import Path

from nightrate import clock
from nightrate.domain.batch import Batch
from nightrate.domain.shard import Reopening
from nightrate.work.open_shard import open_shard
from nightrate.work.tidy import tidy_batch
from nightrate.work.upkeep import Upkeep
from tests.work.workshop import TENANT, Workshop, answer, numbered, opened

FOLDER = f"batches/{TENANT}/b1"


async def _succeed(shop: Workshop) -> Batch:
    """Answer a batch of two requests, with all the leftovers that a crash can make."""
    batch = await shop.plan(numbered(2))
    await shop.blobs.put(f"{FOLDER}/plan", [b"kept until the batch is tidied"])
    await shop.blobs.put(f"{FOLDER}/segments/00000000.1", [b"lost a race"])
    await shop.store.release([await shop.claim()])
    shard = await open_shard(await shop.claim(), batch, shop.store, shop.blobs)
    shard.journal.add(0, answer("one"))
    await shard.journal.flush()
    shard.journal.add(1, answer("two"))
    ended = await shard.seal(shop.store, shop.blobs)
    await shard.journal.close()
    assert ended is not None
    return ended


async def test_leftovers_go_when_a_batch_has_ended(tmp_path: Path) -> None:
    async with opened(tmp_path) as shop:
        upkeep = Upkeep(shop.store, shop.blobs)
        await upkeep.turn()
        upkeep.ended(await _succeed(shop))
        assert f"{FOLDER}/journal/00000000.2" in shop.files()
        await upkeep.turn()
        assert shop.files() == [f"{FOLDER}/input", f"{FOLDER}/segments/00000000.2"]
        assert await shop.output() == [b"one", b"two"]


async def test_leftovers_of_an_earlier_process_go_at_the_first_turn(tmp_path: Path) -> None:
    async with opened(tmp_path) as shop:
        await _succeed(shop)
        await Upkeep(shop.store, shop.blobs).turn()
        assert shop.files() == [f"{FOLDER}/input", f"{FOLDER}/segments/00000000.2"]


async def test_a_batch_at_work_keeps_everything(tmp_path: Path) -> None:
    async with opened(tmp_path) as shop:
        batch = await shop.plan(numbered(20))
        await shop.blobs.put(f"{FOLDER}/plan", [b"marks it"])
        shard = await open_shard(await shop.claim(), batch, shop.store, shop.blobs)
        shard.journal.add(0, answer("one"))
        await shard.journal.flush()
        before = shop.files()
        await Upkeep(shop.store, shop.blobs).turn()
        assert shop.files() == before
        await shard.close(shop.blobs, sealed=False)


async def test_what_a_repair_writes_meanwhile_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as shop:
        batch = await _succeed(shop)
        for kind in ("segments", "journal"):
            await shop.blobs.put(f"{FOLDER}/{kind}/00000000.3", [b"of a claim made just now"])
            await shop.blobs.put(f"{FOLDER}/{kind}/notes", [b"of somebody else"])
        await tidy_batch(shop.store, shop.blobs, batch)
        left = [name for name in shop.files() if "/segments/" in name or "/journal/" in name]
        assert left == [
            *(f"{FOLDER}/journal/00000000.3", f"{FOLDER}/journal/notes"),
            *(f"{FOLDER}/segments/00000000.2", f"{FOLDER}/segments/00000000.3"),
            f"{FOLDER}/segments/notes",
        ]


async def test_nothing_is_deleted_while_a_shard_is_made_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as shop:
        batch = await _succeed(shop)
        blob = f"{FOLDER}/segments/00000000.2"
        now = clock.now()
        found = await shop.store.reopen_shard(TENANT, "b1", 0, blob, now)
        assert found is Reopening.AGAIN
        before = shop.files()
        await tidy_batch(shop.store, shop.blobs, batch)
        assert shop.files() == before
