"""Result files are lists of segments: readable while they grow, and never wrong."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from nightrate import clock, limits
from nightrate.dialects.gemini_profiles import Profile
from nightrate.domain.batch import Batch, BatchForm, Kind, Plan
from nightrate.domain.shard import Claim, Segment, ShardPlan, Tally
from nightrate.domain.states import BatchState
from nightrate.errors import NotFound, NotReady
from nightrate.service.files import Files
from nightrate.service.results import Content, Results
from nightrate.store.blobs import Blobs, Reader
from nightrate.store.sqlite import SQLiteStore
from tests.service.home import TENANT, inline


class Bench:
    """A batch whose shards the test seals itself."""

    def __init__(self, path: Path) -> None:
        self.store = SQLiteStore(path / "state.sqlite", inline)
        self.blobs = Blobs(path / "blobs", inline)
        self.results = Results(self.store, self.blobs)

    async def plan(self, shards: int, form: BatchForm = BatchForm.FILE) -> Batch:
        now = clock.now()
        await self.blobs.put("batches/default/b1/input", [b"{}\n"])
        batch = Batch(
            tenant=TENANT,
            batch_id="b1",
            model="m",
            display_name="b",
            kind=Kind(form),
            state=BatchState.SUBMITTED,
            input_blob="batches/default/b1/input",
            input_file_id=None,
            input_bytes=3,
            priority=0,
            request_count=None,
            tally=Tally(),
            created_at=now,
            updated_at=now,
            ended_at=None,
            expires_at=clock.later(now, 3600),
            failure=None,
        )
        await self.store.add_batch(batch)
        plan = Plan(request_count=shards, invalid_count=0, shard_count=shards, faults=())
        cut = iter([ShardPlan(index, index, 1, index + 1, 0, 0) for index in range(shards)])
        assert await self.store.open_batch(batch, plan, cut, now)
        return batch

    async def seal(self, *bodies: bytes, name: str = "") -> list[str]:
        """Seal the next shards, and name their blobs."""
        names = []
        for body in bodies:
            now = clock.now()
            claim = await self.store.claim(TENANT, "b1", "me", now, clock.later(now, 60))
            assert claim is not None
            names.append(await self.seal_claim(claim, body, name))
        return names

    async def seal_claim(self, claim: Claim, body: bytes, name: str = "") -> str:
        """Seal a shard, and name its blob."""
        blob = name or f"batches/default/b1/segments/{claim.plan.index}"
        await self.blobs.put(blob, [body])
        segment = Segment(blob, len(body), zlib.crc32(body))
        await self.store.seal(claim, segment, Tally(succeeded=1), clock.now())
        return blob

    async def content(self) -> Content:
        return await self.results.content(TENANT, "batch-b1")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.store.close()


async def read(content: Content, start: int = 0, stop: int | None = None) -> bytes:
    stop = content.size_bytes if stop is None else stop
    return b"".join([piece async for piece in content.stream(start, stop)])


async def items(bench: Bench, batch: Batch) -> bytes:
    return b"".join([piece async for piece in bench.results.items(batch, Profile.DOCUMENTED)])


async def test_a_result_file_is_its_segments_in_order(bench: Bench) -> None:
    await bench.plan(3)
    await bench.seal(b"one\n", b"two\n", b"three\n")
    content = await bench.content()
    assert await read(content) == b"one\ntwo\nthree\n"
    assert content.size_bytes == 14
    assert content.mime_type == "application/jsonl"


async def test_every_range_is_the_range_of_the_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 3)
    monkeypatch.setattr(limits, "SEGMENT_HELD_BYTES_MAX", 3)
    await bench.plan(4)
    await bench.seal(b"a\n", b"bcdefghi\n", b"jk\n", b"l\n")
    whole = b"a\nbcdefghi\njk\nl\n"
    content = await bench.content()
    for start in range(len(whole) + 1):
        for stop in range(start, len(whole) + 1):
            assert await read(content, start, stop) == whole[start:stop]


async def test_no_piece_is_larger_than_one_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 4)
    monkeypatch.setattr(limits, "SEGMENT_HELD_BYTES_MAX", 4)
    await bench.plan(2)
    await bench.seal(b"x" * 10 + b"\n", b"y\n")
    content = await bench.content()
    sizes = [len(piece) async for piece in content.stream(0, content.size_bytes)]
    assert max(sizes) == 4
    assert sum(sizes) == 13


async def test_a_running_batch_shows_what_is_sealed_and_it_only_grows(bench: Bench) -> None:
    await bench.plan(4)
    views = []
    for body in (b"0\n", b"11\n", b"222\n", b"3333\n"):
        await bench.seal(body)
        content = await bench.content()
        views.append((await read(content), content.etag))
    assert [len(view) for view, _ in views] == [2, 5, 9, 14]
    assert all(later.startswith(earlier) for (earlier, _), (later, _) in pairwise(views))
    assert len({etag for _, etag in views}) == len(views)


async def test_what_follows_a_gap_waits(bench: Bench) -> None:
    await bench.plan(3)
    await bench.seal(b"0\n")
    now = clock.now()
    slow = await bench.store.claim(TENANT, "b1", "slow", now, clock.later(now, 60))
    assert slow is not None
    await bench.seal(b"2\n")
    assert await read(await bench.content()) == b"0\n"


async def test_content_is_what_it_was_when_it_was_asked_for(bench: Bench) -> None:
    await bench.plan(2)
    await bench.seal(b"0\n")
    content = await bench.content()
    await bench.seal(b"1\n")
    assert await read(content) == b"0\n"


async def test_many_segments_are_found_page_by_page(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEGMENTS_PAGE_SIZE", 2)
    await bench.plan(6)
    await bench.seal(*(b"%d\n" % index for index in range(6)))
    assert await read(await bench.content()) == b"0\n1\n2\n3\n4\n5\n"


@pytest.mark.parametrize("read_bytes", [2, 1024])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
async def test_no_byte_of_a_damaged_segment_is_served(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, read_bytes: int, damage: str
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", read_bytes)
    monkeypatch.setattr(limits, "SEGMENT_HELD_BYTES_MAX", read_bytes)
    batch = await bench.plan(3)
    await bench.seal(b"sound\n", b"damaged\n", b"sound too\n")
    bad = "batches/default/b1/segments/1"
    path = bench.blobs.path(bad)
    if damage == "flip":
        body = bytearray(path.read_bytes())
        body[-2] ^= 1
        path.write_bytes(body)
    elif damage == "cut":
        path.write_bytes(b"damage")
    else:
        path.unlink()
    content = await bench.content()
    served: list[bytes] = []

    async def serve() -> None:
        async for piece in content.stream(0, content.size_bytes):
            served.append(piece)  # noqa: PERF401 - what came before the damage counts

    with pytest.raises(NotReady, match=bad):
        await serve()
    assert b"".join(served) == b"sound\n"
    assert await read(content, 14, 24) == b"sound too\n"
    found = await bench.store.get_batch(TENANT, batch.batch_id)
    assert found is not None
    for refused in (bench.content(), bench.results.verify(found), items(bench, found)):
        with pytest.raises(NotReady, match="batches/b1 was damaged"):
            await refused


async def test_before_an_answer_only_the_first_segments_are_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHECKED_FIRST_BYTES", 4)
    monkeypatch.setattr(limits, "READ_BYTES", 2)
    monkeypatch.setattr(limits, "SEGMENT_HELD_BYTES_MAX", 2)
    batch = await bench.plan(3, BatchForm.INLINE)
    _, _, bad = await bench.seal(b"0\n", b"1\n", b"sound\n")
    path = bench.blobs.path(bad)
    path.write_bytes(b"other\n")
    await bench.results.verify(batch)  # damage there is found on the way
    served = b""
    with pytest.raises(NotReady, match=bad):  # noqa: PT012 - what came before the damage counts
        async for piece in bench.results.items(batch, Profile.DOCUMENTED):
            served += piece
    assert served == b"0,\n1"


@pytest.mark.parametrize("damage", ["cut", "gone"])
async def test_what_is_not_there_in_full_is_found_before_an_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(limits, "CHECKED_FIRST_BYTES", 4)
    batch = await bench.plan(3, BatchForm.INLINE)
    _, _, bad = await bench.seal(b"0\n", b"1\n", b"sound\n")
    path = bench.blobs.path(bad)
    path.unlink() if damage == "gone" else path.write_bytes(b"soun\n")
    with pytest.raises(NotReady, match=bad):
        await bench.results.verify(batch)


async def test_the_first_segment_is_checked_however_long_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHECKED_FIRST_BYTES", 1)
    monkeypatch.setattr(limits, "READ_BYTES", 2)
    monkeypatch.setattr(limits, "SEGMENT_HELD_BYTES_MAX", 2)
    monkeypatch.setattr(limits, "CHECK_BYTES", 3)
    batch = await bench.plan(1, BatchForm.INLINE)
    (bad,) = await bench.seal(b"a long segment\n")
    bench.blobs.path(bad).write_bytes(b"a long Segment\n")
    with pytest.raises(NotReady, match=bad):
        await bench.results.verify(batch)


async def test_a_segment_that_was_written_to_is_checked_again(bench: Bench) -> None:
    await bench.plan(1)
    (blob,) = await bench.seal(b"sound\n")
    assert await read(await bench.content()) == b"sound\n"
    path = bench.blobs.path(blob)
    path.write_bytes(b"other\n")
    os.utime(path, ns=(1, 1))  # a clock that stands still must not hide it
    with pytest.raises(NotReady, match=blob):
        await read(await bench.content())


async def test_a_segment_is_checked_again_after_an_hour(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.plan(1)
    (blob,) = await bench.seal(b"sound\n")
    now = clock.monotonic()
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: now)
    assert await read(await bench.content()) == b"sound\n"
    path = bench.blobs.path(blob)
    status = path.stat()
    path.write_bytes(b"other\n")  # as a disk spoils it: nobody has written
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    now += limits.SEGMENTS_VERIFIED_SECONDS
    with pytest.raises(NotReady, match=blob):
        await read(await bench.content())


async def test_a_segment_that_is_checked_is_read_once_and_sent_in_pieces(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 4)
    await bench.plan(1)
    await bench.seal(b"0123456789\n")
    content = await bench.content()
    reads: list[int] = []
    pread = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        reads.append(length)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert [piece async for piece in content.stream(5, 10)] == [b"567", b"89"]
    assert reads == [4, 4, 3], "all of it is checked"
    reads.clear()
    assert [piece async for piece in content.stream(5, 10)] == [b"5678", b"9"]
    assert reads == [4, 1], "what was found sound is not read for a part of it"
    reads.clear()
    assert [piece async for piece in content.stream(0, 11)] == [b"0123", b"4567", b"89\n"]
    assert reads == [4, 4, 3]


@pytest.mark.parametrize("size", [3, 1024])
async def test_what_the_disk_cannot_read_is_damage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", size)
    monkeypatch.setattr(limits, "SEGMENT_HELD_BYTES_MAX", size)
    await bench.plan(1)
    (blob,) = await bench.seal(b"sound\n")
    content = await bench.content()

    async def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Blobs, "whole", broken)
    for name in ("read", "checksum"):
        monkeypatch.setattr(Reader, name, broken)
    with pytest.raises(NotReady, match=f"{blob} is damaged: Input/output error"):
        await read(content)


async def test_a_segment_is_checked_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENTS_VERIFIED_MAX", 1)
    await bench.plan(2)
    await bench.seal(b"0\n", b"1\n")
    content = await bench.content()
    assert await read(content, 2, 4) == b"1\n"
    checked: list[bytes] = []
    crc32 = zlib.crc32

    def noted(data: bytes, value: int = 0) -> int:
        checked.append(data)
        return crc32(data, value)

    monkeypatch.setattr(zlib, "crc32", noted)
    assert await read(content, 2, 4) == b"1\n"
    assert checked == []
    assert await read(content) == b"0\n1\n"  # reading 0 makes room by forgetting 1
    assert checked == [b"0\n", b"1\n"]


@pytest.mark.parametrize("read_bytes", [1, 2, 7, 1024])
async def test_items_stand_in_order_with_commas_between_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", read_bytes)
    monkeypatch.setattr(limits, "SEGMENT_HELD_BYTES_MAX", read_bytes)
    batch = await bench.plan(3, BatchForm.INLINE)
    await bench.seal(b'{"a":1}\n{"a":"x,\\ny"}\n', b'{"a":3}\n', b'{"a":4}\n{"a":5}\n')
    found = msgspec.json.decode(b"[" + await items(bench, batch) + b"]")
    assert found == [{"a": 1}, {"a": "x,\ny"}, {"a": 3}, {"a": 4}, {"a": 5}]


async def test_a_batch_without_results_has_no_items(bench: Bench) -> None:
    batch = await bench.plan(1, BatchForm.INLINE)
    assert await items(bench, batch) == b""


async def test_an_uploaded_file_is_read_as_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 4)
    monkeypatch.setattr(limits, "SEGMENT_HELD_BYTES_MAX", 4)
    files = Files(bench.store, bench.blobs)
    upload = await files.start_upload(TENANT, display_name=None, mime_type="jsonl", file_id="mine")

    async def body() -> AsyncIterator[bytes]:
        yield b"0123456789"

    await files.append(upload.upload_id, 0, body())
    file = await files.finalize(upload.upload_id)
    content = await bench.results.content(TENANT, "mine")
    assert (content.size_bytes, content.mime_type) == (10, "jsonl")
    assert content.etag == f'"{file.sha256}"'
    assert await read(content) == b"0123456789"
    assert await read(content, 3, 9) == b"345678"


async def test_an_empty_file_has_no_bytes(bench: Bench) -> None:
    files = Files(bench.store, bench.blobs)
    upload = await files.start_upload(TENANT, display_name=None, mime_type="jsonl", file_id="mine")
    await files.finalize(upload.upload_id)
    content = await bench.results.content(TENANT, "mine")
    assert (content.size_bytes, await read(content)) == (0, b"")


async def test_results_of_others_and_of_nobody_are_not_found(bench: Bench) -> None:
    await bench.plan(1)
    await bench.seal(b"0\n")
    for tenant, file_id in (("other", "batch-b1"), (TENANT, "batch-b2"), (TENANT, "b1")):
        with pytest.raises(NotFound):
            await bench.results.content(tenant, file_id)
