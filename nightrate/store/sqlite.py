"""The store on one machine: SQLite through APSW, one connection, one writer.

Only the server process opens the database, and every statement goes through the ``run`` function:
in production it hands to one thread, in a simulation it calls inline. ``synchronous=FULL`` is what
makes an acknowledged commit survive a power cut; versions before 3.51.3 can corrupt a write-ahead
log (the WAL-reset race) and are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import apsw

from nightrate import clock, limits
from nightrate.clock import Instant
from nightrate.domain.batch import Batch, BatchForm, Claimable, Plan
from nightrate.domain.file import File, FileSource, Page, Upload, UploadState
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Beat, Claim, JournalPart, Segment, ShardPlan, Tally
from nightrate.domain.states import BatchEvent, BatchState
from nightrate.errors import ClaimLost, Code, Conflict, NotFound, StoreFault
from nightrate.store import statements as sql
from nightrate.store.base import SealedSegment, Store
from nightrate.store.blobs import Run
from nightrate.store.migrate import Step, steps

T = TypeVar("T")
Values = Mapping[str, Any]

VERSION_MIN = (3, 51, 3)

_TROUBLE = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CorruptError, apsw.BusyError)

_FIRST_PAGE = (2**62, "")


def sqlite_version() -> str:
    """Name the SQLite version in use."""
    return apsw.sqlite_lib_version()


def result_file_id(batch_id: str) -> str:
    """Name the result file of a batch, as Google names it."""
    return f"batch-{batch_id}"


class SQLiteStore(Store):
    """Durable truth in one file."""

    def __init__(self, path: Path, run: Run) -> None:
        """Open the database, making or upgrading it as needed.

        Raises:
            StoreFault: SQLite is too old, or the file is damaged or written by a newer version.
        """
        if tuple(map(int, sqlite_version().split("."))) < VERSION_MIN:
            message = f"SQLite {sqlite_version()} can lose commits; 3.51.3 or newer is needed"
            raise StoreFault(message)
        self._run = run
        self._path = path
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA temp_store=MEMORY")
        self._check_pages()
        for step in steps():
            self._migrate(step)

    def _check_pages(self) -> None:
        try:
            found = self._connection.execute("PRAGMA quick_check(1)").get
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise StoreFault(f"{self._path} is damaged ({error}); restore it from a backup") from error
        if found != "ok":
            raise StoreFault(f"{self._path} is damaged ({found}); restore it from a backup")

    def _migrate(self, step: Step) -> None:
        with self._transaction():
            self._all(
                "CREATE TABLE IF NOT EXISTS schema_version"
                " (number BIGINT PRIMARY KEY, sha256 TEXT NOT NULL, applied_at BIGINT NOT NULL)",
            )
            newest = self._one("SELECT coalesce(max(number), 0) FROM schema_version", {})
            assert newest is not None, "an aggregate has a row"
            if newest[0] > steps()[-1].number:
                message = f"{self._path} was written by a newer nightrate (schema {newest[0]})"
                raise StoreFault(message)
            row = self._one(
                "SELECT sha256 FROM schema_version WHERE number = :number", {"number": step.number}
            )
            if row is None:
                self._all(step.sql)
                self._all(
                    "INSERT INTO schema_version VALUES (:number, :sha256, :now)",
                    {"number": step.number, "sha256": step.sha256, "now": clock.now()},
                )
            elif row[0] != step.sha256:
                raise StoreFault(f"schema step {step.number} is not the one {self._path} was made by")

    # running statements -----------------------------------------------------------------------

    def _all(self, text: str, values: Values | None = None) -> list[tuple[Any, ...]]:
        return self._connection.execute(text, dict(values) if values else None).fetchall()

    def _one(self, text: str, values: Values) -> tuple[Any, ...] | None:
        rows = self._all(text, values)
        return rows[0] if rows else None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # some errors have rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    async def _read(self, text: str, values: Values) -> list[tuple[Any, ...]]:
        return await self._call(lambda: self._all(text, values))

    async def _write(self, call: Callable[[], T]) -> T:
        """Run a call as one transaction."""

        def transaction() -> T:
            with self._transaction():
                return call()

        return await self._call(transaction)

    async def _call(self, call: Callable[[], T]) -> T:
        """Run a call where the connection lives; what the disk refuses is a `StoreFault`."""
        try:
            return await self._run(call)
        except _TROUBLE as error:
            raise StoreFault(f"the state database cannot be used: {error}") from error

    # files and uploads ------------------------------------------------------------------------

    async def add_upload(self, upload: Upload) -> None:
        """See `Store.add_upload`."""

        def call() -> None:
            try:
                row = self._one(sql.ADD_UPLOAD, _columns(upload))
            except apsw.ConstraintError:
                row = None
            if row is None:
                raise Conflict(f"File {upload.file_id} already exists.")

        await self._write(call)

    async def get_upload(self, upload_id: str) -> Upload | None:
        """See `Store.get_upload`."""
        rows = await self._read(sql.GET_UPLOAD, {"upload_id": upload_id})
        return _upload(rows[0]) if rows else None

    async def grow_upload(self, upload: Upload, received_bytes: int, now: Instant) -> None:
        """See `Store.grow_upload`."""
        del now
        values = {**_columns(upload), "received_bytes": received_bytes}
        await self._write(lambda: self._all(sql.GROW_UPLOAD, values))

    async def finish_upload(self, upload: Upload, file: File) -> None:
        """See `Store.finish_upload`."""

        def call() -> None:
            ended = self._one(sql.END_UPLOAD, {**_columns(upload), "state": UploadState.FINAL})
            if ended is None:
                raise Conflict("The upload has ended already.")
            self._all(sql.ADD_FILE, _columns(file))

        await self._write(call)

    async def cancel_upload(self, upload: Upload, now: Instant) -> None:
        """See `Store.cancel_upload`."""
        del now
        values = {**_columns(upload), "state": UploadState.CANCELLED}
        await self._write(lambda: self._all(sql.END_UPLOAD, values))

    async def get_file(self, tenant: str, file_id: str, now: Instant) -> File | None:
        """See `Store.get_file`."""
        values = {"tenant": tenant, "file_id": file_id, "now": now}
        rows = await self._read(sql.GET_FILE, values)
        if rows:
            return _file(rows[0])
        return await self._growing_file(tenant, file_id)

    async def _growing_file(self, tenant: str, file_id: str) -> File | None:
        """Describe the result file of a batch that has not ended: what is sealed without a gap."""
        batch_id = file_id.removeprefix("batch-")
        if batch_id == file_id:
            return None
        batch = await self.get_batch(tenant, batch_id)
        if batch is None or batch.state is not BatchState.RUNNING or batch.form is BatchForm.INLINE:
            return None

        def call() -> int:
            values = {"tenant": tenant, "batch_id": batch_id}
            until = self._one(sql.FIRST_UNSEALED, values)
            assert until is not None, "an aggregate has a row"
            row = self._one(sql.PREFIX_BYTES, {**values, "until_shard": _or_end(until[0])})
            assert row is not None, "an aggregate has a row"
            return int(row[0])

        size_bytes = await self._call(call)
        return File(
            tenant=tenant,
            file_id=file_id,
            blob=None,
            display_name=f"{batch.display_name} results",
            mime_type="application/jsonl",
            size_bytes=size_bytes,
            sha256=None,
            source=FileSource.GENERATED,
            created_at=batch.created_at,
            updated_at=batch.updated_at,
            expires_at=batch.expires_at,
        )

    async def list_files(self, tenant: str, page: Page, now: Instant) -> list[File]:
        """See `Store.list_files`."""
        values = {"tenant": tenant, "now": now, **_page(page)}
        return [_file(row) for row in await self._read(sql.LIST_FILES, values)]

    async def delete_file(self, tenant: str, file_id: str, now: Instant) -> bool:
        """See `Store.delete_file`."""
        values = {"tenant": tenant, "file_id": file_id, "now": now}
        return bool(await self._write(lambda: self._all(sql.DELETE_FILE, values)))

    # batches ----------------------------------------------------------------------------------

    async def add_batch(self, batch: Batch) -> None:
        """See `Store.add_batch`."""
        values = {name: getattr(batch, name) for name in batch.__struct_fields__}
        del values["tally"], values["failure"], values["request_count"], values["ended_at"]

        def call() -> None:
            if self._one(sql.ADD_BATCH, values) is None:
                raise NotFound(f"File files/{batch.input_file_id} does not exist any more.")

        await self._write(call)

    async def get_batch(self, tenant: str, batch_id: str) -> Batch | None:
        """See `Store.get_batch`."""
        rows = await self._read(sql.GET_BATCH, {"tenant": tenant, "batch_id": batch_id})
        return _batch(rows[0]) if rows else None

    async def list_batches(self, tenant: str, page: Page) -> list[Batch]:
        """See `Store.list_batches`."""
        rows = await self._read(sql.LIST_BATCHES, {"tenant": tenant, **_page(page)})
        return [_batch(row) for row in rows]

    async def submitted_batches(self, limit: int) -> list[Batch]:
        """See `Store.submitted_batches`."""
        return [_batch(row) for row in await self._read(sql.SUBMITTED_BATCHES, {"limit": limit})]

    async def open_batch(
        self, batch: Batch, plan: Plan, shards: Iterator[ShardPlan], now: Instant
    ) -> bool:
        """See `Store.open_batch`."""

        def call() -> bool:
            key = {"tenant": batch.tenant, "batch_id": batch.batch_id}
            counts = {"request_count": plan.request_count, "invalid_count": plan.invalid_count}
            if self._one(sql.OPEN_BATCH, {**key, **counts, "now": now}) is None:
                return False
            rows = (
                {
                    **key,
                    "shard": shard.index,
                    "first_request": shard.first_request,
                    "request_count": shard.request_count,
                    "first_line": shard.first_line,
                    "byte_offset": shard.byte_offset,
                    "byte_length": shard.byte_length,
                }
                for shard in shards
            )
            self._connection.executemany(sql.ADD_SHARD, rows)
            return True

        return await self._write(call)

    async def fail_batch(
        self, batch: Batch, plan: Plan | None, failure: Failure, now: Instant
    ) -> bool:
        """See `Store.fail_batch`."""
        return await self._write(lambda: self._end(batch, plan, failure, now, BatchEvent.FAILED))

    async def expire_batches(self, now: Instant) -> list[Batch]:
        """See `Store.expire_batches`."""
        failure = Failure(Code.DEADLINE_EXCEEDED, "The batch expired before it was finished.")

        def call() -> list[Batch]:
            ended = []
            for tenant, batch_id in self._all(sql.OVERDUE_BATCHES, {"now": now}):
                key = {"tenant": tenant, "batch_id": batch_id}
                batch = _batch(self._all(sql.GET_BATCH, key)[0])
                if self._end(batch, None, failure, now, BatchEvent.EXPIRED):
                    ended.append(batch)
            return ended

        return await self._write(call)

    def _end(
        self, batch: Batch, plan: Plan | None, failure: Failure, now: Instant, event: BatchEvent
    ) -> bool:
        key = {"tenant": batch.tenant, "batch_id": batch.batch_id, "now": now}
        values = {
            **key,
            "failure_code": int(failure.code),
            "failure_message": failure.message,
            "request_count": plan.request_count if plan else None,
            "invalid_count": plan.invalid_count if plan else None,
        }
        if self._one(sql.END_BATCH[event], values) is None:
            return False
        self._all(sql.ADD_EVENT, {**key, "event_id": clock.new_id(24), "type": f"batch.{event}"})
        return True

    # work -------------------------------------------------------------------------------------

    async def claimable(self, now: Instant, limit: int) -> list[Claimable]:
        """See `Store.claimable`."""
        rows = await self._read(sql.CLAIMABLE, {"now": now, "limit": limit})
        return [
            Claimable(
                tenant=row[0],
                batch_id=row[1],
                model=row[2],
                priority=row[3],
                created_at=row[4],
                running_shards=row[5],
            )
            for row in rows
        ]

    async def claim(
        self, tenant: str, batch_id: str, owner: str, now: Instant, lease_until: Instant
    ) -> Claim | None:
        """See `Store.claim`."""
        values: dict[str, Any] = {
            "tenant": tenant,
            "batch_id": batch_id,
            "owner": owner,
            "now": now,
            "lease_until": lease_until,
        }

        def call() -> Claim | None:
            found = None
            if self._one(sql.IS_CLAIMABLE, values) is not None:
                found = self._one(sql.FIRST_OVERDUE, values) or self._one(sql.FIRST_PENDING, values)
            if found is None:
                return None
            row = self._one(sql.CLAIM, {**values, "shard": found[0]})
            assert row is not None, "chosen in the same transaction"
            self._all(sql.START_BATCH, values)
            return Claim(
                tenant=tenant,
                batch_id=batch_id,
                plan=ShardPlan(*row[:6]),
                epoch=row[6],
                owner=owner,
                lease_until=lease_until,
                parts=_parts(row[7]),
            )

        return await self._write(call)

    async def freeze(self, claim: Claim, parts: tuple[JournalPart, ...]) -> None:
        """See `Store.freeze`."""

        def call() -> None:
            if self._one(sql.FREEZE, {**_fence(claim), "journal": _journal(parts)}) is None:
                raise ClaimLost

        await self._write(call)

    async def beat(
        self, beats: Sequence[Beat], now: Instant, lease_until: Instant
    ) -> list[Claim]:
        """See `Store.beat`."""

        def call() -> list[Claim]:
            lost = []
            for beat in beats:
                claim = beat.claim
                assert claim.parts[-1].epoch == claim.epoch, "frozen before the first beat"
                parts = (*claim.parts[:-1], JournalPart(claim.epoch, beat.byte_length))
                values = {
                    **_fence(claim),
                    **_columns(beat.tally),
                    "journal": _journal(parts),
                    "lease_until": lease_until,
                }
                if self._one(sql.BEAT, values) is None:
                    lost.append(claim)
                else:
                    self._all(sql.TOUCH_BATCH, {**_fence(claim), "now": now})
            return lost

        return await self._write(call)

    async def release(self, claims: Sequence[Claim]) -> None:
        """See `Store.release`."""

        def call() -> None:
            for claim in claims:
                self._all(sql.RELEASE, _fence(claim))

        await self._write(call)

    async def release_all(self) -> int:
        """See `Store.release_all`."""
        return len(await self._write(lambda: self._all(sql.RELEASE_ALL)))

    async def seal(self, claim: Claim, segment: Segment, tally: Tally, now: Instant) -> Batch | None:
        """See `Store.seal`."""
        values = {**_fence(claim), **_columns(segment), **_columns(tally), "now": now}

        def call() -> Batch | None:
            if self._one(sql.SEAL, values) is None:
                raise ClaimLost
            if self._one(sql.ANY_UNSEALED, values) is not None:
                self._all(sql.TOUCH_BATCH, values)
                return None
            drained = self._one(sql.DRAIN_BATCH, values)
            assert drained is not None, "the fence saw a live batch"
            batch = _batch(self._all(sql.GET_BATCH, values)[0])
            if batch.form is BatchForm.FILE:
                self._add_result_file(batch, now)
            event = {"event_id": clock.new_id(24), "type": f"batch.{batch.state}"}
            self._all(sql.ADD_EVENT, {**values, **event})
            return batch

        return await self._write(call)

    def _add_result_file(self, batch: Batch, now: Instant) -> None:
        values = {
            "tenant": batch.tenant,
            "batch_id": batch.batch_id,
            "file_id": result_file_id(batch.batch_id),
            "display_name": f"{batch.display_name} results",
            "now": now,
            "expires_at": clock.later(now, limits.RESULT_LIFETIME_SECONDS),
        }
        self._all(sql.ADD_RESULT_FILE, values)

    # reading ----------------------------------------------------------------------------------

    async def segments(
        self, tenant: str, batch_id: str, from_shard: int, limit: int
    ) -> list[SealedSegment]:
        """See `Store.segments`."""
        values: dict[str, Any] = {
            "tenant": tenant,
            "batch_id": batch_id,
            "from_shard": from_shard,
            "limit": limit,
        }

        def call() -> list[SealedSegment]:
            until = self._one(sql.FIRST_UNSEALED, values)
            assert until is not None, "an aggregate has a row"
            rows = self._all(sql.SEGMENTS, {**values, "until_shard": _or_end(until[0])})
            return [SealedSegment(row[0], row[1], row[2], Segment(*row[3:])) for row in rows]

        return await self._call(call)

    # upkeep -----------------------------------------------------------------------------------

    async def sweep(self, now: Instant, uploads_before: Instant, limit: int) -> list[str]:
        """See `Store.sweep`."""
        values = {"now": now, "uploads_before": uploads_before, "limit": limit}

        def call() -> list[str]:
            files = self._all(sql.SWEEP_FILES, values)
            uploads = self._all(sql.SWEEP_UPLOADS, values)
            # The blob of an upload that became a file belongs to the file now.
            dropped = [blob for blob, state in uploads if state != UploadState.FINAL]
            return [row[0] for row in files if row[0] is not None] + dropped

        return await self._write(call)

    async def check(self) -> None:
        """See `Store.check`."""

        text = "UPDATE schema_version SET applied_at = applied_at WHERE number = 1"
        await self._write(lambda: self._all(text))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._run(self._connection.close)


# rows and values ------------------------------------------------------------------------------


def _columns(value: Any) -> dict[str, Any]:
    """Give a value's fields as statement parameters."""
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _page(page: Page) -> dict[str, Any]:
    after_time, after_id = page.after or _FIRST_PAGE
    return {"after_time": after_time, "after_id": after_id, "limit": page.size + 1}


def _or_end(shard: int | None) -> int:
    return 2**62 if shard is None else shard


def _fence(claim: Claim) -> dict[str, Any]:
    return {
        "tenant": claim.tenant,
        "batch_id": claim.batch_id,
        "shard": claim.plan.index,
        "epoch": claim.epoch,
        "owner": claim.owner,
    }


def _journal(parts: Sequence[JournalPart]) -> str:
    return " ".join(f"{part.epoch}:{part.byte_length}" for part in parts)


def _parts(journal: str) -> tuple[JournalPart, ...]:
    return tuple(JournalPart(*map(int, part.split(":"))) for part in journal.split())


def _upload(row: tuple[Any, ...]) -> Upload:
    names = Upload.__struct_fields__
    values = dict(zip((name.strip() for name in sql.UPLOAD_COLUMNS.split(",")), row, strict=True))
    values["state"] = UploadState(values["state"])
    return Upload(**{name: values[name] for name in names})


def _file(row: tuple[Any, ...]) -> File:
    values = dict(zip((name.strip() for name in sql.FILE_COLUMNS.split(",")), row, strict=True))
    values["source"] = FileSource(values["source"])
    return File(**values)


def _batch(row: tuple[Any, ...]) -> Batch:
    failure = None if row[15] is None else Failure(Code(row[15]), row[16])
    return Batch(
        tenant=row[0],
        batch_id=row[1],
        model=row[2],
        display_name=row[3],
        form=BatchForm(row[4]),
        state=BatchState(row[5]),
        input_blob=row[6],
        input_file_id=row[7],
        input_bytes=row[8],
        priority=row[9],
        request_count=row[10],
        tally=Tally(*row[17:22]),
        created_at=row[11],
        updated_at=row[12],
        ended_at=row[13],
        expires_at=row[14],
        failure=failure,
    )
