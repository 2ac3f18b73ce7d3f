"""One moment of a SQLite database, copied while others write to it.

Everything here blocks, in steps of bounded work: a generator that a thread is asked to advance.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

import apsw

from nightrate import limits, upkeep_limits
from nightrate.domain.backup import Progress
from nightrate.errors import Damaged, StoreFault
from nightrate.store.disk import sync_file

Steps = Generator[Progress, None, None]


def copy_database(source: Path | str, target: Path, progress: Progress, *, proof: str) -> Steps:
    """Copy one moment of a database, some pages a step, and sync it.

    Args:
        source: its path, or what `unchanging` gives for it.
        target: where nothing is yet.
        progress: given at each step.
        proof: a query that gives a true value if the database is what it should be.

    Raises:
        Damaged: it is damaged, or no such database.
        StoreFault: it cannot be copied.
        OSError: a disk refused.
    """
    try:
        with (
            contextlib.closing(reader_of(source)) as reader,
            contextlib.closing(apsw.Connection(str(target))) as copy,
        ):
            reader.execute("BEGIN")
            if not reader.execute(proof).get:
                raise Damaged(f"{source} is not a database of nightrate")
            with copy.backup("main", reader, "main") as backup:
                while not backup.done:
                    backup.step(upkeep_limits.BACKUP_PAGES)
                    yield progress
            if (found := copy.execute("PRAGMA quick_check(1)").get) != "ok":
                raise Damaged(f"{source} is damaged ({found})")
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise Damaged(f"{source} is damaged ({error})") from error
    except apsw.Error as error:
        raise StoreFault(f"{source} cannot be copied: {error}") from error
    target.chmod(0o600)
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)


def reader_of(source: Path | str) -> apsw.Connection:
    """Open a database to read it, by its path or by what `unchanging` gives for it."""
    flags = apsw.SQLITE_OPEN_READWRITE
    if isinstance(source, str):  # a name that says how to read: nobody writes there
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    reader = apsw.Connection(str(source), flags=flags)
    reader.execute("PRAGMA query_only=ON")
    reader.set_busy_timeout(int(limits.READER_BUSY_SECONDS * 1000))
    return reader


def unchanging(path: Path) -> str:
    """Name a database that nobody writes to, so that reading it leaves nothing beside it."""
    return f"file:{quote(str(path.absolute()))}?immutable=1"
