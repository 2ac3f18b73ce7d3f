"""The verbs about batches and their sealed segments, in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nightrate.clock import Instant
from nightrate.domain.batch import Batch, Plan
from nightrate.domain.file import Page
from nightrate.domain.generation import Failure
from nightrate.domain.shard import ShardPlan
from nightrate.domain.states import BatchEvent
from nightrate.domain.webhook import WebhookConfig
from nightrate.errors import Code, NotFound
from nightrate.store import statements as sql
from nightrate.store.base import SealedSegment
from nightrate.store.outbox import Outbox
from nightrate.store.rows import batch_of, page_values, sealed_of, shard_or_end


class BatchVerbs(Outbox):
    """See `Store`, batches and reading."""

    async def add_batch(self, batch: Batch, webhook: WebhookConfig | None = None) -> None:
        """See `Store.add_batch`."""
        values = {name: getattr(batch, name) for name in batch.__struct_fields__}
        del values["tally"], values["failure"], values["request_count"], values["ended_at"]

        def call() -> None:
            if self._one(sql.ADD_BATCH, values) is None:
                raise NotFound(f"File files/{batch.input_file_id} does not exist any more.")
            if webhook is not None:
                self._add_targets(batch.tenant, batch.batch_id, webhook)

        await self._write(call)

    async def get_batch(self, tenant: str, batch_id: str) -> Batch | None:
        """See `Store.get_batch`."""
        rows = await self._read(sql.GET_BATCH, {"tenant": tenant, "batch_id": batch_id})
        return batch_of(rows[0]) if rows else None

    async def list_batches(self, tenant: str, page: Page) -> list[Batch]:
        """See `Store.list_batches`."""
        rows = await self._read(sql.LIST_BATCHES, {"tenant": tenant, **page_values(page)})
        return [batch_of(row) for row in rows]

    async def submitted_batches(self, limit: int) -> list[Batch]:
        """See `Store.submitted_batches`."""
        return [batch_of(row) for row in await self._read(sql.SUBMITTED_BATCHES, {"limit": limit})]

    async def open_batch(
        self, batch: Batch, plan: Plan, shards: Iterator[ShardPlan], now: Instant
    ) -> bool:
        """See `Store.open_batch`."""

        def call() -> bool:
            key = {"tenant": batch.tenant, "batch_id": batch.batch_id}
            counts = {"request_count": plan.request_count, "invalid_count": plan.invalid_count}
            if self._one(sql.OPEN_BATCH, {**key, **counts, "now": now}) is None:
                return False
            rows = (
                {
                    **key,
                    "shard": shard.index,
                    "first_request": shard.first_request,
                    "request_count": shard.request_count,
                    "first_line": shard.first_line,
                    "byte_offset": shard.byte_offset,
                    "byte_length": shard.byte_length,
                }
                for shard in shards
            )
            self._many(sql.ADD_SHARD, rows)
            return True

        return await self._write(call)

    async def fail_batch(
        self, batch: Batch, plan: Plan | None, failure: Failure, now: Instant
    ) -> bool:
        """See `Store.fail_batch`."""
        return await self._write(lambda: self._end(batch, plan, failure, now, BatchEvent.FAILED))

    async def expire_batches(self, now: Instant) -> list[Batch]:
        """See `Store.expire_batches`."""
        failure = Failure(Code.DEADLINE_EXCEEDED, "The batch expired before it was finished.")

        def call() -> list[Batch]:
            ended = []
            for tenant, batch_id in self._all(sql.OVERDUE_BATCHES, {"now": now}):
                key = {"tenant": tenant, "batch_id": batch_id}
                batch = batch_of(self._all(sql.GET_BATCH, key)[0])
                expired = self._end(batch, None, failure, now, BatchEvent.EXPIRED)
                assert expired, "found live in the same transaction"
                ended.append(batch)
            return ended

        return await self._write(call)

    def _end(
        self, batch: Batch, plan: Plan | None, failure: Failure, now: Instant, event: BatchEvent
    ) -> bool:
        key = {"tenant": batch.tenant, "batch_id": batch.batch_id, "now": now}
        values = {
            **key,
            "failure_code": int(failure.code),
            "failure_message": failure.message,
            "request_count": plan.request_count if plan else None,
            "invalid_count": plan.invalid_count if plan else None,
        }
        if self._one(sql.END_BATCH[event], values) is None:
            return False
        self._add_event(batch.tenant, batch.batch_id, f"batch.{event}", now)
        return True

    async def segments(
        self, tenant: str, batch_id: str, from_shard: int, limit: int
    ) -> list[SealedSegment]:
        """See `Store.segments`."""
        values: dict[str, Any] = {
            "tenant": tenant,
            "batch_id": batch_id,
            "from_shard": from_shard,
            "limit": limit,
        }

        def call() -> list[SealedSegment]:
            until = shard_or_end(self._aggregate(sql.FIRST_UNSEALED, values)[0])
            return [
                sealed_of(row) for row in self._all(sql.SEGMENTS, {**values, "until_shard": until})
            ]

        return await self._call(call)
