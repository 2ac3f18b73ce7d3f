"""The verbs about records listed whole, and about shards that are made again, in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightrate.clock import Instant
from nightrate.domain.batch import Batch
from nightrate.domain.cache import Cache
from nightrate.domain.file import File, ResultPart, Upload, result_file_id
from nightrate.domain.shard import Reopening, ShardRecord
from nightrate.store import record_statements as sql
from nightrate.store.outbox import Outbox
from nightrate.store.records import Key
from nightrate.store.rows import batch_of, cache_of, file_of, record_of, upload_of


class RecordVerbs(Outbox):
    """See `Records`."""

    async def reopen_shard(
        self, tenant: str, batch_id: str, shard: int, blob: str, now: Instant
    ) -> Reopening:
        """See `Records.reopen_shard`."""
        key = {"tenant": tenant, "batch_id": batch_id}
        values: dict[str, Any] = {**key, "shard": shard, "blob": blob, "now": now}

        def call() -> Reopening:
            repairable = self._one(sql.REPAIRABLE, values)
            if repairable is None:
                return Reopening.NEVER
            finished = bool(repairable[0])
            text = sql.REOPEN_FINISHED if finished else sql.REOPEN_LIVE
            if self._one(text, values) is not None:
                if finished:
                    self._all(sql.BEGIN_REPAIR, values)
                return Reopening.AGAIN
            return self._reopened_before(values)

        return await self._write(call)

    def _reopened_before(self, values: Mapping[str, Any]) -> Reopening:
        """Tell what became of a shard that cannot be reopened for this segment."""
        row = self._one(sql.FIND_SHARD, values)
        if row is None or row[0] is None:
            return Reopening.NEVER
        named, damaged_at, lost = row
        if named != values["blob"]:
            return Reopening.REPLACED
        return Reopening.NEVER if damaged_at is None or lost is not None else Reopening.AGAIN

    async def lose_shard(
        self, tenant: str, batch_id: str, shard: int, blob: str, why: str, now: Instant
    ) -> bool:
        """See `Records.lose_shard`."""
        key = {"tenant": tenant, "batch_id": batch_id, "shard": shard}
        values: dict[str, Any] = {**key, "blob": blob, "why": why, "now": now}
        return bool(await self._write(lambda: self._all(sql.LOSE_SHARD, values)))

    async def end_repair(self, batch: Batch, why: str, now: Instant) -> None:
        """See `Records.end_repair`."""
        key = {"tenant": batch.tenant, "batch_id": batch.batch_id}
        await self._write(lambda: self._give_up(key, why, now))

    async def expire_repairs(
        self, before: Instant, why: str, now: Instant, limit: int
    ) -> list[Batch]:
        """See `Records.expire_repairs`."""

        def call() -> list[Batch]:
            rows = self._all(sql.OLD_REPAIRS, {"before": before, "limit": limit})
            batches = [batch_of(row) for row in rows]
            for batch in batches:
                key = {"tenant": batch.tenant, "batch_id": batch.batch_id}
                self._give_up(key, why, now)
            return batches

        return await self._write(call)

    def _give_up(self, key: Mapping[str, Any], why: str, now: Instant) -> None:
        """Let what is damaged stay so, if the batch has ended and is being repaired."""
        values = {**key, "why": why}
        if self._one(sql.IS_REPAIRING, values) is not None:
            self._all(sql.LOSE_UNSEALED, values)
            self._finish_repair(values, now)

    def _finish_repair(self, key: Mapping[str, Any], now: Instant) -> None:
        """Let the result files be as long as the segments are now; one that is gone stays so."""
        values = {**key, "now": now}
        ended = self._one(sql.END_REPAIR, values)
        assert ended is not None, "seen in the same transaction"
        for part in ResultPart:
            file_id = result_file_id(values["batch_id"], part)
            self._all(sql.RESIZE_FILE[part], {**values, "file_id": file_id})

    async def input_digest(self, batch: Batch) -> str | None:
        """See `Records.input_digest`."""
        names = ("tenant", "input_file_id", "input_blob")
        values = {name: getattr(batch, name) for name in names}
        rows = await self._read(sql.INPUT_DIGEST, values)
        return rows[0][0] if rows else None

    async def shards(
        self, tenant: str, batch_id: str, from_shard: int, limit: int
    ) -> list[ShardRecord]:
        """See `Records.shards`."""
        values = {"tenant": tenant, "batch_id": batch_id}
        page = {"from_shard": from_shard, "limit": limit}
        return [record_of(row) for row in await self._read(sql.SHARDS, {**values, **page})]

    async def every_batch(self, after: Key, limit: int) -> list[Batch]:
        """See `Records.every_batch`."""
        return [batch_of(row) for row in await self._read(sql.EVERY_BATCH, _page(after, limit))]

    async def every_file(self, after: Key, limit: int) -> list[File]:
        """See `Records.every_file`."""
        return [file_of(row) for row in await self._read(sql.EVERY_FILE, _page(after, limit))]

    async def every_upload(self, after: str, limit: int) -> list[Upload]:
        """See `Records.every_upload`."""
        values = {"id": after, "limit": limit}
        return [upload_of(row) for row in await self._read(sql.EVERY_UPLOAD, values)]

    async def every_cache(self, after: Key, limit: int) -> list[Cache]:
        """See `Records.every_cache`."""
        return [cache_of(row) for row in await self._read(sql.EVERY_CACHE, _page(after, limit))]


def _page(after: Key, limit: int) -> dict[str, object]:
    tenant, found = after
    return {"tenant": tenant, "id": found, "limit": limit}
