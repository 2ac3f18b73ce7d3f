"""The store on one machine: SQLite through APSW, one writer, and one reader beside it.

Only the server process opens the database, and every statement goes through a ``run`` function: in
production it hands to one thread, in a simulation it calls inline. ``synchronous=FULL`` is what
makes an acknowledged commit survive a power cut; versions before 3.51.3 can corrupt a write-ahead
log (the WAL-reset race) and are refused.

A commit waits for the disk, and whoever only asks shall not wait with it: given a second ``run``
function, reading statements have a connection of their own. Each sees everything that was committed
before it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import apsw

from nightrate import clock, limits
from nightrate.errors import Damaged, StoreFault
from nightrate.store.batch_verbs import BatchVerbs
from nightrate.store.blobs import Run
from nightrate.store.cache_verbs import CacheVerbs
from nightrate.store.file_verbs import FileVerbs
from nightrate.store.key_verbs import KeyVerbs
from nightrate.store.migrate import Step, steps
from nightrate.store.relational import Values
from nightrate.store.rows import Row
from nightrate.store.sweep_verbs import SweepVerbs
from nightrate.store.webhook_verbs import WebhookVerbs
from nightrate.store.work_verbs import WorkVerbs

T = TypeVar("T")

VERSION_MIN = (3, 51, 3)

_TROUBLE = (
    apsw.FullError,
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.CantOpenError,
    apsw.PermissionsError,
    apsw.NoMemError,
)
"""What the disk, the system or another process did; anything else is a mistake of ours."""


def sqlite_version() -> str:
    """Name the SQLite version in use."""
    return apsw.sqlite_lib_version()


class SQLiteStore(FileVerbs, BatchVerbs, WorkVerbs, WebhookVerbs, KeyVerbs, CacheVerbs, SweepVerbs):
    """Durable truth in one file."""

    def __init__(self, path: Path, run: Run, run_reading: Run | None = None) -> None:
        """Open the database, making or upgrading it as needed.

        Args:
            path: the database file.
            run: where its statements run, one after the other.
            run_reading: where statements run that only read; None for the same place.

        Raises:
            Damaged: the file is not what SQLite wrote.
            StoreFault: SQLite is too old, the disk refuses, or a newer version wrote the file.
        """
        if tuple(map(int, sqlite_version().split("."))) < VERSION_MIN:
            message = f"SQLite {sqlite_version()} can lose commits; 3.51.3 or newer is needed"
            raise StoreFault(message)
        self._run = run
        self._path = path
        try:
            self._connection = apsw.Connection(str(path))
        except _TROUBLE as error:
            raise StoreFault(f"{path} cannot be opened: {error}") from error
        try:
            self._prepare()
        except (apsw.CorruptError, apsw.NotADBError) as error:
            self._connection.close()
            raise self._damaged(str(error)) from error
        except _TROUBLE as error:
            self._connection.close()
            raise StoreFault(f"{path} cannot be used: {error}") from error
        except StoreFault:
            self._connection.close()
            raise
        self._run_reading, self._reader = run, self._connection
        if run_reading is not None:
            self._run_reading, self._reader = run_reading, self._open_reader()

    def _open_reader(self) -> apsw.Connection:
        reader = apsw.Connection(str(self._path))
        reader.execute("PRAGMA query_only=ON")
        reader.set_busy_timeout(int(limits.READER_BUSY_SECONDS * 1000))
        return reader

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA temp_store=MEMORY")
        found = self._connection.execute("PRAGMA quick_check(1)").get
        if found != "ok":
            raise self._damaged(str(found))
        known = steps()
        for step in known:
            self._migrate(step, known[-1].number)

    def _damaged(self, found: str) -> Damaged:
        return Damaged(f"{self._path} is damaged ({found}); restore it from a backup")

    def _migrate(self, step: Step, newest_known: int) -> None:
        with self._transaction():
            self._all(
                "CREATE TABLE IF NOT EXISTS schema_version"
                " (number BIGINT PRIMARY KEY, sha256 TEXT NOT NULL, applied_at BIGINT NOT NULL)",
            )
            newest = self._aggregate("SELECT coalesce(max(number), 0) FROM schema_version", {})
            if newest[0] > newest_known:
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
                raise StoreFault(
                    f"schema step {step.number} is not the one {self._path} was made by"
                )

    # running statements -----------------------------------------------------------------------

    def _all(self, text: str, values: Values | None = None) -> list[Row]:
        return self._connection.execute(text, dict(values) if values else None).fetchall()

    def _many(self, text: str, values: Iterator[Values]) -> None:
        self._connection.executemany(text, values)

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

    async def _call(self, call: Callable[[], T]) -> T:
        """Run a call where the connection lives; what the disk refuses is a `StoreFault`."""
        return await self._in(self._run, call)

    async def _read(self, text: str, values: Values) -> list[Row]:
        """Run one reading statement beside the writer, if there is a place for that."""
        reader = self._reader
        return await self._in(
            self._run_reading, lambda: reader.execute(text, dict(values)).fetchall()
        )

    @staticmethod
    async def _in(run: Run, call: Callable[[], T]) -> T:
        try:
            return await run(call)
        except _TROUBLE as error:
            raise StoreFault(f"the state database cannot be used: {error}") from error

    # itself -----------------------------------------------------------------------------------

    async def check(self) -> None:
        """See `Store.check`."""
        text = "UPDATE schema_version SET applied_at = applied_at WHERE number = 1"
        await self._write(lambda: self._all(text))

    async def integrity(self, limit: int) -> list[str]:
        """Give what SQLite finds wrong with the whole file, indexes and constraints too."""
        rows = await self._read(f"PRAGMA integrity_check({limit:d})", {})
        return [str(row[0]) for row in rows if row[0] != "ok"]

    async def close(self) -> None:
        """See `Store.close`."""
        if self._reader is not self._connection:
            await self._run_reading(self._reader.close)
        await self._run(self._connection.close)
