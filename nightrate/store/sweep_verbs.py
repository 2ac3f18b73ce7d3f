"""The verbs about ends, in SQL: rows go in bounded steps, and before the bytes that they name."""

from __future__ import annotations

from collections.abc import Sequence

from nightrate.clock import Instant
from nightrate.domain.file import UploadState, batch_of_result
from nightrate.store import sweep_statements as sql
from nightrate.store.relational import Relational
from nightrate.store.sweeps import BatchKey, Kept, Swept


class SweepVerbs(Relational):
    """See `Sweeps`."""

    async def sweep(self, now: Instant, uploads_before: Instant, limit: int) -> list[str]:
        """See `Sweeps.sweep`."""
        values = {"now": now, "uploads_before": uploads_before, "limit": limit}

        def call() -> list[str]:
            files = self._all(sql.SWEEP_FILES, values)
            for tenant, file_id, blob in files:
                batch_id = None if blob is not None else batch_of_result(file_id)
                if batch_id is not None:
                    self._all(sql.END_RESULTS, {"tenant": tenant, "batch_id": batch_id})
            uploads = self._all(sql.SWEEP_UPLOADS, values)
            # The blob of an upload that became a file belongs to the file now.
            dropped = [blob for blob, state in uploads if state != UploadState.FINAL]
            return [row[2] for row in files if row[2] is not None] + dropped

        return await self._write(call)

    async def sweep_results(self, limit: int) -> Swept:
        """See `Sweeps.sweep_results`."""

        def call() -> Swept:
            over = self._all(sql.RESULTS_OVER, {"limit": limit})
            gone, left = self._through(over, sql.DROP_SEGMENTS, limit)
            for tenant, batch_id in gone:
                self._all(sql.RESULTS_GONE, {"tenant": tenant, "batch_id": batch_id})
            return Swept(gone, more=not left)

        return await self._write(call)

    async def sweep_inputs(
        self, now: Instant, created_before: Instant, limit: int
    ) -> list[BatchKey]:
        """See `Sweeps.sweep_inputs`."""
        values = {"now": now, "created_before": created_before, "limit": limit}
        rows = await self._write(lambda: self._all(sql.SWEEP_INPUTS, values))
        return [(row[0], row[1]) for row in rows]

    async def sweep_batches(self, now: Instant, ended_before: Instant, limit: int) -> Swept:
        """See `Sweeps.sweep_batches`."""
        values = {"now": now, "ended_before": ended_before, "limit": limit}

        def call() -> Swept:
            self._all(sql.HIDE_BATCHES, values)
            forgotten = self._all(sql.FORGOTTEN_BATCHES, {"limit": limit})
            gone, left = self._through(forgotten, sql.DROP_SHARDS, limit)
            for tenant, batch_id in gone:
                key = {"tenant": tenant, "batch_id": batch_id}
                for text in (sql.DROP_EVENTS, sql.DROP_TARGETS, sql.DROP_BATCH):
                    self._all(text, key)
            return Swept(gone, more=not left)

        return await self._write(call)

    def _through(
        self, batches: Sequence[Sequence[str]], text: str, limit: int
    ) -> tuple[tuple[BatchKey, ...], int]:
        """Let a statement take shard rows of batches, one batch after the other.

        Returns:
            the batches of which no such row is left, each counted as a row too, and how many rows
            might still have been taken.
        """
        gone: list[BatchKey] = []
        for tenant, batch_id in batches:
            key = {"tenant": tenant, "batch_id": batch_id}
            limit -= len(self._all(text, {**key, "limit": limit}))
            if limit <= 0:
                return tuple(gone), 0
            gone.append((tenant, batch_id))
            limit -= 1
            if not limit:
                break
        return tuple(gone), limit

    async def sweep_caches(self, now: Instant, inputs_before: Instant, limit: int) -> list[str]:
        """See `Sweeps.sweep_caches`."""
        values = {"now": now, "inputs_before": inputs_before, "limit": limit}
        rows = await self._write(lambda: self._all(sql.SWEEP_CACHES, values))
        return [row[0] for row in rows]

    async def named(self, blobs: Sequence[str]) -> set[str]:
        """See `Sweeps.named`."""

        def call() -> set[str]:
            return {blob for blob in blobs if self._one(sql.IS_NAMED, {"blob": blob})}

        return await self._call(call)

    async def kept(self, tenant: str, batch_ids: Sequence[str]) -> dict[str, Kept]:
        """See `Sweeps.kept`."""

        def call() -> dict[str, Kept]:
            found = {}
            for batch_id in batch_ids:
                row = self._one(sql.IS_KEPT, {"tenant": tenant, "batch_id": batch_id})
                if row is not None:
                    found[batch_id] = Kept(bool(row[0]), bool(row[1]))
            return found

        return await self._call(call)
