"""The store contract, continued: records listed whole, and shards that are made again.

What `upkeep` and `verify` need: everything that the rows name, page by page, whoever it belongs to
and whether or not a client can still see it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from nightrate.clock import Instant
from nightrate.domain.batch import Batch
from nightrate.domain.cache import Cache
from nightrate.domain.file import File, Upload
from nightrate.domain.shard import Reopening, ShardRecord

Key = tuple[str, str]
"""A tenant, and the id of something of it."""

BEFORE_ALL: Key = ("", "")
"""Where a listing begins."""


class Records(ABC):
    """See `Store`."""

    # repair -----------------------------------------------------------------------------------

    @abstractmethod
    async def reopen_shard(
        self, tenant: str, batch_id: str, shard: int, blob: str, now: Instant
    ) -> Reopening:
        """Let a sealed shard be made again, because its segment is damaged.

        Only while that segment is still the recorded one, the batch is not deleted, it shows or
        will show results, and the row of its input file, if it has one, is there; that is pinned
        from now on. The counters of a batch that has all its results stay until the shard is sealed
        again; those of any other count its requests as pending.
        """

    @abstractmethod
    async def lose_shard(
        self, tenant: str, batch_id: str, shard: int, blob: str, why: str, now: Instant
    ) -> bool:
        """Record that a sealed shard is damaged for good; False if that is not its segment."""

    @abstractmethod
    async def end_repair(self, batch: Batch, why: str, now: Instant) -> None:
        """Give up making shards of an ended batch again: they are damaged for good."""

    @abstractmethod
    async def expire_repairs(
        self, before: Instant, why: str, now: Instant, limit: int
    ) -> list[Batch]:
        """Give up every repair that began before a time, and name the batches."""

    @abstractmethod
    async def input_digest(self, batch: Batch) -> str | None:
        """Give the SHA-256 of a batch's input file, in sight or not; None for inline requests."""

    # everything -------------------------------------------------------------------------------

    @abstractmethod
    async def shards(
        self, tenant: str, batch_id: str, from_shard: int, limit: int
    ) -> list[ShardRecord]:
        """List the shards of a batch, sealed or not."""

    @abstractmethod
    async def every_batch(self, after: Key, limit: int) -> list[Batch]:
        """List batches by tenant and id, deleted ones too, without their counters."""

    @abstractmethod
    async def every_file(self, after: Key, limit: int) -> list[File]:
        """List files by tenant and id, those out of sight too."""

    @abstractmethod
    async def every_upload(self, after: str, limit: int) -> list[Upload]:
        """List upload sessions by id."""

    @abstractmethod
    async def every_cache(self, after: Key, limit: int) -> list[Cache]:
        """List cached contents by tenant and id, expired ones too."""
