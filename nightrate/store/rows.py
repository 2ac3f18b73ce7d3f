"""Rows and values: how the statements' parameters and columns become domain values and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import json

from nightrate.domain.batch import (
    Batch,
    BatchForm,
    Claimable,
    Dialect,
    InputFault,
    Kind,
    Method,
    PartialResults,
)
from nightrate.domain.cache import Cache
from nightrate.domain.file import File, FileSource, Page, ResultPart, Upload, UploadState
from nightrate.domain.generation import Failure
from nightrate.domain.outlook import Standing
from nightrate.domain.shard import Claim, JournalPart, Segment, ShardPlan, ShardRecord, Tally
from nightrate.domain.states import BatchState, ShardState
from nightrate.domain.tariff import Quote
from nightrate.errors import Code
from nightrate.store import statements as sql
from nightrate.store.base import SealedSegment
from nightrate.store.cache_statements import CACHE_COLUMNS

Row = tuple[Any, ...]

_FIRST_PAGE = (2**62, "")
_OLDEST = (-1, "")
_BEYOND_ALL_SHARDS = 2**62

_UPLOAD_NAMES = tuple(name.strip() for name in sql.UPLOAD_COLUMNS.split(","))
_FILE_NAMES = tuple(name.strip() for name in sql.FILE_COLUMNS.split(","))
_CACHE_NAMES = tuple(name.strip() for name in CACHE_COLUMNS.split(","))


# values to parameters -------------------------------------------------------------------------


def columns(value: Any) -> dict[str, Any]:
    """Give a value's fields as statement parameters."""
    return {name: getattr(value, name) for name in value.__struct_fields__}


def page_values(page: Page) -> dict[str, Any]:
    """Give where a page begins, and one row more than it holds, which tells whether it is last."""
    after_time, after_id = page.after or (_OLDEST if page.oldest_first else _FIRST_PAGE)
    return {"after_time": after_time, "after_id": after_id, "limit": page.size + 1}


def shard_or_end(shard: int | None) -> int:
    """Give a shard's number, or one beyond all shards."""
    return _BEYOND_ALL_SHARDS if shard is None else shard


def fence_values(claim: Claim) -> dict[str, Any]:
    """Give what every word about a claim must match."""
    return {
        "tenant": claim.tenant,
        "batch_id": claim.batch_id,
        "shard": claim.plan.index,
        "epoch": claim.epoch,
        "owner": claim.owner,
    }


def journal_text(parts: Sequence[JournalPart]) -> str:
    """Write which journal bytes count."""
    return " ".join(f"{part.epoch}:{part.byte_length}" for part in parts)


def result_name(batch: Batch, part: ResultPart) -> str:
    """Name a result file for people."""
    return f"{batch.display_name} {'errors' if part is ResultPart.ERRORS else 'results'}"


def faults_text(faults: tuple[InputFault, ...]) -> str | None:
    """Write what is wrong with an input."""
    return json.encode(faults).decode() if faults else None


def quote_text(quote: Quote | None) -> str | None:
    """Write what a batch is charged by; decimals as they were given."""
    return None if quote is None else json.encode(quote).decode()


# columns to values ----------------------------------------------------------------------------


def journal_parts(text: str) -> tuple[JournalPart, ...]:
    """Read which journal bytes count."""
    return tuple(JournalPart(*map(int, part.split(":"))) for part in text.split())


def upload_of(row: Row) -> Upload:
    """Read an upload session."""
    values = dict(zip(_UPLOAD_NAMES, row, strict=True))
    values["state"] = UploadState(values["state"])
    return Upload(**values)


def file_of(row: Row) -> File:
    """Read a file."""
    values = dict(zip(_FILE_NAMES, row, strict=True))
    values["source"] = FileSource(values["source"])
    return File(**values)


def cache_of(row: Row) -> Cache:
    """Read a cached content."""
    return Cache(**dict(zip(_CACHE_NAMES, row, strict=True)))


def batch_of(row: Row) -> Batch:
    """Read a batch and what its shards sum up to."""
    failure = None if row[15] is None else Failure(Code(row[15]), row[16])
    rest = row[24:]
    return Batch(
        tenant=row[0],
        batch_id=row[1],
        model=row[2],
        display_name=row[3],
        kind=Kind(BatchForm(row[4]), Method(rest[1]), Dialect(rest[2])),
        state=BatchState(row[5]),
        input_blob=row[6],
        input_file_id=row[7],
        input_bytes=row[8],
        priority=row[9],
        request_count=row[10],
        tally=Tally(*row[17:24]),
        created_at=row[11],
        updated_at=row[12],
        ended_at=row[13],
        expires_at=row[14],
        failure=failure,
        partial=None if rest[0] is None else PartialResults(rest[0]),
        strict=bool(rest[7]),
        started_at=rest[3],
        terms=None if rest[4] is None else rest[4].encode(),
        faults=() if rest[5] is None else json.decode(rest[5], type=tuple[InputFault, ...]),
        results_seconds=rest[6],
        repair_since=rest[8],
        quote=None if rest[9] is None else json.decode(rest[9], type=Quote),
    )


def claimable_of(row: Row) -> Claimable:
    """Read a batch with a shard that nobody holds."""
    return Claimable(
        tenant=row[0],
        batch_id=row[1],
        model=row[2],
        priority=row[3],
        created_at=row[4],
        running_shards=row[5],
    )


def standing_of_row(row: Row) -> Standing:
    """Read where a live batch stands."""
    return Standing(
        tenant=row[0],
        batch_id=row[1],
        model=row[2],
        priority=row[3],
        state=BatchState(row[4]),
        request_count=row[5],
        created_at=row[6],
        started_at=row[7],
        done=row[8],
    )


def sealed_of(row: Row) -> SealedSegment:
    """Read a sealed shard."""
    return SealedSegment(row[0], row[1], row[2], Segment(*row[3:7]), row[7])


def record_of(row: Row) -> ShardRecord:
    """Read everything about a shard."""
    return ShardRecord(
        plan=ShardPlan(*row[:6]),
        state=ShardState(row[6]),
        epoch=row[7],
        parts=journal_parts(row[8]),
        segment=None if row[9] is None else Segment(*row[9:13]),
        damaged=row[13] is not None,
        lost=row[14],
    )
