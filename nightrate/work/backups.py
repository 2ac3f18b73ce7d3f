"""A backup of the directory that this server works in, while it works.

Nothing is deleted while a backup is made, so that every blob that the copied database names can be
copied after it. Whatever ends the backup, be it that nobody waits for it any more, ends that, too.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

from nightrate import clock, upkeep_limits
from nightrate.domain.backup import Progress
from nightrate.errors import Conflict, NotReady
from nightrate.service.sessions import uninterrupted
from nightrate.store.blobs import Blobs, Run
from nightrate.store.copies import back_up

log = logging.getLogger(__name__)


class Backups:
    """Makes backups, one at a time."""

    def __init__(self, directory: Path, blobs: Blobs, run: Run) -> None:
        """Wire it.

        Args:
            directory: what is copied.
            blobs: told not to delete meanwhile.
            run: where the copying waits for the disks, a step at a time.
        """
        self._directory = directory
        self._blobs = blobs
        self._run = run
        self._busy = False
        self._stopping = False

    def stop(self) -> None:
        """End the backup that is being made: the server stops."""
        self._stopping = True

    async def make(self, target: Path) -> AsyncGenerator[Progress, None]:
        """Make a backup, and tell how far it is about twice a second and at its end.

        Raises:
            Conflict: another one is being made.
            BadRequest: the place holds something else.
            NotReady: the server stops.
            StoreFault: the database cannot be copied.
            OSError: a disk refused.
        """
        if self._busy:
            raise Conflict("A backup is being made already; wait for its end.")
        self._busy = True
        log.info("a backup into %s begins", target)
        steps = back_up(self._directory, target)
        try:
            async with self._blobs.holding():
                told_at = clock.monotonic() - upkeep_limits.BACKUP_TOLD_SECONDS
                while (progress := await self._next(steps)) is not None:
                    if self._stopping:
                        raise NotReady("The server is stopping; make the backup again.")
                    now = clock.monotonic()
                    if progress.done or now - told_at >= upkeep_limits.BACKUP_TOLD_SECONDS:
                        told_at = now
                        yield progress
        finally:
            self._busy = False
            await uninterrupted(self._run(steps.close))
        log.info("a backup into %s is whole", target)

    async def _next(self, steps: Generator[Progress, None, None]) -> Progress | None:
        return await uninterrupted(self._run(lambda: next(steps, None)))
