"""The SQLite store keeps the contract, and refuses what it cannot trust."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw
import pytest

from nightrate.domain.batch import Batch
from nightrate.domain.file import Page
from nightrate.domain.shard import Beat, JournalPart, Tally
from nightrate.errors import StoreFault
from nightrate.store import migrate
from nightrate.store import sqlite as sqlite_module
from nightrate.store.base import Store
from nightrate.store.migrate import Step
from nightrate.store.sqlite import VERSION_MIN, SQLiteStore, sqlite_version
from nightrate.testing.store_contract import StoreContract
from nightrate.testing.store_samples import (
    FAULT,
    LEASE,
    NOW,
    OURS,
    add_file,
    add_planned,
    found,
    make_batch,
    make_file,
    make_plan,
    make_upload,
    segment_of,
    take,
)

T = TypeVar("T")

RECEIPTS_STEP = 11


async def inline(call: Callable[[], T]) -> T:
    return call()


def opened(path: Path) -> SQLiteStore:
    return SQLiteStore(path / "state.sqlite", inline)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = opened(tmp_path)
    yield store
    await store.close()


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = opened(tmp_path)
        yield store
        await store.close()

    async def events(self, store: Store) -> list[tuple[str, str, str]]:
        assert isinstance(store, SQLiteStore)
        rows = store._all("SELECT tenant, batch_id, type FROM event ORDER BY created_at, batch_id")
        return [(tenant, batch_id, kind) for tenant, batch_id, kind in rows]


class TestSQLiteStoreWithAReader(TestSQLiteStore):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = SQLiteStore(tmp_path / "state.sqlite", inline, inline)
        yield store
        await store.close()


# durability -----------------------------------------------------------------------------------


async def test_reopening_keeps_everything(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.add_upload(make_upload("u9", "f9"))
    await store.grow_upload(make_upload("u9", "f9"), 7, NOW)
    file = await add_file(store, make_file())
    await add_planned(store, make_batch(file=file), shards=3)
    sealed, beating = await take(store), await take(store)
    await store.seal(sealed, segment_of(sealed), Tally(2), NOW)
    await store.beat([Beat(claim=beating, byte_length=9, tally=Tally(1))], NOW, NOW + LEASE)
    before = [
        await store.get_upload("u9"),
        await store.list_files(OURS, Page(size=9), NOW),
        await found(store),
        await store.segments(OURS, "b1", 0, 9),
        await store.claimable(NOW, 9),
    ]
    await store.close()
    store = opened(tmp_path)
    after = [
        await store.get_upload("u9"),
        await store.list_files(OURS, Page(size=9), NOW),
        await found(store),
        await store.segments(OURS, "b1", 0, 9),
        await store.claimable(NOW, 9),
    ]
    assert after == before
    assert await store.release_all() == 1
    again = await take(store)
    assert (again.plan.index, again.epoch, again.parts) == (1, 2, (JournalPart(1, 9),))
    await store.close()


async def test_commits_are_synced_before_they_are_acknowledged(store: SQLiteStore) -> None:
    assert store._connection.execute("PRAGMA synchronous").get == 2  # FULL
    assert store._connection.execute("PRAGMA journal_mode").get == "wal"


@pytest.mark.parametrize(
    "broken",
    ["statements.ADD_EVENT", "statements.ADD_RESULT_FILE", "webhook_statements.ADD_DELIVERIES"],
)
async def test_the_end_of_a_batch_is_one_transaction(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    await add_planned(store, make_batch())
    claim = await take(store)
    before = await found(store)
    with monkeypatch.context() as patch:
        patch.setattr(f"nightrate.store.{broken}", "SELECT * FROM nowhere")
        with pytest.raises(apsw.SQLError):
            await store.seal(claim, segment_of(claim), Tally(2), NOW)
    assert await found(store) == before
    assert await store.segments(OURS, "b1", 0, 9) == []
    assert await store.get_file(OURS, "batch-b1", NOW) is not None  # the growing one
    assert await store.list_files(OURS, Page(size=9), NOW) == []
    assert await store.seal(claim, segment_of(claim), Tally(2), NOW) is not None


async def test_a_batch_that_fails_without_its_event_did_not_fail(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch()
    await store.add_batch(batch)
    with monkeypatch.context() as patch:
        patch.setattr("nightrate.store.statements.ADD_EVENT", "SELECT * FROM nowhere")
        with pytest.raises(apsw.SQLError):
            await store.fail_batch(batch, None, FAULT, NOW)
    assert await found(store) == batch


# real threads ---------------------------------------------------------------------------------


async def test_many_claimers_on_a_real_thread_never_share_a_shard(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="database") as pool:
        seen: set[str] = set()

        def run(call: Callable[[], T], /) -> Awaitable[T]:
            def noted() -> T:
                seen.add(threading.current_thread().name)
                return call()

            return asyncio.get_running_loop().run_in_executor(pool, noted)

        store = SQLiteStore(tmp_path / "state.sqlite", run)
        await add_planned(store, make_batch(), shards=40)
        claims = await asyncio.gather(
            *(store.claim(OURS, "b1", f"o{number}", NOW, NOW + LEASE) for number in range(50))
        )
        taken = sorted(claim.plan.index for claim in claims if claim is not None)
        assert taken == list(range(40))
        await store.close()
    assert len(seen) == 1
    assert threading.current_thread().name not in seen


async def test_who_only_asks_does_not_wait_for_a_commit(tmp_path: Path) -> None:
    goes_on = asyncio.Event()
    goes_on.set()

    async def slow(call: Callable[[], T]) -> T:
        await goes_on.wait()
        return call()

    store = SQLiteStore(tmp_path / "state.sqlite", slow, inline)
    batch = make_batch()
    await store.add_batch(batch)
    goes_on.clear()
    ending = asyncio.create_task(store.fail_batch(batch, None, FAULT, NOW))
    assert await found(store) == batch
    assert not ending.done()
    goes_on.set()
    assert await ending
    assert (await found(store)).failure == FAULT
    await store.close()


async def test_the_reader_cannot_write(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "state.sqlite", inline, inline)
    with pytest.raises(StoreFault, match="readonly"):
        await store._read("DELETE FROM batch", {})
    await store.close()


# what is refused ------------------------------------------------------------------------------


def test_the_version_in_use_is_new_enough_and_named() -> None:
    assert tuple(map(int, sqlite_version().split("."))) >= VERSION_MIN


def test_a_version_that_can_lose_commits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "sqlite_version", lambda: "3.51.2")
    with pytest.raises(StoreFault, match=r"3\.51\.3 or newer"):
        opened(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"This is a letter to my aunt. " * 100)
    with pytest.raises(StoreFault, match=r"(?s)is damaged.*backup"):
        opened(tmp_path)


async def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await add_planned(store, make_batch(), shards=500)
    await store.close()
    path = tmp_path / "state.sqlite"
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(StoreFault, match=r"(?s)is damaged.*backup"):
        opened(tmp_path)


async def test_a_hole_that_only_the_check_finds_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store._all("PRAGMA writable_schema=ON")
    store._all("UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'event'")
    await store.close()
    with pytest.raises(StoreFault, match=r"(?s)is damaged.*backup"):
        opened(tmp_path)


async def test_a_schema_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store._all("INSERT INTO schema_version VALUES (99, 'x', 0)")
    await store.close()
    with pytest.raises(StoreFault, match=r"newer nightrate \(schema 99\)"):
        opened(tmp_path)


async def test_a_step_that_changed_after_it_was_applied_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(tmp_path).close()
    changed = [Step(step.number, step.sql, "0" * 64) for step in migrate.steps()]
    monkeypatch.setattr(sqlite_module, "steps", lambda: changed)
    with pytest.raises(StoreFault, match="schema step 1 is not the one"):
        opened(tmp_path)


async def test_a_new_step_is_applied_once_to_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    await store.add_batch(make_batch())
    await store.close()
    more = [
        *migrate.steps(),
        Step(999, "CREATE TABLE extra (n BIGINT); INSERT INTO extra VALUES (1)", "s"),
    ]
    monkeypatch.setattr(sqlite_module, "steps", lambda: more)
    for _ in range(2):
        store = opened(tmp_path)
        assert store._all("SELECT n FROM extra") == [(1,)]
        assert await found(store) == make_batch()
        await store.close()


async def test_a_step_that_fails_leaves_the_schema_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(tmp_path).close()
    with monkeypatch.context() as patch:
        step = Step(999, "CREATE TABLE extra (n BIGINT); SELECT * FROM no", "s")
        broken = [*migrate.steps(), step]
        patch.setattr(sqlite_module, "steps", lambda: broken)
        with pytest.raises(apsw.SQLError):
            opened(tmp_path)
    store = opened(tmp_path)
    assert store._all("SELECT name FROM sqlite_schema WHERE name = 'extra'") == []
    await store.close()


async def test_a_database_from_before_receipts_keeps_its_batches_and_their_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        old = [step for step in migrate.steps() if step.number < RECEIPTS_STEP]
        patch.setattr(sqlite_module, "steps", lambda: old)
        await opened(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / "state.sqlite"))
    with contextlib.closing(connection):
        connection.execute(
            """
INSERT INTO batch (tenant, batch_id, model, display_name, form, state, input_blob, input_bytes,
                   priority, request_count, created_at, updated_at, expires_at)
VALUES (:tenant, 'b1', 'm', 'old', 'file', 'running', 'i', 3, 0, 4, 5, 5, 99);
INSERT INTO shard (tenant, batch_id, shard, first_request, request_count, first_line, byte_offset,
                   byte_length, state, epoch, owner, lease_until, journal, succeeded, failed,
                   prompt_tokens, output_tokens, cached_tokens)
VALUES (:tenant, 'b1', 0, 0, 4, 1, 0, 50, 'running', 1, 'dead', 6, '1:70', 2, 1, 9, 6, 3)""",
            {"tenant": OURS},
        )
    store = opened(tmp_path)
    batch = await found(store)
    assert (batch.display_name, batch.tally, batch.quote) == ("old", Tally(2, 1, 9, 6, 3), None)
    claim = await take(store, "b", now=7)
    assert claim.parts == (JournalPart(1, 70),)
    await store.seal(claim, segment_of(claim), Tally(3, 1, 12, 8, 3, 0, 500), NOW)
    assert (await found(store)).tally == Tally(3, 1, 12, 8, 3, 0, 500)
    await store.close()


def test_steps_are_numbered_without_a_gap() -> None:
    found_steps = migrate.steps()
    assert [step.number for step in found_steps] == list(range(1, len(found_steps) + 1))
    assert all(len(step.sha256) == 64 for step in found_steps)


# what the disk refuses ------------------------------------------------------------------------


async def fill(store: SQLiteStore) -> None:
    pages = store._connection.execute("PRAGMA page_count").get
    store._connection.execute(f"PRAGMA max_page_count={pages}")


async def test_a_full_disk_is_a_store_fault_and_passes(store: SQLiteStore) -> None:
    await fill(store)
    batch = make_batch()
    await store.add_batch(batch)
    with pytest.raises(StoreFault, match=r"cannot be used.*full"):
        await store.open_batch(batch, *make_plan(5_000), NOW)
    assert await found(store) == batch
    assert not store._connection.in_transaction
    store._connection.execute("PRAGMA max_page_count=1000000")
    assert await store.open_batch(batch, *make_plan(5_000), NOW)


async def test_the_check_tells_that_the_store_cannot_be_written(store: SQLiteStore) -> None:
    store._connection.execute("PRAGMA query_only=ON")
    with pytest.raises(StoreFault, match=r"cannot be used"):
        await store.check()


async def test_another_process_that_holds_the_database_is_a_store_fault(
    store: SQLiteStore, tmp_path: Path
) -> None:
    other = apsw.Connection(str(tmp_path / "state.sqlite"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFault, match=r"cannot be used.*locked"):
        await store.add_batch(make_batch())
    other.execute("ROLLBACK")
    other.close()
    await store.add_batch(make_batch())


def test_a_database_that_cannot_be_opened_is_a_store_fault(tmp_path: Path) -> None:
    with pytest.raises(StoreFault, match="cannot be opened"):
        SQLiteStore(tmp_path / "no such folder" / "state.sqlite", inline)


async def test_a_database_that_cannot_be_prepared_is_a_store_fault(
    tmp_path: Path, store: SQLiteStore
) -> None:
    store._connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFault, match=r"cannot be used.*locked"):
        opened(tmp_path)
    store._connection.execute("ROLLBACK")


async def test_a_mistake_of_ours_is_no_store_fault(store: SQLiteStore) -> None:
    with pytest.raises(apsw.SQLError):
        await store._read("SELECT * FROM nowhere", {"x": 1})


async def test_the_results_of_a_batch_that_ends_while_they_are_looked_for_are_found(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_planned(store, make_batch(), shards=1)
    claim = await take(store)
    look = store.get_batch

    async def after_the_last_seal(tenant: str, batch_id: str) -> Batch | None:
        """Look at a batch that ended after its file was not there yet."""
        await store.seal(claim, segment_of(claim), Tally(2), NOW + 1)
        return await look(tenant, batch_id)

    monkeypatch.setattr(store, "get_batch", after_the_last_seal)
    file = await store.get_file(OURS, "batch-b1", NOW + 1)
    assert file is not None
    assert not file.growing
