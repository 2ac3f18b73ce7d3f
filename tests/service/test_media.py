"""Files that prompts name are found for their tenant, and held only while somebody is asked."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from nightrate import clock, limits
from nightrate.dialects.lines import RawLine
from nightrate.domain.batch import Kind
from nightrate.domain.cache import Reach
from nightrate.domain.file import File, FileSource
from nightrate.domain.generation import Capability, Failure, Message, Outcome, Prompt, Reply
from nightrate.domain.grounding import Grounding, LookupWish
from nightrate.domain.medium import Medium
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import Code, EngineDown, StoreFault
from nightrate.service.execute import Executor
from nightrate.service.grounding import Grounder
from nightrate.service.lane import Lane
from nightrate.service.media import Media, Room, Shelf
from nightrate.service.models import Models
from nightrate.testing.store_samples import END, NOW, OURS, THEIRS, make_upload
from nightrate.tools.search import EmptySearch
from tests.service.home import Home, opened
from tests.service.lanes import lane_of

MODEL = Models({"*": "seer"}).resolve("gemini-2.5-flash")
REACH = Reach(OURS, NOW)
BYTES = bytes(range(256)) * 3
DATA = base64.b64encode(BYTES).decode()


class Seer(EchoEngine):
    """Reads pictures and documents, and keeps what it was asked."""

    name = "seer"
    media = ("image/*", "application/pdf")

    def __init__(self) -> None:
        super().__init__(EchoOptions(requests=8))
        self.asked: list[Prompt] = []
        self.gate: asyncio.Event | None = None
        self.came = asyncio.Event()
        self.counts: list[EngineDown] = []

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.MEDIA}

    async def generate(self, prompt: Prompt) -> Reply:
        self.asked.append(prompt)
        self.came.set()
        if self.gate is not None:
            await self.gate.wait()
        return await super().generate(prompt)

    async def count_tokens(self, prompt: Prompt) -> int:
        if self.counts:
            raise self.counts.pop()
        self.asked.append(prompt)
        return 7


class Desk:
    """An executor over a store with files, and an engine that reads some."""

    def __init__(self, home: Home, lane: Lane, engine: Seer) -> None:
        self.home, self.lane, self.engine = home, lane, engine
        self.media = Media(Shelf(home.store, home.blobs))
        self.executor = Executor({"seer": lane}, None, Grounder(EmptySearch()), self.media)

    async def keep(self, file_id: str = "f1", content: bytes = BYTES, **more: Any) -> File:
        file = File(
            **{
                "tenant": OURS,
                "file_id": file_id,
                "blob": f"files/{OURS}/{file_id}",
                "display_name": None,
                "mime_type": "image/png",
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "source": FileSource.UPLOADED,
                "created_at": NOW,
                "updated_at": NOW,
                "expires_at": END,
                **more,
            }
        )
        if file.blob is not None:
            await self.home.blobs.put(file.blob, [content])
        await add_file(self.home, file)
        return file

    async def live(self, prompt: Prompt, reach: Reach | None = REACH) -> Reply | Failure:
        return await self.executor.live(MODEL, prompt, reach)

    async def row(self, prompt_body: Any, reach: Reach | None = REACH) -> Any:
        data = msgspec.json.encode({"key": "k", "request": prompt_body})
        rows = self.executor.rows(self.lane, MODEL.name, Kind(), reach=reach)
        answer = await rows.answer(RawLine(1, 0, len(data) + 1, data), "b1-0")
        return msgspec.json.decode(answer.line)


async def add_file(home: Home, file: File) -> None:
    upload = structs.replace(make_upload(f"u-{file.file_id}", file.file_id), tenant=file.tenant)
    await home.store.add_upload(upload)
    await home.store.finish_upload(upload, file)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    engine = Seer()
    async with opened(tmp_path) as home, lane_of(engine, "seer") as lane:
        yield Desk(home, lane, engine)


def naming(*file_ids: str, **more: Any) -> Prompt:
    media = tuple(
        Medium(field=f"contents[0].parts[{place}].fileData", file_id=file_id, **more)
        for place, file_id in enumerate(file_ids)
    )
    return Prompt(messages=(Message("user", "look"),), media=media)


def body_of(*parts: Any) -> Any:
    return {"contents": [{"parts": [{"text": "look"}, *parts]}]}


def failed(outcome: Outcome) -> tuple[Code, str | None, str]:
    assert isinstance(outcome, Failure)
    assert outcome.field is None or outcome.message.startswith(f"{outcome.field}: ")
    return outcome.code, outcome.field, outcome.message


FIELD = "contents[0].parts[0].fileData"


async def test_a_file_is_read_for_the_engine(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightrate.service.media._PIECE_BYTES", 99)
    await desk.keep("f1")
    await desk.keep("f2", b"x", mime_type="application/pdf")
    assert isinstance(await desk.live(naming("f1", "f2")), Reply)
    (asked,) = desk.engine.asked
    assert [(one.mime_type, one.data) for one in asked.media] == [
        ("image/png", DATA),
        ("application/pdf", "eA=="),
    ]


async def test_live_streamed_counted_and_of_a_batch_are_read_alike(desk: Desk) -> None:
    await desk.keep()
    part = {"fileData": {"fileUri": "files/f1"}}
    await desk.live(naming("f1"))
    async with aclosing(desk.executor.stream(MODEL, naming("f1"), REACH)) as pieces:
        assert isinstance([piece async for piece in pieces][-1], Reply)
    assert await desk.executor.count_tokens(MODEL, naming("f1"), REACH) == 7
    assert "response" in await desk.row(body_of(part))
    searching = structs.replace(naming("f1"), lookup=LookupWish("tools[0].googleSearch"))
    grounded = await desk.live(searching)
    assert isinstance(grounded, Reply)
    assert isinstance(grounded.grounding, Grounding)
    twice = structs.replace(naming("f1"), candidates=2)
    several = await desk.live(twice)
    assert isinstance(several, Reply)
    assert len(several.candidates) == 2
    # The stream of the echo engine goes a way of its own.
    assert [prompt.media[0].data for prompt in desk.engine.asked] == [DATA] * 6


async def test_bytes_that_come_with_the_prompt_need_no_file(desk: Desk) -> None:
    inline = {"inlineData": {"mimeType": "image/png", "data": DATA}}
    bare = Executor({"seer": desk.lane})
    rows = bare.rows(desk.lane, MODEL.name, Kind())
    line = msgspec.json.encode({"request": body_of(inline)})
    answer = await rows.answer(RawLine(1, 0, len(line) + 1, line), "b1-0")
    assert "response" in msgspec.json.decode(answer.line)
    assert desk.engine.asked[0].media[0].data == DATA


@pytest.mark.parametrize(
    "reach",
    [Reach(THEIRS, NOW), Reach(OURS, END), None],
    ids=["of another tenant", "expired", "of nobody"],
)
async def test_what_is_out_of_reach_is_missing(desk: Desk, reach: Reach | None) -> None:
    await desk.keep()
    code, field, message = failed(await desk.live(naming("f1"), reach))
    assert (code, field) == (Code.NOT_FOUND, FIELD)
    assert "there is no file files/f1 (or no permission" in message
    assert "Upload it" in message
    row = await desk.row(body_of({"fileData": {"fileUri": "files/f1"}}), reach)
    assert row["error"]["code"] == Code.NOT_FOUND
    where = "Error on line 1: request.contents[0].parts[1].fileData: "
    assert row["error"]["message"].startswith(f"{where}there is no file")
    assert desk.engine.asked == []


async def test_a_missing_file_fails_every_kind_of_live_call(desk: Desk) -> None:
    async with aclosing(desk.executor.stream(MODEL, naming("gone"), REACH)) as pieces:
        (only,) = [piece async for piece in pieces]
    assert not isinstance(only, str)
    assert failed(only)[0] is Code.NOT_FOUND
    counted = await desk.executor.count_tokens(MODEL, naming("gone"), REACH)
    assert isinstance(counted, Failure)
    assert counted.code is Code.NOT_FOUND
    assert desk.engine.asked == []


async def test_a_file_that_is_no_upload_or_empty_is_refused(desk: Desk) -> None:
    await desk.keep("batch-b1", blob=None, sha256=None)
    await desk.keep("f2", b"")
    for name, words in (("batch-b1", "is a result of a batch"), ("f2", "is empty")):
        code, field, message = failed(await desk.live(naming(name)))
        assert (code, field) == (Code.INVALID_ARGUMENT, FIELD)
        assert f"files/{name} {words}" in message


async def test_the_request_says_what_a_file_is_before_its_upload_does(desk: Desk) -> None:
    await desk.keep("f1", mime_type="jsonl")
    code, field, message = failed(await desk.live(naming("f1")))
    assert (code, field) == (Code.INVALID_ARGUMENT, FIELD)
    assert "Say what it is beside its uri" in message
    assert isinstance(await desk.live(naming("f1", mime_type="image/webp")), Reply)
    assert desk.engine.asked[0].media[0].mime_type == "image/webp"


async def test_what_the_engine_does_not_read_is_refused_before_and_after_the_look(
    desk: Desk,
) -> None:
    await desk.keep("f1", mime_type="video/mp4")
    for name, said in (("f1", ""), ("gone", "video/mp4")):
        code, field, message = failed(await desk.live(naming(name, mime_type=said)))
        assert (code, field) == (Code.UNIMPLEMENTED, FIELD)
        assert "the engine of this model, seer, reads image/*, application/pdf, not" in message
        assert "video/mp4" in message
    counted = await desk.executor.count_tokens(MODEL, naming("f1"), REACH)
    assert isinstance(counted, Failure)
    assert counted.code is Code.UNIMPLEMENTED
    assert desk.engine.asked == []


async def test_an_engine_for_texts_never_looks_for_a_file() -> None:
    async with lane_of() as lane:
        executor = Executor({"echo": lane})
        model = structs.replace(MODEL, engine="echo")
        for prompt in (naming("gone"), naming("gone", mime_type="image/png")):
            code, _, message = failed(await executor.live(model, prompt, REACH))
            assert code is Code.UNIMPLEMENTED
            assert "this model, echo, reads text, and no" in message
            counted = await executor.count_tokens(model, prompt, REACH)
            assert isinstance(counted, Failure)
            assert counted.code is Code.UNIMPLEMENTED


async def test_all_media_of_a_request_have_a_bound(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.keep("f1")
    monkeypatch.setattr(limits, "MEDIA_BYTES_MAX", 2 * len(BYTES))
    inline = Medium(field="contents[0].parts[2].inlineData", mime_type="image/png", data=DATA)
    both = naming("f1", "f1")
    assert isinstance(await desk.live(both), Reply)
    code, field, message = failed(
        await desk.live(structs.replace(both, media=(*both.media, inline)))
    )
    assert (code, field) == (Code.INVALID_ARGUMENT, "contents[0].parts[2].inlineData")
    assert f"{3 * len(BYTES)} bytes together, and {2 * len(BYTES)} are the most" in message
    alone = structs.replace(both, media=(inline,) * 3)
    assert failed(await desk.live(alone))[0] is Code.INVALID_ARGUMENT


async def test_a_damaged_file_fails_its_request_alone(desk: Desk) -> None:
    await desk.keep("f1", sha256=hashlib.sha256(b"other").hexdigest())
    await desk.keep("f2", sha256=None)
    code, _, message = failed(await desk.live(naming("f1")))
    assert code is Code.DATA_LOSS
    assert "A file cannot be read any more: blob files/ours/f1 is damaged" in message
    row = await desk.row(body_of({"fileData": {"fileUri": "files/f1"}}))
    assert row["error"]["code"] == Code.DATA_LOSS
    assert isinstance(await desk.live(naming("f2")), Reply)


async def test_a_file_that_goes_while_it_is_read_is_missing_and_not_damaged(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await desk.keep()
    assert file.blob is not None
    open_blob = desk.home.blobs.open

    async def deleting(name: str) -> object:
        await desk.home.store.delete_file(OURS, "f1", NOW)
        await desk.home.blobs.delete(name)
        return await open_blob(name)

    monkeypatch.setattr(desk.home.blobs, "open", deleting)
    assert failed(await desk.live(naming("f1", "f1")))[:2] == (Code.NOT_FOUND, FIELD)


async def test_a_row_waits_while_the_disk_refuses_and_a_live_request_does_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.keep()
    slept: list[float] = []
    faults: list[Exception] = [OSError(5, "Input/output error"), StoreFault("busy")]
    open_blob = desk.home.blobs.open

    async def refusing(name: str) -> object:
        if faults:
            raise faults.pop()
        return await open_blob(name)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(desk.home.blobs, "open", refusing)
    monkeypatch.setattr(clock, "sleep", sleep)
    # So little room that a try which failed must give back what it had.
    monkeypatch.setattr(limits, "MEDIA_HELD_BYTES_MAX", len(BYTES))
    assert "response" in await desk.row(body_of({"fileData": {"fileUri": "files/f1"}}))
    assert slept[:2] == [limits.DISK_PAUSE_SECONDS] * 2
    faults.append(StoreFault("busy"))
    with pytest.raises(StoreFault):
        await desk.live(naming("f1"))
    assert isinstance(await desk.live(naming("f1")), Reply)


async def test_an_engine_that_is_down_is_told_when_counting(desk: Desk) -> None:
    await desk.keep()
    desk.engine.counts = [EngineDown("It died.")]
    await desk.engine.close()
    counted = await desk.executor.count_tokens(MODEL, naming("f1"), REACH)
    assert isinstance(counted, Failure)
    assert counted.code is Code.UNAVAILABLE


# memory ---------------------------------------------------------------------------------------


async def test_files_are_held_by_no_more_requests_than_there_is_room_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MEDIA_HELD_BYTES_MAX", 2 * len(BYTES))
    await desk.keep()
    desk.engine.gate = asyncio.Event()
    read: list[str] = []
    content = desk.media._content

    async def noted(file: File) -> str:
        read.append(file.file_id)
        return await content(file)

    monkeypatch.setattr(desk.media, "_content", noted)
    part = {"fileData": {"fileUri": "files/f1"}}
    rows = [asyncio.create_task(desk.row(body_of(part))) for _ in range(5)]
    while len(desk.engine.asked) < 2:
        desk.engine.came.clear()
        await desk.engine.came.wait()
    # Those of batches wait for one another; a live one does not wait for them.
    live = asyncio.create_task(desk.live(naming("f1")))
    while len(desk.engine.asked) < 3:
        desk.engine.came.clear()
        await desk.engine.came.wait()
    assert len(read) == 3
    desk.engine.gate.set()
    assert all("response" in row for row in await asyncio.gather(*rows))
    assert isinstance(await live, Reply)
    assert len(read) == 6


async def test_a_request_that_is_cancelled_makes_room(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MEDIA_HELD_BYTES_MAX", len(BYTES))
    await desk.keep()
    desk.engine.gate = asyncio.Event()
    first = asyncio.create_task(desk.live(naming("f1")))
    await desk.engine.came.wait()
    second = asyncio.create_task(desk.live(naming("f1")))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    desk.engine.gate.set()
    assert isinstance(await second, Reply)


async def test_room_goes_to_those_who_came_first() -> None:
    room, order = Room(10), list[str]()

    async def take(name: str, size_bytes: int) -> None:
        await room.take(size_bytes)
        order.append(name)

    await take("first", 6)
    tasks = [asyncio.create_task(take(name, size)) for name, size in (("large", 9), ("small", 1))]
    for _ in range(3):
        await asyncio.sleep(0)
    assert order == ["first"]
    room.give(6)
    await asyncio.gather(*tasks)
    assert order == ["first", "large", "small"]
