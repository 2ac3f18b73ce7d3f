"""``nightrate backup`` and ``nightrate restore``: copies of data directories, and the way back."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import json

from nightrate import administer
from nightrate.dialects import administration as dialect
from nightrate.domain.backup import Progress
from nightrate.errors import StoreFault
from nightrate.store import copies, database_copies
from nightrate.store.directory import DataDirectory

Tell = Callable[[Progress], None]


async def back_up(data: Path, target: Path, tell: Tell) -> Progress:
    """Copy a data directory, through the server in it if there is one.

    Args:
        data: the directory.
        target: a directory that is not there yet, or empty, or holds an earlier backup of it;
            absolute, because the server may have been started elsewhere.
        tell: told how far it is.

    Returns:
        what was done.

    Raises:
        Refused, RefusedByServer: the place holds something else, or a backup is being made.
        StoreFault: the directory cannot be used or copied.
    """
    administer.require_directory(data)

    async def here(directory: DataDirectory) -> Progress:
        if not directory.database.exists():
            raise StoreFault(f"{data} holds no data yet; there is nothing to back up.")
        return _through(copies.back_up(directory.path, target), tell)

    def there() -> Progress:
        body = dialect.write_backup(target)
        return administer.call(data, "POST", "/backups", body, lambda answer: _follow(answer, tell))

    return await administer.ask(data, here, there)


def restore(source: Path, data: Path, tell: Tell) -> Progress:
    """Copy a backup into a data directory that is not there yet, or empty.

    Raises:
        BadRequest: there is no whole backup, or something where it should go.
        StoreFault: the backup is damaged, or of an unknown version, or a disk refused.
    """
    return _through(copies.restore(source, data), tell)


def _through(steps: database_copies.Steps, tell: Tell) -> Progress:
    progress = Progress()
    try:
        for progress in steps:
            tell(progress)
    except OSError as error:
        raise StoreFault(f"a disk refused: {error}") from error
    assert progress.done, "the last step says so"
    return progress


def _follow(answer: http.client.HTTPResponse, tell: Tell) -> Progress:
    """Read what a server tells of a backup until its end."""
    try:
        for line in answer:
            told = json.decode(line, type=dialect.BackupLine)
            if told.refused is not None:
                raise administer.RefusedByServer(told.refused)
            assert told.progress is not None, "one or the other"
            tell(told.progress)
            if told.progress.done:
                return told.progress
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise StoreFault(f"the server broke off the backup ({error}); make it again") from error
    raise StoreFault("the server broke off the backup; make it again")
