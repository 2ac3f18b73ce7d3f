"""New work is taken only while the disk has more room than its reserve.

The reserve is for finishing what was accepted, and for the few hundred bytes of what is no work:
cancelling, deleting, keys, webhooks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from nightrate import clock, limits
from nightrate.errors import Fault, NoRoom, StoreFault
from nightrate.store.blobs import Blobs
from nightrate.store.disk import is_full


class Space:
    """Asks whether there is room."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._left_bytes = 0
        self._unwritten_bytes = 0
        """Of each upload the block that it was given last, which the disk may not have seen yet."""
        self._looked_at: float | None = None

    async def require(self, needed_bytes: int = 1) -> None:
        """Refuse what does not fit beside the reserve.

        Raises:
            NoRoom: it does not.
        """
        if await self._blobs.room() < needed_bytes:
            raise NoRoom

    async def taken(self, blocks: AsyncIterator[list[bytes]]) -> AsyncIterator[list[bytes]]:
        """Give blocks of bytes as long as they fit, all that come this way taken together.

        The disk is asked now and then, and whenever it seems to be full; in between what was given
        is subtracted. Many uploads at once would else fill the reserve between two looks.

        Raises:
            NoRoom: the next one does not fit.
        """
        last_bytes = 0
        try:
            async for block in blocks:
                size_bytes = sum(map(len, block))
                now = clock.monotonic()
                fresh = self._looked_at is not None and now - self._looked_at < limits.ROOM_SECONDS
                if not fresh or self._left_bytes < size_bytes:
                    self._left_bytes = await self._blobs.room() - self._unwritten_bytes
                    self._looked_at = now
                if self._left_bytes < size_bytes:
                    raise NoRoom
                self._left_bytes -= size_bytes
                self._unwritten_bytes += size_bytes - last_bytes
                last_bytes = size_bytes
                yield block
        finally:
            self._unwritten_bytes -= last_bytes


def refused_by_disk(error: OSError, message: str) -> Fault:
    """Say what a disk refused: that it is full is told as such."""
    return NoRoom(message) if is_full(error) else StoreFault(message)
