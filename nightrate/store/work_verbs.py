"""The verbs about claims, in SQL: each word about a claim passes its fence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nightrate import clock
from nightrate.clock import Instant
from nightrate.domain.batch import Batch, BatchForm, Claimable
from nightrate.domain.file import ResultPart, result_file_id
from nightrate.domain.outlook import Standing
from nightrate.domain.shard import Beat, Claim, JournalPart, Segment, ShardPlan, Tally
from nightrate.errors import ClaimLost
from nightrate.store import record_statements as record_sql
from nightrate.store import statements as sql
from nightrate.store.record_verbs import RecordVerbs
from nightrate.store.rows import (
    batch_of,
    claimable_of,
    columns,
    fence_values,
    journal_parts,
    journal_text,
    result_name,
    standing_of_row,
)


class WorkVerbs(RecordVerbs):
    """See `Store`, work."""

    async def claimable(self, now: Instant, limit: int) -> list[Claimable]:
        """See `Store.claimable`."""
        rows = await self._read(sql.CLAIMABLE, {"now": now, "limit": limit})
        return [claimable_of(row) for row in rows]

    async def standings(self, limit: int) -> list[Standing]:
        """See `Store.standings`."""
        return [standing_of_row(row) for row in await self._read(sql.STANDINGS, {"limit": limit})]

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
            damaged=bool(row[8]),
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
                text = sql.BEAT_DAMAGED if claim.damaged else sql.BEAT
                if self._one(text, values) is None:
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
            failed_before = (
                self._aggregate(record_sql.COUNT_FAILED, values)[0] if claim.damaged else 0
            )
            if self._one(sql.SEAL_CLOSING if claim.closing else sql.SEAL, values) is None:
                raise ClaimLost
            if claim.damaged and not failed_before:
                self._add_first_errors(values)
            if self._one(sql.ANY_UNSEALED, values) is not None:
                self._all(sql.TOUCH_BATCH, values)
                return None
            return self._end_with_results(claim, values, now)

        return await self._write(call)

    def _end_with_results(self, claim: Claim, values: dict[str, Any], now: Instant) -> Batch:
        ended = self._one(sql.SHOW_PARTIAL if claim.closing else sql.DRAIN_BATCH, values)
        if ended is None:  # it has ended before, and told so
            assert claim.damaged, "the fence saw it"
            self._finish_repair(values, now)
            return batch_of(self._all(sql.GET_BATCH, values)[0])
        batch = batch_of(self._all(sql.GET_BATCH, values)[0])
        if batch.form is BatchForm.FILE:
            self._add_result_file(batch, ResultPart.OUTPUT, now)
        if batch.kind.parts_failures:
            self._add_result_file(batch, ResultPart.ERRORS, now)
        if not claim.closing:  # else it ended before, and told so
            self._add_event(batch.tenant, batch.batch_id, f"batch.{batch.state}", now)
        return batch

    def _add_first_errors(self, values: dict[str, Any]) -> None:
        """Let the file of failures exist when a shard that was made again has the first of them.

        It lives as long as if it had been there from the beginning.
        """
        batch = batch_of(self._all(sql.GET_BATCH, values)[0])
        if batch.has_results and batch.kind.parts_failures and batch.ended_at is not None:
            self._add_result_file(batch, ResultPart.ERRORS, batch.ended_at)

    def _add_result_file(self, batch: Batch, part: ResultPart, now: Instant) -> None:
        seconds = batch.results_seconds or self.result_lifetime_seconds
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
