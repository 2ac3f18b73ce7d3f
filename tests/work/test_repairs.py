"""A damaged segment is made again, whatever has become of its batch, or says for ever why not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate import clock, limits
from nightrate.domain.batch import Batch, Dialect
from nightrate.domain.file import File, FileSource, Upload, UploadState
from nightrate.domain.shard import Reopening
from nightrate.domain.states import BatchState
from nightrate.errors import Damaged, NotReady
from nightrate.service.results import Results
from nightrate.work.closer import Closer
from nightrate.work.planner import Planner
from nightrate.work.upkeep import Upkeep
from tests.work.site import ScriptedEngine, Site, Waits, keys, until, working
from tests.work.workshop import TENANT, Workshop, chat_line, inline, numbered

FOLDER = f"batches/{TENANT}/b1"


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 4
    path.write_bytes(body)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGE: dict[str, Callable[[Path], None]] = {"flip": flip, "cut": cut, "gone": Path.unlink}


def segment(shop: Workshop, shard: int, epoch: int = 1) -> Path:
    return shop.blobs.path(f"{FOLDER}/segments/{shard:08d}.{epoch}")


async def download(shop: Workshop, file_id: str = "batch-b1") -> bytes:
    content = await Results(shop.store, shop.blobs).content(TENANT, file_id)
    return b"".join([piece async for piece in content.stream(0, content.size_bytes)])


async def repaired(shop: Workshop, site: Site) -> Batch:
    """Let them work until nothing is repaired any more."""
    for _ in range(20_000):
        if (batch := await shop.batch()).repair_since is None:
            return batch
        site.runner.wake()
        await clock.sleep(0)
    raise AssertionError("it was not repaired")


async def succeeded(shop: Workshop, engine: ScriptedEngine, count: int = 40) -> bytes:
    """Run a batch to its end; give its results."""
    await shop.plan(numbered(count))
    async with working(shop, engine) as site:
        await site.ended()
    return await download(shop)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("shard", [0, 1])
async def test_a_succeeded_batch_gets_its_answers_back(
    shop: Workshop, engine: ScriptedEngine, damage: str, shard: int
) -> None:
    whole = await succeeded(shop, engine)
    before = await shop.batch()
    other = segment(shop, 1 - shard).read_bytes()
    DAMAGE[damage](segment(shop, shard))
    with pytest.raises(NotReady, match=f"segments/0000000{shard}.1 is .*run again"):
        await download(shop)
    with pytest.raises(NotReady, match="batches/b1 was damaged"):
        await download(shop)
    asked = engine.asked.total()
    async with working(shop, engine) as site:
        batch = await repaired(shop, site)
    assert engine.asked.total() - asked == (16, 24)[shard]
    assert await download(shop) == whole
    assert segment(shop, 1 - shard).read_bytes() == other
    assert await shop.keys() == keys(40)
    assert (batch.state, batch.tally, batch.ended_at) == (
        BatchState.SUCCEEDED,
        before.tally,
        before.ended_at,
    )


async def test_a_running_batch_has_a_gap_until_the_shard_is_made_again(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(40))
    engine.hold("say 39")
    async with working(shop, engine) as site:
        await until(lambda: engine.inside == {"say 39"})
        while not await shop.output():
            await clock.sleep(0)
        first = await download(shop)
        assert first.count(b"\n") == 16
        flip(segment(shop, 0))
        with pytest.raises(NotReady):
            await download(shop)
        assert await download(shop) == b""
        engine.let_go()
        await site.ended()
        assert await shop.keys() == keys(40)
        assert (await download(shop)).startswith(first)
        assert (await shop.batch()).tally.succeeded == 40


async def test_a_killed_repair_goes_on_from_its_journal(
    shop: Workshop, engine: ScriptedEngine, waits: Waits
) -> None:
    whole = await succeeded(shop, engine)
    flip(segment(shop, 1))
    with pytest.raises(NotReady):
        await download(shop)
    asked = engine.asked.total()
    engine.hold("say 39")
    async with working(shop, engine):  # ends without a word, as a killed process does
        await until(lambda: engine.inside == {"say 39"})
        await waits.tick()
    engine.let_go()
    await shop.store.release_all()
    async with working(shop, engine, "two") as site:
        await repaired(shop, site)
    assert engine.asked.total() - asked == 25  # all 24, and the one that was in flight again
    assert await download(shop) == whole


async def test_the_damaged_segment_goes_with_the_next_tidying_and_not_before(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await succeeded(shop, engine)
    flip(segment(shop, 0))
    with pytest.raises(NotReady):
        await download(shop)
    await Upkeep(shop.store, shop.blobs).turn()
    assert segment(shop, 0).exists()
    assert segment(shop, 1).exists()
    async with working(shop, engine) as site:
        await repaired(shop, site)
    assert segment(shop, 0).exists()
    await Upkeep(shop.store, shop.blobs).turn()  # as at the next start
    assert shop.files() == [
        *(f"{FOLDER}/input", f"{FOLDER}/segments/00000000.2"),
        f"{FOLDER}/segments/00000001.1",
    ]


@pytest.mark.parametrize("input_damage", ["gone", "cut"])
async def test_without_its_input_the_damage_stays_and_says_so(
    shop: Workshop, engine: ScriptedEngine, input_damage: str
) -> None:
    whole = await succeeded(shop, engine)
    first = segment(shop, 0).stat().st_size
    flip(segment(shop, 1))
    DAMAGE[input_damage](shop.blobs.path(f"{FOLDER}/input"))
    for _ in range(2):
        with pytest.raises(Damaged, match=r"segments/00000001.1 is damaged.*b1/input"):
            await download(shop)
    assert await shop.store.claimable(clock.now(), 9) == []
    content = await Results(shop.store, shop.blobs).content(TENANT, "batch-b1")
    sound = [piece async for piece in content.stream(0, first)]
    assert b"".join(sound) == whole[:first]
    with pytest.raises(Damaged, match=rf"Bytes {first} to {len(whole) - 1} of the file are lost"):
        await anext(content.stream(0, first + 1))


async def test_an_input_that_is_not_what_was_planned_ends_the_repair(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await succeeded(shop, engine)
    flip(segment(shop, 0))
    path = shop.blobs.path(f"{FOLDER}/input")
    path.write_bytes(path.read_bytes().replace(b"\n", b" ", 1))
    with pytest.raises(NotReady):
        await download(shop)
    async with working(shop, engine) as site:
        batch = await repaired(shop, site)
    assert batch.state is BatchState.SUCCEEDED
    with pytest.raises(Damaged, match=r"segments/00000000.1 .*other lines than were planned"):
        await download(shop)


async def uploaded(shop: Workshop, lines: list[bytes]) -> File:
    """Make an uploaded file exist."""
    data, now = b"".join(lines), clock.now()
    blob = f"files/{TENANT}/f1"
    await shop.blobs.put(blob, [data])
    file = File(
        tenant=TENANT,
        file_id="f1",
        blob=blob,
        display_name=None,
        mime_type="application/jsonl",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        source=FileSource.UPLOADED,
        created_at=now,
        updated_at=now,
        expires_at=clock.later(now, 3600),
    )
    upload = Upload(
        tenant=TENANT,
        upload_id="u1",
        file_id="f1",
        blob=blob,
        display_name=None,
        mime_type="application/jsonl",
        received_bytes=len(data),
        state=UploadState.ACTIVE,
        created_at=now,
    )
    await shop.store.add_upload(upload)
    await shop.store.finish_upload(upload, file)
    return file


@pytest.mark.parametrize("flipped", [False, True])
async def test_an_uploaded_input_must_be_what_was_uploaded(
    shop: Workshop, engine: ScriptedEngine, *, flipped: bool
) -> None:
    file = await uploaded(shop, numbered(20))
    batch = await shop.submit([], "elsewhere")
    batch = msgspec.structs.replace(
        batch, batch_id="b1", input_blob=str(file.blob), input_file_id="f1"
    )
    batch = msgspec.structs.replace(batch, input_bytes=file.size_bytes)
    await shop.store.add_batch(batch)
    planner = Planner(shop.store, shop.blobs, inline, lambda: None)
    await planner._plan(batch)
    async with working(shop, engine) as site:
        await site.ended()
    whole = await download(shop)
    flip(segment(shop, 1))
    if flipped:
        flip(shop.blobs.path(str(file.blob)))
        with pytest.raises(Damaged, match="files/default/f1, is damaged, too: its SHA-256"):
            await download(shop)
        return
    await shop.store.delete_file(TENANT, "f1", clock.now())
    with pytest.raises(NotReady):
        await download(shop)
    await Upkeep(shop.store, shop.blobs).turn()  # the input is kept until the repair has ended
    async with working(shop, engine) as site:
        await repaired(shop, site)
    assert await download(shop) == whole


async def test_a_repair_that_nobody_makes_is_given_up(
    shop: Workshop, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await succeeded(shop, engine)
    flip(segment(shop, 0))
    with pytest.raises(NotReady):
        await download(shop)
    late = clock.later(clock.now(), limits.REPAIR_SECONDS_MAX + 1)
    monkeypatch.setattr("nightrate.clock.now", lambda: late)
    await Upkeep(shop.store, shop.blobs).turn()
    with pytest.raises(Damaged, match="did not run again within 48 hours"):
        await download(shop)


async def test_deleting_a_batch_that_is_repaired_stops_the_work(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await succeeded(shop, engine)
    flip(segment(shop, 0))
    with pytest.raises(NotReady):
        await download(shop)
    engine.hold("say 3")
    async with working(shop, engine) as site:
        await until(lambda: engine.inside == {"say 3"})
        deleted = await shop.store.delete_batch(TENANT, "b1", clock.now())
        assert deleted is not None
        await site.runner.drop(deleted)
        await until(lambda: not engine.inside)
    with pytest.raises(Damaged, match="its batch was deleted"):
        await download(shop)


async def test_answers_of_a_batch_that_ended_early_are_told_to_be_lost(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(40))
    held = {f"say {number}" for number in range(16, 40)}
    engine.hold(*held)
    planner = Planner(shop.store, shop.blobs, inline, lambda: None)
    closer = Closer(shop.store, shop.blobs, planner, owner="closer")
    async with working(shop, engine) as site:
        await until(lambda: segment(shop, 0).exists() and len(engine.inside) == 4)
        batch = await shop.store.cancel_batch(TENANT, "b1", clock.now(), partial_results=True)
        assert batch is not None
        await site.runner.drop(batch)
        while await closer.turn():
            pass
    shown = await shop.batch()
    rest = segment(shop, 1, 2).read_bytes()
    flip(segment(shop, 0))
    asked = engine.asked.total()
    with pytest.raises(NotReady):
        await download(shop)
    while await closer.turn():
        pass
    assert engine.asked.total() == asked
    lines: list[Any] = [msgspec.json.decode(line) for line in await shop.output()]
    assert [line["key"] for line in lines] == keys(40)
    assert {line["error"]["status"] for line in lines[:16]} == {"DATA_LOSS"}
    assert (await download(shop)).endswith(rest)
    after = await shop.batch()
    assert (after.state, after.partial) == (shown.state, shown.partial)
    assert (after.tally.succeeded, after.tally.failed) == (0, 40)


async def test_what_cannot_be_closed_again_stays_damaged(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await shop.plan(numbered(20))
    planner = Planner(shop.store, shop.blobs, inline, lambda: None)
    closer = Closer(shop.store, shop.blobs, planner, owner="closer")
    del engine
    await shop.store.cancel_batch(TENANT, "b1", clock.now(), partial_results=True)
    while await closer.turn():
        pass
    flip(segment(shop, 1))
    path = shop.blobs.path(f"{FOLDER}/input")
    path.write_bytes(path.read_bytes()[:-9] + b"\n" * 9)
    with pytest.raises(NotReady):
        await download(shop)
    path.unlink()
    while await closer.turn():
        pass
    with pytest.raises(Damaged, match=r"segments/00000001.1 .*b1/input is missing"):
        await download(shop)


async def test_both_files_of_a_parted_batch_are_right_again(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    lines = [chat_line(str(number), f"x{number}") for number in range(20)]
    lines[3] = chat_line("3", "x3", n=9)  # more answers than this server gives
    await shop.plan(lines, dialect=Dialect.OPENAI)
    async with working(shop, engine) as site:
        await site.ended()
    before = [await download(shop, name) for name in ("batch-b1", "batch-b1-errors")]
    assert [body.count(b"\n") for body in before] == [19, 1]
    flip(segment(shop, 0))
    with pytest.raises(NotReady):
        await download(shop, "batch-b1-errors")
    async with working(shop, engine) as site:
        await repaired(shop, site)
    after = [await download(shop, name) for name in ("batch-b1", "batch-b1-errors")]
    assert [body.count(b"\n") for body in after] == [19, 1]


async def test_two_reports_of_the_same_damage_make_one_repair(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    await succeeded(shop, engine)
    flip(segment(shop, 0))
    results = Results(shop.store, shop.blobs)
    contents = [await results.content(TENANT, "batch-b1") for _ in range(2)]
    for content in contents:
        with pytest.raises(NotReady, match=r"00000000.1 is damaged"):
            await anext(content.stream(0, 9))
    asked = engine.asked.total()
    async with working(shop, engine) as site:
        await repaired(shop, site)
        with pytest.raises(NotReady, match=r"00000000.1 is damaged"):
            await anext(contents[0].stream(0, 9))  # it still knows the old segment
        assert (await shop.batch()).repair_since is None
    assert engine.asked.total() - asked == 16


async def test_a_shard_without_a_segment_is_not_reopened(shop: Workshop) -> None:
    await shop.plan(numbered(2))
    claim = await shop.claim()
    found = await shop.store.reopen_shard(TENANT, "b1", 0, f"{FOLDER}/segments/0.1", clock.now())
    assert found is Reopening.NEVER  # it has no segment
    await shop.store.release([claim])
