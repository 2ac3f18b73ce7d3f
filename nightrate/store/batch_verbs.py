"""The verbs about batches and their sealed segments, in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nightrate import clock, limits
from nightrate.clock import Instant
from nightrate.domain.batch import ANY_BATCH, Batch, BatchFilter, Once, PartialResults, Plan
from nightrate.domain.file import Page
from nightrate.domain.generation import Failure
from nightrate.domain.quota import estimate_tokens, over_batches, over_tokens
from nightrate.domain.shard import ShardPlan
from nightrate.domain.states import BatchEvent
from nightrate.domain.webhook import WebhookConfig
from nightrate.errors import Code, Conflict, MissingFile
from nightrate.store import statements as sql
from nightrate.store.base import SealedSegment
from nightrate.store.record_verbs import RecordVerbs
from nightrate.store.rows import (
    batch_of,
    columns,
    faults_text,
    page_values,
    quote_text,
    sealed_of,
    shard_or_end,
)

_GROWN = (
    *("tally", "failure", "request_count", "ended_at", "partial", "started_at", "faults"),
    "repair_since",
)
"""What a new batch has not."""

_ANOTHER_CALL = (
    "The idempotency key was used by a call that asked for something else and made batches/{}."
    " Send the very same body again, or take another key."
)
_DELETED = "its batch was deleted before that"
_CANCELLED = Failure(Code.CANCELLED, "The batch was cancelled.")


class BatchVerbs(RecordVerbs):
    """See `Store`, batches and reading."""

    async def add_batch(
        self,
        batch: Batch,
        *,
        live_max: int | None = None,
        tokens_max: int | None = None,
        webhook: WebhookConfig | None = None,
        once: Once | None = None,
    ) -> str:
        """See `Store.add_batch`."""
        values = columns(batch)
        for name in _GROWN:
            del values[name]
        values["terms"] = None if batch.terms is None else batch.terms.decode()
        values["quote"] = quote_text(batch.quote)
        values |= {**columns(values.pop("kind")), "strict": int(batch.strict)}

        def call() -> str:
            if once is not None:
                made = self._made_by(batch.tenant, once, batch.created_at)
                if made is not None:
                    return made
                self._all(sql.REMEMBER_CALL, {**values, **columns(once)})
            if live_max is not None:
                live = int(self._aggregate(sql.COUNT_LIVE, values)[0])
                if live >= live_max:
                    raise over_batches(live, live_max)
            if tokens_max is not None:
                self._require_tokens(batch, tokens_max)
            if self._one(sql.ADD_BATCH, values) is None:
                message = f"File files/{batch.input_file_id} does not exist any more."
                raise MissingFile(message, batch.input_file_id or "")
            if webhook is not None:
                self._add_targets(batch.tenant, batch.batch_id, webhook)
            return batch.batch_id

        return await self._write(call)

    def _made_by(self, tenant: str, once: Once, now: Instant) -> str | None:
        since = clock.later(now, -limits.IDEMPOTENCY_SECONDS)
        row = self._one(sql.MADE_BY, {"tenant": tenant, "key": once.key, "since": since})
        if row is None:
            return None
        batch_id, digest = row
        if digest != once.digest:
            raise Conflict(_ANOTHER_CALL.format(batch_id))
        return str(batch_id)

    async def made_by(self, tenant: str, once: Once, now: Instant) -> str | None:
        """See `Store.made_by`."""
        return await self._call(lambda: self._made_by(tenant, once, now))

    async def sweep_idempotency(self, before: Instant, limit: int) -> int:
        """See `Store.sweep_idempotency`."""
        values = {"before": before, "limit": limit}
        return len(await self._write(lambda: self._all(sql.SWEEP_IDEMPOTENCY, values)))

    def _require_tokens(self, batch: Batch, most: int) -> None:
        """Ask whether a new batch fits beside the live ones of its model."""
        key = {"tenant": batch.tenant, "model": batch.model}
        queued = sum(estimate_tokens(row[0]) for row in self._all(sql.LIVE_INPUTS, key))
        asked = estimate_tokens(batch.input_bytes)
        if queued + asked > most:
            raise over_tokens(batch.model, asked, queued, most)

    async def get_batch(self, tenant: str, batch_id: str) -> Batch | None:
        """See `Store.get_batch`."""
        rows = await self._read(sql.GET_BATCH, {"tenant": tenant, "batch_id": batch_id})
        return batch_of(rows[0]) if rows else None

    async def list_batches(
        self, tenant: str, page: Page, wanted: BatchFilter = ANY_BATCH
    ) -> list[Batch]:
        """See `Store.list_batches`."""
        states = None if wanted.states is None else f" {' '.join(sorted(wanted.states))} "
        values = {"tenant": tenant, "states": states, "display_name": wanted.display_name}
        rows = await self._read(sql.LIST_BATCHES, {**values, **page_values(page)})
        return [batch_of(row) for row in rows]

    async def submitted_batches(
        self, limit: int, *, bytes_from: int = 0, bytes_below: int | None = None
    ) -> list[Batch]:
        """See `Store.submitted_batches`."""
        end = 2**62 if bytes_below is None else bytes_below
        values = {"limit": limit, "bytes_from": bytes_from, "bytes_below": end}
        return [batch_of(row) for row in await self._read(sql.SUBMITTED_BATCHES, values)]

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

    async def cancel_batch(
        self, tenant: str, batch_id: str, now: Instant, *, partial_results: bool
    ) -> Batch | None:
        """See `Store.cancel_batch`."""
        key = {"tenant": tenant, "batch_id": batch_id}

        def call() -> Batch | None:
            batch = self._found(key)
            if batch is None:
                return None
            partial = partial_results or batch.kind.always_partial
            self._end(batch, None, _CANCELLED, now, BatchEvent.CANCELLED, partial=partial)
            return self._found(key)

        return await self._write(call)

    async def delete_batch(self, tenant: str, batch_id: str, now: Instant) -> Batch | None:
        """See `Store.delete_batch`."""
        key = {"tenant": tenant, "batch_id": batch_id}

        def call() -> Batch | None:
            batch = self._found(key)
            if batch is None:
                return None
            self._end(batch, None, _CANCELLED, now, BatchEvent.CANCELLED, told=False)
            batch = self._found(key)
            self._give_up(key, _DELETED, now)
            self._all(sql.DELETE_BATCH, {**key, "now": now})
            return batch

        return await self._write(call)

    async def update_batch(
        self,
        tenant: str,
        batch_id: str,
        now: Instant,
        *,
        display_name: str | None,
        priority: int | None,
    ) -> Batch | None:
        """See `Store.update_batch`."""
        key = {"tenant": tenant, "batch_id": batch_id}
        values = {**key, "now": now, "display_name": display_name, "priority": priority}

        def call() -> Batch | None:
            self._all(sql.UPDATE_BATCH, values)
            return self._found(key)

        return await self._write(call)

    async def unclosed_batches(self, limit: int) -> list[Batch]:
        """See `Store.unclosed_batches`."""
        return [batch_of(row) for row in await self._read(sql.UNCLOSED_BATCHES, {"limit": limit})]

    async def drop_partial(self, batch: Batch) -> None:
        """See `Store.drop_partial`."""
        key = {"tenant": batch.tenant, "batch_id": batch.batch_id}
        await self._write(lambda: self._all(sql.DROP_PARTIAL, key))

    async def expire_batches(self, now: Instant, *, partial_results: bool = True) -> list[Batch]:
        """See `Store.expire_batches`."""
        failure = Failure(Code.DEADLINE_EXCEEDED, "The batch expired before it was finished.")

        def call() -> list[Batch]:
            ended = []
            bound = {"now": now, "limit": limits.SWEEP_ROWS_MAX}
            for tenant, batch_id in self._all(sql.OVERDUE_BATCHES, bound):
                key = {"tenant": tenant, "batch_id": batch_id}
                batch = batch_of(self._all(sql.GET_BATCH, key)[0])
                partial = partial_results or batch.kind.always_partial
                expired = self._end(
                    *(batch, None, failure, now, BatchEvent.EXPIRED), partial=partial
                )
                assert expired, "found live in the same transaction"
                ended.append(batch)
            return ended

        return await self._write(call)

    def _found(self, key: dict[str, str]) -> Batch | None:
        row = self._one(sql.GET_BATCH, key)
        return None if row is None else batch_of(row)

    def _end(  # noqa: PLR0913 - what ended, how, and who is to know
        self,
        batch: Batch,
        plan: Plan | None,
        failure: Failure,
        now: Instant,
        event: BatchEvent,
        *,
        partial: bool = False,
        told: bool = True,
    ) -> bool:
        key = {"tenant": batch.tenant, "batch_id": batch.batch_id, "now": now}
        values = {
            **key,
            "failure_code": int(failure.code),
            "failure_message": failure.message,
            "request_count": plan.request_count if plan else None,
            "invalid_count": plan.invalid_count if plan else None,
            "partial": PartialResults.DUE if partial else None,
            "faults": faults_text(plan.input_faults) if plan else None,
        }
        if self._one(sql.END_BATCH[event], values) is None:
            return False
        self._all(sql.FREE_SHARDS, key)
        if told:
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
