"""Mistakes that are planted on purpose: what finds none of them would find nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest

from nightrate.domain.file import Upload
from nightrate.domain.shard import JournalPart
from nightrate.domain.webhook import Delivery
from nightrate.service.files import Files
from nightrate.service.sessions import Session
from nightrate.store import statements
from nightrate.store.blobs import Blobs
from nightrate.store.outbox import Outbox
from nightrate.work import open_shard
from nightrate.work.journal import Journal
from nightrate.work.open_shard import OpenShard

Plant = Callable[[pytest.MonkeyPatch], None]


def _without(statement: str, words: str) -> Plant:
    """Take words out of a statement."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        text = getattr(statements, statement)
        assert words in text
        patch.setattr(statements, statement, text.replace(words, ""))

    return plant


def _no_freeze_on_takeover(patch: pytest.MonkeyPatch) -> None:
    """Let whatever earlier owners write count, now and later."""

    def everything(
        parts: tuple[JournalPart, ...], epoch: int, _found: int
    ) -> tuple[JournalPart, ...]:
        return (*(JournalPart(part.epoch, 2**40) for part in parts), JournalPart(epoch, 0))

    patch.setattr(open_shard, "taken_over", everything)


def _counting_before_syncing(patch: pytest.MonkeyPatch) -> None:
    beat = OpenShard.beat

    def hasty(shard: OpenShard) -> Any:
        shard.journal.counted = shard.journal.tally
        return beat(shard)

    patch.setattr(OpenShard, "beat", hasty)


def _segment_published_before_its_sync(patch: pytest.MonkeyPatch) -> None:
    put = Blobs.put

    async def lazy(blobs: Blobs, name: str, pieces: Iterable[bytes]) -> None:
        if "segments" not in name:
            await put(blobs, name, pieces)
            return
        blob = await blobs.create(name)
        await blob.append(*pieces)
        await blob.close()

    patch.setattr(Blobs, "put", lazy)


def _upload_acknowledged_before_its_sync(patch: pytest.MonkeyPatch) -> None:
    async def hasty(files: Files, session: Session, upload: Upload) -> Upload:
        await session.drain()
        if session.given_bytes == upload.received_bytes:
            return upload
        await files._store.grow_upload(upload, session.given_bytes, upload.created_at)
        await session.sync()
        return msgspec.structs.replace(upload, received_bytes=session.given_bytes)

    patch.setattr(Files, "_checkpoint", hasty)


def _event_outside_the_transaction(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "_add_event", lambda *_event: None)


def _cancel_that_frees_no_shard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(statements, "FREE_SHARDS", f"{statements.FREE_SHARDS} AND 1 = 0")


def _claims_of_the_living(patch: pytest.MonkeyPatch) -> None:
    """Let a claim be taken from an owner whose lease has not ended."""
    for name in ("CLAIMABLE", "FIRST_OVERDUE", "CLAIM"):
        text = getattr(statements, name)
        assert "lease_until <= :now" in text
        early = text.replace("lease_until <= :now", "lease_until <= :now + 6000000")
        patch.setattr(statements, name, early)


def _an_id_for_each_try(patch: pytest.MonkeyPatch) -> None:
    name = property(lambda delivery: f"msg_{delivery.event_id}_{delivery.attempts}")
    patch.setattr(Delivery, "message_id", name)


def _ending_what_has_ended(patch: pytest.MonkeyPatch) -> None:
    texts = {
        event: re.sub(r"AND state IN \([^)]*\)", "", text)
        for event, text in statements.END_BATCH.items()
    }
    assert texts != statements.END_BATCH
    patch.setattr(statements, "END_BATCH", texts)


def _time_that_counts_twice_after_a_takeover(patch: pytest.MonkeyPatch) -> None:
    recover = Journal.recover

    async def twice(journal: Journal, parts: Sequence[JournalPart]) -> None:
        await recover(journal, parts)
        nanoseconds = 2 * journal.counted.engine_nanoseconds
        journal.counted = msgspec.structs.replace(journal.counted, engine_nanoseconds=nanoseconds)

    patch.setattr(Journal, "recover", twice)


def _tokens_of_the_last_owner_only(patch: pytest.MonkeyPatch) -> None:
    recover = Journal.recover

    async def own(journal: Journal, parts: Sequence[JournalPart]) -> None:
        await recover(journal, parts)
        journal.counted = msgspec.structs.replace(journal.counted, output_tokens=0)

    patch.setattr(Journal, "recover", own)


_EPOCH = "AND epoch = :epoch AND owner = :owner"

PLANTS: dict[str, tuple[Plant, int]] = {
    # what: (how, a seed below 200 that finds it)
    "a beat without the epoch": (_without("BEAT", _EPOCH), 29),
    "a seal without the epoch": (_without("SEAL", _EPOCH), 46),
    "a freeze without the epoch": (_without("FREEZE", _EPOCH), 150),
    "no freeze on takeover": (_no_freeze_on_takeover, 2),
    "counting before syncing": (_counting_before_syncing, 12),
    "a segment published before its sync": (_segment_published_before_its_sync, 0),
    "an upload acknowledged before its sync": (_upload_acknowledged_before_its_sync, 0),
    "an event outside the transaction": (_event_outside_the_transaction, 0),
    "a cancel that frees no shard": (_cancel_that_frees_no_shard, 3),
    "claims of the living": (_claims_of_the_living, 1),
    "an id for each try of a delivery": (_an_id_for_each_try, 46),
    "a cancel of what has ended": (_ending_what_has_ended, 4),
    "time that counts twice": (_time_that_counts_twice_after_a_takeover, 4),
    "tokens of the last owner only": (_tokens_of_the_last_owner_only, 4),
}
