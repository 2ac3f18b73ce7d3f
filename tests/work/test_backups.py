"""While a backup is made nothing is deleted, and whatever ends it ends that, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate import clock, limits, upkeep_limits
from nightrate.api.administration import create_administration
from nightrate.domain.backup import Progress
from nightrate.errors import Conflict, NotReady
from nightrate.service.keys import Keys
from nightrate.service.vault import Vault
from nightrate.store.blobs import Blobs
from nightrate.tools.index import Index
from nightrate.work.backups import Backups
from nightrate.work.upkeep import Upkeep
from tests.work.test_upkeep import add_file, succeed
from tests.work.workshop import TENANT, Workshop, inline


@pytest.fixture
def backups(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Backups:
    monkeypatch.setattr(upkeep_limits, "BACKUP_TOLD_SECONDS", 0)
    monkeypatch.setattr(upkeep_limits, "BACKUP_BLOBS", 1)
    return Backups(shop.path, shop.blobs, inline)


async def test_what_the_copied_database_names_is_deleted_after_it_has_been_copied(
    shop: Workshop, backups: Backups, tmp_path: Path
) -> None:
    await succeed(shop)
    await add_file(shop, "input", clock.later(clock.now(), 60))
    before = shop.files()
    upkeep = Upkeep(shop.store, shop.blobs)
    deleted = False
    async with aclosing(backups.make(tmp_path / "copy")) as told:
        async for progress in told:
            if progress.doing == "copying blobs" and not deleted:
                deleted = True
                await shop.store.delete_batch(TENANT, "b1", clock.now())
                await shop.store.delete_file(TENANT, "batch-b1", clock.now())
                await shop.store.delete_file(TENANT, "input", clock.now())
                await upkeep.turn()
                assert shop.files() == before
    assert deleted
    assert progress.damaged == 0
    root = tmp_path / "copy" / "blobs"
    assert before == sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    assert shop.files() == []


async def test_a_backup_that_nobody_waits_for_holds_nothing_up(
    shop: Workshop, backups: Backups, tmp_path: Path
) -> None:
    await add_file(shop, "input", clock.now())
    told = backups.make(tmp_path / "copy")
    await anext(told)
    await Upkeep(shop.store, shop.blobs).turn()
    assert shop.files() == ["files/input"]
    await told.aclose()
    assert shop.files() == []
    await Upkeep(shop.store, shop.blobs).turn()


async def test_a_backup_whose_task_is_cancelled_holds_nothing_up(
    shop: Workshop, backups: Backups, tmp_path: Path
) -> None:
    begun = asyncio.Event()

    async def follow() -> None:
        async with aclosing(backups.make(tmp_path / "copy")) as told:
            async for _ in told:
                begun.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(follow())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not shop.blobs._holders
    async for progress in backups.make(tmp_path / "copy"):
        last = progress
    assert last.done


async def test_one_backup_is_made_at_a_time(
    shop: Workshop, backups: Backups, tmp_path: Path
) -> None:
    await add_file(shop, "input", clock.later(clock.now(), 60))
    first = backups.make(tmp_path / "one")
    await anext(first)
    with pytest.raises(Conflict, match="already"):
        await anext(backups.make(tmp_path / "two"))
    await first.aclose()


async def test_a_server_that_stops_ends_its_backup(
    shop: Workshop, backups: Backups, tmp_path: Path
) -> None:
    await add_file(shop, "input", clock.later(clock.now(), 60))
    told = backups.make(tmp_path / "copy")
    await anext(told)
    backups.stop()
    with pytest.raises(NotReady, match="stopping"):
        await anext(told)
    assert not shop.blobs._holders


async def test_only_so_many_deletions_wait_and_the_rest_become_orphans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_limits, "HELD_DELETIONS_MAX", 3)
    monkeypatch.setattr(limits, "SCAN_NAMES", 2)
    blobs = Blobs(tmp_path, inline)
    names = [f"a{number}" for number in range(5)]
    for name in names:
        await blobs.put(name, [b"x"])
    async with blobs.holding():
        async with blobs.holding():
            await blobs.delete(*names[:2])
        await blobs.delete(*names[2:])
        assert await blobs.existing(names) == names
    assert await blobs.existing(names) == names[3:]


class _Broken:
    """Makes half a backup."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def make(self, _target: Path) -> AsyncGenerator[Progress, None]:
        yield Progress()
        raise self.error


@pytest.fixture
async def keys(shop: Workshop) -> AsyncIterator[Keys]:
    keys = Keys(shop.store, Vault(shop.path / "keys"))
    yield keys
    await keys.close()


async def _ask(keys: Keys, backups: Any, target: str) -> tuple[int, bytes]:
    """Ask the door for a backup; gives the status and the body of the answer."""
    order = msgspec.json.encode({"target": target})
    bodies = [order]
    answer: list[Any] = []

    async def receive() -> dict[str, Any]:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        return await asyncio.Future()

    async def send(message: Any) -> None:
        answer.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/backups",
        "query_string": b"",
        "headers": [(b"host", b"nightrate"), (b"content-length", str(len(order)).encode())],
    }
    await create_administration(keys, backups, Index(Path(), inline, inline))(scope, receive, send)
    return answer[0]["status"], b"".join(message.get("body", b"") for message in answer)


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError(28, "No space left on device"), "No space left"), (NotReady("It stops."), "stops")],
)
async def test_what_goes_wrong_in_the_middle_is_told_in_the_last_line(
    keys: Keys, error: Exception, told: str
) -> None:
    status, body = await _ask(keys, _Broken(error), "/tmp/copy")
    first, last = map(msgspec.json.decode, body.splitlines())
    assert status == 200
    assert first["progress"]["doing"] == "copying the database"
    assert told in last["refused"]


async def test_the_place_of_a_backup_is_absolute(keys: Keys, backups: Backups) -> None:
    status, body = await _ask(keys, backups, "copy")
    assert status == 400
    assert b"absolute" in body
