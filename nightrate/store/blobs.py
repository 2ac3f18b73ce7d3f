"""Bytes on the local disk, with the syncs that make them durable.

A name is written at most once (create-only), except that an appended blob (an upload, a journal)
grows until it is named in the database. Nothing reads a name that the database does not hold.
After a failed sync the file is abandoned: the kernel may have dropped the pages, so trying again
could report success for bytes that are gone.

Blocking calls go through the ``run`` function: in production it hands them to a thread, in a
simulation it calls them inline.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import zlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from nightrate import limits, upkeep_limits
from nightrate.errors import Damaged
from nightrate.store.disk import (
    begin_writing,
    cut_file,
    read_exactly,
    read_ranges,
    sync_file,
    sync_folder,
    write_all,
)

T = TypeVar("T")


class Run(Protocol):
    """Calls a blocking function somewhere and gives its result."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """Run it."""
        ...


_NAME = re.compile(r"[a-z0-9_-][a-z0-9._-]*(/[a-z0-9_-][a-z0-9._-]*)*")
"""No part of a name begins with a dot, so none leads out of the directory."""


Stamp = tuple[int, int, int]
"""What tells whether anybody wrote to a file: its inode, its time (ns) and its length."""


class _Descriptor:
    """Lets go of a file whose opener left while a thread opened it: nobody else knows of it."""

    _descriptor: int

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class Appender(_Descriptor):
    """A blob that is being written at its end by one writer."""

    def __init__(self, run: Run, path: Path, descriptor: int, size_bytes: int) -> None:
        self._run = run
        self._path = path
        self._descriptor = descriptor
        self._entry_synced = False
        self.size_bytes = size_bytes
        """How long the blob is, synced or not."""

    async def append(
        self, *pieces: bytes, sync: bool = False, take: Callable[[bytes], object] | None = None
    ) -> None:
        """Write pieces at the end; with ``sync``, return when they are on the disk.

        A digest may take them where the writing is done; after an error it is worth nothing.
        """

        def call() -> None:
            for piece in pieces:
                write_all(self._descriptor, piece)
                if take is not None:
                    begin_writing(self._descriptor, self.size_bytes, 0)  # while it is taken
                    take(piece)
            if sync:
                self._sync()

        await self._run(call)
        self.size_bytes += sum(map(len, pieces))

    async def sync(self) -> None:
        """Return when everything written so far is on the disk."""
        await self._run(self._sync)

    async def cut(self, size_bytes: int) -> None:
        """Drop what follows the first bytes: nobody is to read it."""
        await self._run(lambda: cut_file(self._descriptor, size_bytes))
        self.size_bytes = size_bytes

    async def read_all(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read back several (offset, length) ranges of what was written."""
        return await self._run(lambda: read_ranges(self._descriptor, ranges, self._path))

    async def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            await self._run(self._leave)

    def _leave(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _sync(self) -> None:
        sync_file(self._descriptor)
        if not self._entry_synced:  # the name of a new file is durable only with its directory
            sync_folder(self._path.parent)
            self._entry_synced = True


class Reader(_Descriptor):
    """An open blob."""

    def __init__(self, run: Run, path: Path, descriptor: int) -> None:
        self._run = run
        self._path = path
        self._descriptor = descriptor
        self.stamp = _stamp(descriptor)
        """As it was opened: another one after anybody wrote to it through the file system."""

    async def read(self, offset: int, length: int) -> bytes:
        """Read exactly so many bytes.

        Raises:
            Damaged: the blob is shorter than that.
        """
        return await self._run(lambda: read_exactly(self._descriptor, offset, length, self._path))

    async def read_all(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several (offset, length) ranges exactly."""
        return await self._run(lambda: read_ranges(self._descriptor, ranges, self._path))

    async def checksum(self, offset: int, length: int, crc32: int = 0) -> int:
        """Give the CRC-32 of exactly so many bytes, continuing from one; only a piece is held.

        Raises:
            Damaged: the blob is shorter than that.
        """

        def call() -> int:
            sum_ = crc32
            for start in range(offset, offset + length, limits.READ_BYTES):
                want = min(limits.READ_BYTES, offset + length - start)
                sum_ = zlib.crc32(read_exactly(self._descriptor, start, want, self._path), sum_)
            return sum_

        return await self._run(call)

    async def feed(self, take: Callable[[bytes], object], offset: int, length: int) -> None:
        """Hand exactly so many bytes to a function, beside the event loop; a piece is held.

        Raises:
            Damaged: the blob is shorter than that.
        """

        def call() -> None:
            for start in range(offset, offset + length, limits.READ_BYTES):
                want = min(limits.READ_BYTES, offset + length - start)
                take(read_exactly(self._descriptor, start, want, self._path))

        await self._run(call)

    async def size(self) -> int:
        """Tell how long the blob is."""
        return await self._run(lambda: os.fstat(self._descriptor).st_size)

    async def read_some(self, offset: int, length: int) -> bytes:
        """Read up to so many bytes; empty at the end."""
        return await self._run(lambda: os.pread(self._descriptor, length, offset))

    async def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            await self._run(self._leave)

    def _leave(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class Whole(Struct, frozen=True):
    """A blob that was read from one end to the other."""

    pieces: list[bytes]
    """Of `limits.READ_BYTES` each, but for the last one."""
    stamp: Stamp
    crc32: int | None
    """Of everything; None where it was not asked for."""


class _Folder:
    """A folder that is being read; whoever reads it may be gone in the middle."""

    def __init__(self, entries: Any) -> None:
        self._entries = entries
        self._reading = threading.Lock()

    def __del__(self) -> None:
        self._entries.close()

    def some(self) -> list[str]:
        """Give the next names that a blob can have; none at the end."""
        with self._reading:
            names = (entry.name for entry in self._entries)
            return list(islice(filter(_NAME.fullmatch, names), limits.SCAN_NAMES))

    def leave(self) -> None:
        """Let go of it; while a thread still reads, that is left to whoever holds it last.

        Closed under a thread that reads, a folder takes the whole process down.
        """
        if self._reading.acquire(blocking=False):
            self._entries.close()
            self._reading.release()


class Blobs:
    """The blobs below one directory."""

    def __init__(self, root: Path, run: Run) -> None:
        self._root = root
        self._run = run
        self._folders: set[Path] = {root}
        self._holders = 0
        self._held: list[str] = []
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(root.parent)  # every blob hangs by this name

    def path(self, name: str) -> Path:
        """Give the place of a blob, for a child process that reads or writes it."""
        assert _NAME.fullmatch(name), name
        return self._root / name

    async def make(self, folder: str) -> None:
        """Make a folder, for a child process that writes into it."""
        path = self.path(folder)
        await self._run(lambda: self._make(path))

    async def create(self, name: str) -> Appender:
        """Begin a new blob.

        Raises:
            FileExistsError: the name is in use.
        """
        path = self.path(name)

        return await self._run(lambda: Appender(self._run, path, self._begin(path), 0))

    def _begin(self, path: Path) -> int:
        self._make(path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o600)

    async def reopen(self, name: str, size_bytes: int) -> Appender:
        """Continue a blob whose first bytes count; what follows them is cut off.

        Raises:
            Damaged: it is missing, or shorter than that.
        """
        path = self.path(name)

        def call() -> Appender:
            descriptor = _open(path, name, os.O_RDWR | os.O_APPEND)
            if os.fstat(descriptor).st_size < size_bytes:
                os.close(descriptor)
                raise Damaged(f"blob {name} ends before byte {size_bytes}")
            cut_file(descriptor, size_bytes)
            return Appender(self._run, path, descriptor, size_bytes)

        return await self._run(call)

    async def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a whole small blob and sync it, all in one call.

        Raises:
            FileExistsError: the name is in use.
        """
        path = self.path(name)

        def call() -> None:
            descriptor = self._begin(path)
            try:
                for piece in pieces:
                    write_all(descriptor, piece)
                sync_file(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(path.parent)

        await self._run(call)

    async def open(self, name: str) -> Reader:
        """Open a blob for reading.

        Raises:
            Damaged: it is missing.
        """
        path = self.path(name)

        return await self._run(lambda: Reader(self._run, path, _open(path, name, os.O_RDONLY)))

    async def whole(self, name: str, length: int, known: Stamp | None) -> Whole:
        """Read exactly so many bytes of a small blob, all in one call.

        Args:
            name: of the blob.
            length: of the blob.
            known: as it was when its checksum was last found to be right: while it is so still,
                the checksum is not computed.

        Raises:
            Damaged: it is missing, or shorter than that.
        """
        path = self.path(name)

        def call() -> Whole:
            descriptor = _open(path, name, os.O_RDONLY)
            try:
                stamp, crc32, pieces = _stamp(descriptor), 0, []
                for start in range(0, length, limits.READ_BYTES):
                    want = min(limits.READ_BYTES, length - start)
                    piece = read_exactly(descriptor, start, want, path)
                    pieces.append(piece)
                    if stamp != known:
                        crc32 = zlib.crc32(piece, crc32)
            finally:
                os.close(descriptor)
            return Whole(pieces, stamp, None if stamp == known else crc32)

        return await self._run(call)

    async def size(self, name: str) -> int | None:
        """Tell how long a blob is; None when there is none."""
        path = self.path(name)
        return await self._run(lambda: path.stat().st_size if path.exists() else None)

    async def sync(self, name: str) -> None:
        """Sync a blob that somebody else wrote, and its name."""
        path = self.path(name)

        def call() -> None:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                sync_file(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(path.parent)

        await self._run(call)

    async def scan(self, folder: str) -> AsyncGenerator[list[str], None]:
        """Name what lies in a folder, a slice at a time, however much that is.

        What no blob can be called is not ours and is passed over.
        """
        path = self.path(folder)
        try:
            folder_read = await self._run(lambda: _Folder(os.scandir(path)))
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            while some := await self._run(folder_read.some):
                yield some
        finally:
            folder_read.leave()

    async def existing(self, names: Sequence[str]) -> list[str]:
        """Give those of some names that are there, of blobs or of folders."""
        paths = [self.path(name) for name in names]

        def call() -> list[str]:
            return [name for name, path in zip(names, paths, strict=True) if path.exists()]

        return await self._run(call)

    async def list(self, folder: str) -> list[str]:
        """Name what lies in a folder; nothing when there is none."""
        path = self.path(folder)

        def call() -> list[str]:
            return [entry.name for entry in path.iterdir()] if path.is_dir() else []

        return await self._run(call)

    def _make(self, folder: Path) -> None:
        """Make a folder, synced into its parent, so that a power cut keeps the whole path.

        One that is there may have been made by another thread that has not synced it yet, so each
        is synced here once before it is trusted.
        """
        if folder in self._folders:
            return
        self._make(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        sync_folder(folder.parent)
        if len(self._folders) >= limits.FOLDERS_REMEMBERED_MAX:
            self._folders = {self._root}
        self._folders.add(folder)

    async def delete(self, *names: str) -> None:
        """Remove blobs or whole directories of them; missing ones are fine."""
        if not names:
            return
        if self._holders:
            # What is over the bound stays as an orphan, and is found as one.
            self._held += names[: upkeep_limits.HELD_DELETIONS_MAX - len(self._held)]
            return
        paths = [self.path(name) for name in names]

        def call() -> None:
            for path in paths:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                    below = f"{path}/"  # made anew when somebody writes into it again
                    gone = {one for one in tuple(self._folders) if f"{one}/".startswith(below)}
                    self._folders -= gone
                else:
                    path.unlink(missing_ok=True)

        await self._run(call)

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Delete nothing while the block runs, and then what should have been deleted.

        For whoever copies the blobs that an earlier state of the database names.
        """
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            while self._held and not self._holders:
                some, self._held = (
                    self._held[: limits.SCAN_NAMES],
                    self._held[limits.SCAN_NAMES :],
                )
                await self.delete(*some)

    async def room(self) -> int:
        """Tell how many bytes may still be written before the reserve is touched."""

        def call() -> int:
            usage = shutil.disk_usage(self._root)
            share = int(usage.total * limits.DISK_RESERVE_SHARE)
            return usage.free - min(limits.DISK_RESERVE_BYTES, share)

        return await self._run(call)


def _open(path: Path, name: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Damaged(f"blob {name} is missing") from error


def _stamp(descriptor: int) -> Stamp:
    status = os.fstat(descriptor)
    return status.st_ino, status.st_mtime_ns, status.st_size
