"""What nothing names is deleted after two looks, whatever the clocks on the wall say."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from nightrate import clock, limits, upkeep_limits
from nightrate.domain.batch import BatchForm
from nightrate.errors import StoreFault
from nightrate.testing.store_caches import make_cache
from nightrate.work.orphans import Orphans
from nightrate.work.upkeep import Upkeep
from tests.work.test_upkeep import add_file, add_upload
from tests.work.workshop import TENANT, Workshop, numbered, opened


class Watch:
    """The monotonic clock, set by a test."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        patch.setattr("nightrate.clock.monotonic", lambda: self.seconds)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


@pytest.fixture
async def orphans(shop: Workshop, watch: Watch) -> AsyncIterator[Orphans]:
    assert watch.seconds == 0
    orphans = Orphans(shop.store, shop.blobs)
    yield orphans
    await orphans.close()


async def put(shop: Workshop, *names: str) -> None:
    for name in names:
        await shop.blobs.put(name, [b"x"])


async def test_what_nothing_names_goes_after_two_looks(
    shop: Workshop, orphans: Orphans, watch: Watch
) -> None:
    now = clock.now()
    await add_file(shop, "kept", clock.later(now, 9))
    await add_upload(shop, "growing", now)
    cache = make_cache("c", tenant=TENANT, created_at=now)
    await put(shop, cache.blob)
    await shop.store.add_cache(cache, 9)
    await shop.submit(numbered(1))
    before = shop.files()
    await put(
        shop,
        *("files/t/f.x", "caches/t/c", "caches/default/d"),
        *("batches/t/b/input", "batches/default/b2/segments/00000000.1"),
    )
    everything = shop.files()
    await orphans.turn()
    assert shop.files() == everything
    watch.seconds = limits.ORPHAN_SECONDS - 1
    await orphans.turn()
    assert shop.files() == everything, "their rows may be on their way"
    watch.seconds = limits.ORPHAN_SECONDS
    await orphans.turn()
    assert shop.files() == before


async def test_what_is_named_at_the_second_look_stays(
    shop: Workshop, orphans: Orphans, watch: Watch
) -> None:
    cache = make_cache("c", tenant=TENANT)
    await put(shop, cache.blob)
    await orphans.turn()
    await shop.store.add_cache(cache, 9)
    for _ in range(3):
        watch.seconds += limits.ORPHAN_PASS_SECONDS
        await orphans.turn()
    assert shop.files() == [cache.blob]
    await shop.store.delete_cache(TENANT, "c", 0)
    watch.seconds += limits.ORPHAN_PASS_SECONDS
    await orphans.turn()
    assert shop.files() == [cache.blob], "it counts from the first look that found no row"


async def test_a_jump_of_the_wall_clock_makes_nothing_an_orphan(
    shop: Workshop, orphans: Orphans, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(shop, "batches/default/b/input")
    await orphans.turn()
    far = clock.later(clock.now(), 1_000 * 86_400)
    monkeypatch.setattr("nightrate.clock.now", lambda: far)
    await orphans.turn()
    assert shop.files() == ["batches/default/b/input"]


async def test_a_pass_goes_on_where_the_last_turn_ended(
    shop: Workshop, orphans: Orphans, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCAN_NAMES", 2)
    monkeypatch.setattr(upkeep_limits, "ORPHAN_NAMES", 4)
    asked: list[int] = []
    named = shop.store.named

    async def counted(blobs: Sequence[str]) -> set[str]:
        asked.append(len(blobs))
        return await named(blobs)

    monkeypatch.setattr(shop.store, "named", counted)
    await put(shop, *(f"files/t/f{number}.x" for number in range(9)))
    for looks in (2, 4, 5, 5):
        await orphans.turn()
        assert len(asked) == looks
    assert sum(asked) == 9
    assert max(asked) == 2
    watch.seconds = limits.ORPHAN_SECONDS
    for _ in range(3):
        await orphans.turn()
    assert shop.files() == []


async def test_only_so_many_suspects_are_held_and_the_others_have_their_turn(
    shop: Workshop, orphans: Orphans, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_limits, "ORPHANS_HELD_MAX", 4)
    await put(shop, *(f"files/t/f{number}.x" for number in range(6)))
    left = []
    for _ in range(4):
        await orphans.turn()
        watch.seconds += limits.ORPHAN_SECONDS
        left.append(len(shop.files()))
        assert len(orphans._since) <= 4
    assert left[:2] == [6, 2]
    assert left[-1] == 0


async def test_names_that_no_blob_can_have_are_left_alone(
    shop: Workshop, orphans: Orphans, watch: Watch
) -> None:
    strays = ["files/t/.DS_Store", "files/lost+found/x", "batches/t/READ ME"]
    for name in strays:
        path = shop.path / "blobs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for _ in range(3):
        await orphans.turn()
        watch.seconds += limits.ORPHAN_PASS_SECONDS
    assert sorted(shop.files()) == sorted(strays)


async def test_what_a_row_let_go_of_before_a_crash_goes(shop: Workshop, orphans: Orphans) -> None:
    batch = await shop.submit(numbered(1), form=BatchForm.INLINE)
    await shop.store.cancel_batch(TENANT, "b1", batch.created_at, partial_results=False)
    folder = f"batches/{TENANT}/b1"
    await put(shop, f"{folder}/segments/00000000.1", f"{folder}/journal/00000000.1")
    await orphans.turn()
    assert len(shop.files()) == 3
    await orphans.close()
    await shop.store.sweep_inputs(batch.created_at, batch.created_at, 9)
    shop.store._all("UPDATE batch SET results = 'over'")
    await shop.store.sweep_results(9)
    again = Orphans(shop.store, shop.blobs)
    await again.turn()
    assert shop.files() == []


async def test_a_pass_that_failed_begins_again(
    shop: Workshop, orphans: Orphans, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(shop, "files/t/f.x")
    await orphans.turn()
    watch.seconds = limits.ORPHAN_SECONDS
    with monkeypatch.context() as patch:

        async def refuse(_blobs: Sequence[str]) -> set[str]:
            raise StoreFault("the disk is full")

        patch.setattr(shop.store, "named", refuse)
        with pytest.raises(StoreFault):
            await orphans.turn()
    assert shop.files() == ["files/t/f.x"]
    await orphans.turn()
    assert shop.files() == []


async def test_upkeep_looks_for_orphans(tmp_path: Path, watch: Watch) -> None:
    async with opened(tmp_path) as shop:
        await put(shop, "caches/t/c")
        upkeep = Upkeep(shop.store, shop.blobs)
        await upkeep.turn()
        watch.seconds = limits.ORPHAN_SECONDS
        await upkeep.turn()
        assert shop.files() == []


async def test_upkeep_that_is_ended_lets_go_of_what_it_was_reading(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCAN_NAMES", 1)
    monkeypatch.setattr(upkeep_limits, "ORPHAN_NAMES", 1)
    await put(shop, "caches/t/c", "caches/t/d")
    upkeep = Upkeep(shop.store, shop.blobs)

    class Over(Exception):
        pass

    async def end(_seconds: float) -> None:
        raise Over

    monkeypatch.setattr("nightrate.clock.sleep", end)
    with contextlib.suppress(Over):
        await upkeep.run()
    assert upkeep._orphans._pass is None
