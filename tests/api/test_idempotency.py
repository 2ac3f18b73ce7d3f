"""A create call with a key makes one batch, however often it is sent."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from nightrate import clock, limits
from nightrate.domain.batch import Once, Order
from nightrate.domain.file import Page
from tests.api.doors import Answer, Doors

CREATE = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"


def body(text: str = "x") -> bytes:
    item = {"request": {"contents": [{"parts": [{"text": text}]}]}}
    return msgspec.json.encode({"batch": {"inputConfig": {"requests": {"requests": [item]}}}})


def create(doors: Doors, key: str, content: bytes, path: str = CREATE) -> Answer:
    return doors.ask("POST", path, content, {"X-Idempotency-Key": key})


def batches(doors: Doors) -> int:
    listed, _ = doors.call(doors.batches.list("default", Page(size=1000)))
    return len(listed)


def test_the_same_call_again_is_answered_with_the_same_batch(doors: Doors) -> None:
    first = create(doors, "again", body())
    before = batches(doors)
    for path in (CREATE, CREATE.replace("v1beta", "v1")):
        assert create(doors, "again", body(), path).json == first.json
    assert batches(doors) == before
    name = first.json["name"]
    doors.ask("POST", f"/v1/{name}:cancel")
    assert create(doors, "again", body()).json["metadata"]["state"] == "JOB_STATE_CANCELLED"


def test_calls_without_a_key_or_with_another_are_calls_of_their_own(doors: Doors) -> None:
    names = {create(doors, key, body()).json["name"] for key in ("one", "two")}
    names |= {doors.ask("POST", CREATE, body()).json["name"] for _ in range(2)}
    assert len(names) == 4


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (CREATE, body("y")),
        (CREATE.replace("flash", "pro"), body()),
        (f"/exact{CREATE}", body()),
    ],
    ids=["body", "model", "profile"],
)
def test_the_key_of_another_call_is_refused(doors: Doors, path: str, content: bytes) -> None:
    key = f"taken-{path}-{len(content)}"
    name = create(doors, key, body()).json["name"]
    code, status, message = create(doors, key, content, path).error
    assert (code, status) == (409, "ALREADY_EXISTS")
    assert name in message


@pytest.mark.parametrize("key", ["", "a b", "\xe9", "k" * 256])
def test_a_key_that_is_none_is_refused(doors: Doors, key: str) -> None:
    assert create(doors, key, body()).error[:2] == (400, "INVALID_ARGUMENT")


def test_what_the_first_call_made_may_have_been_deleted(doors: Doors) -> None:
    name = create(doors, "deleted", body()).json["name"]
    doors.ask("DELETE", f"/v1/{name}")
    code, status, message = create(doors, "deleted", body()).error
    assert (code, status) == (404, "NOT_FOUND")
    assert name in message


def test_a_file_that_has_gone_since_does_not_matter_to_a_repeated_call(doors: Doors) -> None:
    file_id = doors.upload(b'{"request": {"contents": "x"}}\n')
    order = msgspec.json.encode({"batch": {"inputConfig": {"fileName": f"files/{file_id}"}}})
    name = create(doors, "file", order).json["name"]
    doors.ask("DELETE", f"/v1/files/{file_id}")
    assert create(doors, "file", order).json["name"] == name


def test_calls_at_the_same_time_make_one_batch(doors: Doors) -> None:
    before = batches(doors)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: create(doors, "race", body()), range(24)))
    assert len({answer.json["name"] for answer in answers}) == 1
    assert batches(doors) == before + 1


def test_the_one_who_comes_second_leaves_nothing(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(doors.store, "made_by", unknown)  # both looked before either was there
    once = Once(key="second", digest="d")
    order = Order(display_name=None, priority=0, file_name=None, inline=(b"{}",))

    async def both() -> tuple[str, str]:
        first = await doors.batches.submit("default", "gemini-2.5-flash", order, once=once)
        second = await doors.batches.submit("default", "gemini-2.5-flash", order, once=once)
        return first.batch_id, second.batch_id

    folder = doors.blobs.path("batches/default")
    before = {path.name for path in folder.iterdir()} if folder.exists() else set()
    first, second = doors.call(both())
    assert first == second
    assert {path.name for path in folder.iterdir()} - before == {first}


def test_a_key_is_forgotten_after_a_day(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    first = create(doors, "day", body()).json["name"]
    later = clock.later(clock.now(), limits.IDEMPOTENCY_SECONDS)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert create(doors, "day", body("z")).json["name"] != first
