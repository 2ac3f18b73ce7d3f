"""A data directory, copied while somebody works in it: the database first, the blobs after.

The copy of the database is one moment; every blob that it names was on the disk before that moment
and stays as long as nothing is deleted, which whoever calls has to see to. So no row of the copy
lacks its bytes. Taken the other way round, the database could name what came after the blobs had
been copied. Only what the copy of the database names is copied: files of later epochs must not
stand in the way of the owners that a restored server makes.

The index of the operator's documents knows of neither; it is one moment of its own.

Blobs never change once they are named, so on the same file system they are linked. What still grows
is copied, as far as it is counted at least.

Everything here blocks, in steps of bounded work: a generator that a thread is asked to advance.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
from msgspec import Struct

from nightrate import limits, upkeep_limits
from nightrate.domain.backup import Progress
from nightrate.domain.batch import journal_blob
from nightrate.errors import BadRequest, Damaged
from nightrate.store import copy_statements as sql
from nightrate.store.database_copies import Steps, copy_database, reader_of, unchanging
from nightrate.store.directory import (
    COPY_MARK,
    DATABASE,
    INDEX,
    mark_copy,
    require_format,
    unmark_copy,
    write_format,
)
from nightrate.store.disk import sync_file, sync_folder
from nightrate.store.rows import journal_parts


class _Named(Struct, frozen=True):
    """A blob that the database names, and how much of it counts."""

    name: str
    byte_length: int
    grows: bool = False
    whole: bool = False
    """Whether what follows the counted bytes is of use, too."""


def require_target(target: Path, *, again: bool) -> None:
    """Refuse a place for a copy that holds something else.

    Raises:
        BadRequest: it is not empty, nor (if ``again``) an earlier copy.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise BadRequest(f"{target} is not a directory.")
    if any(target.iterdir()) and not (again and (target / COPY_MARK).exists()):
        hint = "an earlier backup, or a directory that is empty" if again else "an empty directory"
        raise BadRequest(f"{target} is not empty; name {hint}.")


def require_copy(source: Path) -> None:
    """Refuse what is no whole backup.

    Raises:
        BadRequest: it is none, or it was never finished.
        StoreFault: it is one of an unknown version.
    """
    if not (source / COPY_MARK).exists():
        raise BadRequest(f"{source} is not a backup that nightrate made.")
    if not (source / DATABASE).exists():
        raise BadRequest(f"{source} is a backup that was not finished; it cannot be restored.")
    require_format(source)


def back_up(source: Path, target: Path) -> Steps:
    """Copy the data directory of a server, whether it runs or not, into a backup.

    The place may hold an earlier backup, which stays whole until this one is: only the last step
    replaces its database.

    Raises:
        BadRequest: the place holds something else.
        StoreFault: the database cannot be copied.
        OSError: a disk refused.
    """
    require_target(target, again=True)
    yield from _copy(source, target, into_backup=True)


def restore(source: Path, target: Path) -> Steps:
    """Copy a backup into a data directory that is not there yet, or empty.

    Raises:
        BadRequest: there is no whole backup, or something where it should go.
        Damaged: its database is damaged.
        StoreFault: it is of an unknown version.
        OSError: a disk refused.
    """
    require_copy(source)
    require_target(target, again=False)
    yield from _copy(source, target, into_backup=False)


def _copy(source: Path, target: Path, *, into_backup: bool) -> Steps:
    def named(database: str) -> Path | str:
        path = source / database
        return path if into_backup else unchanging(path)  # nobody writes to a backup

    _require_same_server(source / "keys", target / "keys")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    sync_folder(target.parent)
    mark_copy(target)
    progress = Progress()
    new = target / f"{DATABASE}.new"
    new.unlink(missing_ok=True)
    yield from copy_database(named(DATABASE), new, progress, proof=sql.IS_STATE)
    progress.doing = "copying blobs"
    with contextlib.closing(reader_of(unchanging(new))) as snapshot:
        progress.whole_bytes = snapshot.execute(sql.TOTALS).get
        copier = _Copier(source / "blobs", target / "blobs", progress, link=into_backup)
        yield from copier.copy(_named(snapshot))
    if (source / INDEX).exists():
        progress.doing = "copying the index"
        yield from _copy_index(named(INDEX), target / INDEX, progress)
    else:
        (target / INDEX).unlink(missing_ok=True)
    _copy_keys(source / "keys", target / "keys")
    write_format(target)
    new.replace(target / DATABASE)  # from here on the copy is whole
    sync_folder(target)
    progress.doing = "done"
    if not into_backup:
        unmark_copy(target)
    progress.done = True
    yield progress


def _copy_index(source: Path | str, target: Path, progress: Progress) -> Steps:
    """Copy the index; a damaged one is told like a damaged blob, and the copy has the last one."""
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    try:
        yield from copy_database(source, new, progress, proof=sql.IS_INDEX)
    except Damaged:
        new.unlink(missing_ok=True)
        _note_damage(progress, INDEX)
        return
    new.replace(target)


def _require_same_server(source: Path, target: Path) -> None:
    """Refuse to replace the backup of another server."""
    for key in target.glob("*.key"):
        if (source / key.name).exists() and (source / key.name).read_bytes() != key.read_bytes():
            message = f"{target.parent} is the backup of another server; name another place."
            raise BadRequest(message)


def _named(snapshot: apsw.Connection) -> Iterator[_Named]:
    """Give every blob that a database names, those of a folder after each other."""
    for text in (sql.FILES, sql.CACHES, sql.INPUTS, sql.SEGMENTS):
        for blob, byte_length in snapshot.execute(text):
            yield _Named(blob, byte_length)
    for blob, byte_length in snapshot.execute(sql.UPLOADS):
        yield _Named(blob, byte_length, grows=True)
    for tenant, batch_id, shard, text in snapshot.execute(sql.JOURNALS):
        parts = journal_parts(text)
        for part in parts:
            name = journal_blob(tenant, batch_id, shard, part.epoch)
            # Whoever takes over counts what the last owner wrote beyond its last word.
            yield _Named(name, part.byte_length, grows=True, whole=part is parts[-1])


# blobs ----------------------------------------------------------------------------------------


class _Copier:
    """Copies or links blobs, some a step; folders are synced when the next one begins."""

    def __init__(self, source: Path, target: Path, progress: Progress, *, link: bool) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._link = link
        self._folder: Path | None = None
        self._made: set[Path] = set()

    def copy(self, named: Iterator[_Named]) -> Steps:
        self._make(self._target)
        for number, blob in enumerate(named, 1):
            yield from self._take(blob)
            if number % upkeep_limits.BACKUP_BLOBS == 0:
                yield self._progress
        self._leave_folder()

    def _take(self, blob: _Named) -> Steps:
        source, target = self._source / blob.name, self._target / blob.name
        held = source.stat().st_size if source.exists() else -1
        if held < blob.byte_length:
            if held >= 0 or blob.byte_length or not blob.grows:  # a journal may not exist yet
                _note_damage(self._progress, blob.name)
            return
        wanted = held if blob.whole else blob.byte_length
        self._enter_folder(target.parent)
        if not blob.grows and target.exists() and target.stat().st_size == held:
            self._progress.there += 1
        elif self._link and not blob.grows and _linked(source, target):
            self._progress.linked += 1
        else:
            yield from self._copy_bytes(source, target, wanted)
            self._progress.copied += 1
            return
        self._progress.done_bytes += held

    def _copy_bytes(self, source: Path, target: Path, byte_length: int) -> Steps:
        """Copy, sync and only then name it."""
        part = target.with_name(f"{target.name}.part")
        left = byte_length
        with source.open("rb", buffering=0) as reader, part.open("wb", buffering=0) as writer:
            part.chmod(0o600)
            while left:
                step = min(left, upkeep_limits.BACKUP_BYTES)
                while step:
                    piece = reader.read(min(step, limits.WRITE_BYTES))
                    if not piece:
                        raise Damaged(f"{source} became shorter while it was copied")
                    view = memoryview(piece)
                    while view:
                        view = view[writer.write(view) :]
                    step -= len(piece)
                    left -= len(piece)
                    self._progress.done_bytes += len(piece)
                yield self._progress
            sync_file(writer.fileno())
        part.replace(target)

    def _enter_folder(self, folder: Path) -> None:
        if folder != self._folder:
            self._leave_folder()
            self._make(folder)
            self._folder = folder

    def _leave_folder(self) -> None:
        if self._folder is not None:
            sync_folder(self._folder)
            self._folder = None

    def _make(self, folder: Path) -> None:
        """Make a folder and sync its name, with all above it."""
        if folder in self._made:
            return
        if folder != self._target:
            self._make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
        if len(self._made) >= limits.FOLDERS_REMEMBERED_MAX:
            self._made.clear()
        self._made.add(folder)


def _note_damage(progress: Progress, name: str) -> None:
    """Tell of what is in no copy because its bytes are not what they should be."""
    progress.damaged += 1
    progress.first_damaged = progress.first_damaged or name


def _linked(source: Path, target: Path) -> bool:
    """Let the same bytes have a second name; False where that cannot be."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, too many names, or no such thing there: copying tells more
        return False
    return True


def _copy_keys(source: Path, target: Path) -> None:
    """Copy the server's own keys."""
    if not source.exists():
        return
    target.mkdir(mode=0o700, exist_ok=True)
    for key in sorted(source.iterdir()):
        new = target / f"{key.name}.part"
        with key.open("rb") as reader, new.open("wb") as writer:
            new.chmod(0o600)
            shutil.copyfileobj(reader, writer)
            writer.flush()
            sync_file(writer.fileno())
        new.replace(target / key.name)
    sync_folder(target)
    sync_folder(target.parent)
