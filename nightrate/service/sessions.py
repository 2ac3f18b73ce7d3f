"""The writing end of resumable uploads: which blob is open, and the digest that runs along.

The truth is the session's row: that many bytes are synced. What lies behind them in the blob was
never acknowledged and is cut off when the blob is opened again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from nightrate import limits
from nightrate.domain.file import Upload
from nightrate.errors import Damaged
from nightrate.store.blobs import Appender, Blobs

T = TypeVar("T")


class Session:
    """One upload being written in this process. Use it only while holding its ``lock``."""

    def __init__(self, blobs: Blobs) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        """Calls that hold the lock or wait for it; an unused session may be closed at any time."""
        self._blobs = blobs
        self._blob: Appender | None = None
        self._digest = hashlib.sha256()
        self._given_bytes = 0
        self._writing: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the blob is open, and so whether the written bytes can be trusted."""
        return self._blob is not None

    @property
    def given_bytes(self) -> int:
        """How many bytes the blob has when everything given is written, synced or not."""
        assert self._blob is not None, "opened before"
        return self._given_bytes

    @property
    def sha256(self) -> str:
        """The digest of the written bytes, in lowercase hexadecimal."""
        assert self._blob is not None, "opened before"
        assert self._writing is None, "drained before"
        return self._digest.hexdigest()

    async def open(self, upload: Upload) -> None:
        """Open the blob where the row says that it ends, reading it once for the digest.

        Raises:
            Damaged: the blob holds less than what was acknowledged.
            OSError: the disk refused.
        """
        if self._blob is not None and self._given_bytes == upload.received_bytes:
            return
        await self.close()
        held_bytes = await self._blobs.size(upload.blob)
        if (held_bytes or 0) < upload.received_bytes:
            message = (
                f"blob {upload.blob} holds {held_bytes or 0} bytes, but {upload.received_bytes}"
                f" were acknowledged"
            )
            raise Damaged(message)
        if held_bytes is None:
            blob = await self._blobs.create(upload.blob)
        else:
            blob = await self._blobs.reopen(upload.blob, upload.received_bytes)
        self._digest = hashlib.sha256()
        try:
            for offset in range(0, upload.received_bytes, limits.READ_BYTES):
                length = min(limits.READ_BYTES, upload.received_bytes - offset)
                (piece,) = await blob.read_all([(offset, length)])
                self._digest.update(piece)
        except BaseException:
            await blob.close()
            raise
        self._blob, self._given_bytes = blob, upload.received_bytes

    async def write(self, pieces: list[bytes]) -> None:
        """Begin to append pieces, not yet synced, when what was given before is written.

        The caller gathers the next pieces meanwhile. After an error the session is closed.
        """
        await self.drain()
        assert self._blob is not None, "opened before"
        self._writing = asyncio.ensure_future(
            self._blob.append(b"".join(pieces), take=self._digest.update)
        )
        self._given_bytes += sum(map(len, pieces))

    async def drain(self) -> None:
        """Return when everything given is written. After an error the session is closed."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            await uninterrupted(writing)
        except BaseException:
            await self.close()
            raise

    async def sync(self) -> None:
        """Return when everything given is on the disk. After an error the session is closed."""
        await self.drain()
        assert self._blob is not None, "opened before"
        try:
            await uninterrupted(self._blob.sync())
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the blob."""
        if self._writing is not None:  # its bytes were never acknowledged, whatever becomes of them
            writing, self._writing = self._writing, None
            await asyncio.wait([writing])
            if not writing.cancelled():
                writing.exception()  # looked at, so that nobody reports it as forgotten
        if self._blob is not None:
            blob, self._blob = self._blob, None
            await blob.close()


class Sessions:
    """The sessions open in this process, the least recently used closed first."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    @asynccontextmanager
    async def hold(self, upload_id: str) -> AsyncIterator[Session]:
        """Wait for a session and hold it alone."""
        session = self._sessions.setdefault(upload_id, Session(self._blobs))
        self._sessions.move_to_end(upload_id)
        session.users += 1
        try:
            async with session.lock:
                yield session
        finally:
            session.users -= 1
            if not session.users and not session.is_open:
                self._sessions.pop(upload_id, None)
            await self._close_idle(limits.UPLOADS_OPEN_MAX)

    async def close(self) -> None:
        """Let go of every blob that nobody is writing."""
        await self._close_idle(0)

    async def _close_idle(self, kept: int) -> None:
        idle = [name for name, session in self._sessions.items() if not session.users]
        for name in idle[: max(0, len(self._sessions) - kept)]:
            await self._sessions.pop(name).close()


async def uninterrupted(work: Awaitable[T]) -> T:
    """Await a write to its end even when the caller is cancelled.

    A cancelled wait does not stop the thread that writes; closing or reusing the blob under it
    would let its bytes land anywhere.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that nobody reports it as forgotten
        raise
