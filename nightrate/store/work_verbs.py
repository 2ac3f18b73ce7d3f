"""The verbs about claims, in SQL: each word about a claim passes its fence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nightrate import clock, limits
from nightrate.clock import Instant
from nightrate.domain.batch import Batch, BatchForm, Claimable
from nightrate.domain.file import ResultPart, result_file_id
from nightrate.domain.shard import Beat, Claim, JournalPart, Segment, ShardPlan, Tally
from nightrate.errors import ClaimLost
from nightrate.store import statements as sql
from nightrate.store.outbox import Outbox
from nightrate.store.rows import (
    batch_of,
    claimable_of,
    columns,
    fence_values,
    journal_parts,
    journal_text,
    result_name,
)


class WorkVerbs(Outbox):
    """See `Store`, work."""

    async def claimable(self, now: Instant, limit: int) -> list[Claimable]:
        """See `Store.claimable`."""
        rows = await self._read(sql.CLAIMABLE, {"now": now, "limit": limit})
        return [claimable_of(row) for row in rows]

    async def claim(
        self, tenant: str, batch_id: str, owner: str, now: Instant, lease_until: Instant
    ) -> Claim | None:
        """See `Store.claim`."""
        values: dict[str, Any] = {
            "tenant": tenant,
            "batch_id": batch_id,
            "owner": owner,
            "now": now,
            "lease_until": lease_until,
        }

        def call() -> Claim | None:
            found = None
            if self._one(sql.IS_CLAIMABLE, values) is not None:
                found = self._one(sql.FIRST_OVERDUE, values) or self._one(sql.FIRST_PENDING, values)
            if found is None:
                return None
            self._all(sql.START_BATCH, values)
            return self._take(values, found[0], closing=False)

        return await self._write(call)

    async def claim_unfinished(
        self, batch: Batch, owner: str, now: Instant, lease_until: Instant
    ) -> Claim | None:
        """See `Store.claim_unfinished`."""
        values: dict[str, Any] = {
            "tenant": batch.tenant,
            "batch_id": batch.batch_id,
            "owner": owner,
            "now": now,
            "lease_until": lease_until,
        }

        def call() -> Claim | None:
            if self._one(sql.IS_UNCLOSED, values) is None:
                return None
            found = self._one(sql.FIRST_OVERDUE, values) or self._one(sql.FIRST_PENDING, values)
            return None if found is None else self._take(values, found[0], closing=True)

        return await self._write(call)

    def _take(self, values: dict[str, Any], shard: int, *, closing: bool) -> Claim:
        row = self._one(sql.CLAIM, {**values, "shard": shard})
        assert row is not None, "chosen in the same transaction"
        return Claim(
            tenant=values["tenant"],
            batch_id=values["batch_id"],
            plan=ShardPlan(*row[:6]),
            epoch=row[6],
            owner=values["owner"],
            lease_until=values["lease_until"],
            parts=journal_parts(row[7]),
            closing=closing,
        )

    async def freeze(self, claim: Claim, parts: tuple[JournalPart, ...]) -> None:
        """See `Store.freeze`."""

        def call() -> None:
            values = {**fence_values(claim), "journal": journal_text(parts)}
            text = sql.FREEZE_CLOSING if claim.closing else sql.FREEZE
            if self._one(text, values) is None:
                raise ClaimLost

        await self._write(call)

    async def beat(self, beats: Sequence[Beat], now: Instant, lease_until: Instant) -> list[Claim]:
        """See `Store.beat`."""

        def call() -> list[Claim]:
            lost = []
            for beat in beats:
                claim = beat.claim
                assert claim.parts[-1].epoch == claim.epoch, "frozen before the first beat"
                parts = (*claim.parts[:-1], JournalPart(claim.epoch, beat.byte_length))
                values = {
                    **fence_values(claim),
                    **columns(beat.tally),
                    "journal": journal_text(parts),
                    "lease_until": lease_until,
                }
                if self._one(sql.BEAT, values) is None:
                    lost.append(claim)
                else:
                    self._all(sql.TOUCH_BATCH, {**fence_values(claim), "now": now})
            return lost

        return await self._write(call)

    async def release(self, claims: Sequence[Claim]) -> None:
        """See `Store.release`."""

        def call() -> None:
            for claim in claims:
                self._all(sql.RELEASE, fence_values(claim))

        await self._write(call)

    async def release_all(self) -> int:
        """See `Store.release_all`."""
        return len(await self._write(lambda: self._all(sql.RELEASE_ALL)))

    async def seal(
        self, claim: Claim, segment: Segment, tally: Tally, now: Instant
    ) -> Batch | None:
        """See `Store.seal`."""
        values = {**fence_values(claim), **columns(segment), **columns(tally), "now": now}

        def call() -> Batch | None:
            if self._one(sql.SEAL_CLOSING if claim.closing else sql.SEAL, values) is None:
                raise ClaimLost
            if self._one(sql.ANY_UNSEALED, values) is not None:
                self._all(sql.TOUCH_BATCH, values)
                return None
            end = sql.SHOW_PARTIAL if claim.closing else sql.DRAIN_BATCH
            ended = self._one(end, values)
            assert ended is not None, "the fence saw it"
            batch = batch_of(self._all(sql.GET_BATCH, values)[0])
            if batch.form is BatchForm.FILE:
                self._add_result_file(batch, ResultPart.OUTPUT, now)
            if batch.kind.parts_failures:
                self._add_result_file(batch, ResultPart.ERRORS, now)
            if not claim.closing:  # else it ended before, and told so
                self._add_event(batch.tenant, batch.batch_id, f"batch.{batch.state}", now)
            return batch

        return await self._write(call)

    def _add_result_file(self, batch: Batch, part: ResultPart, now: Instant) -> None:
        seconds = batch.results_seconds or limits.RESULT_LIFETIME_SECONDS
        values = {
            "tenant": batch.tenant,
            "batch_id": batch.batch_id,
            "file_id": result_file_id(batch.batch_id, part),
            "display_name": result_name(batch, part),
            "now": now,
            "expires_at": clock.later(now, seconds),
        }
        text = sql.ADD_ERROR_FILE if part is ResultPart.ERRORS else sql.ADD_RESULT_FILE
        self._all(text, values)
