"""The SQL about records listed whole, and about shards that are made again."""

from __future__ import annotations

from nightrate.domain.batch import PartialResults
from nightrate.domain.file import ResultPart
from nightrate.domain.states import (
    BATCH_TABLE,
    LIVE_STATES,
    SHARD_TABLE,
    BatchEvent,
    ShardEvent,
    ShardState,
)
from nightrate.store.cache_statements import CACHE_COLUMNS
from nightrate.store.statements import (
    BATCH_OWN,
    BATCH_REST,
    CLEAR_SUMS,
    FILE_COLUMNS,
    NO_SUMS,
    OF_BATCH,
    PART_BYTES,
    UPLOAD_COLUMNS,
    listed,
)

_SHOWN = f"'{PartialResults.SHOWN}'"
_HAS_RESULTS = (
    f"(state IN {listed(BATCH_TABLE[BatchEvent.DRAINED].values())} OR partial = {_SHOWN})"
)

# repair ---------------------------------------------------------------------------------------

# Whether a batch's damaged shards are worth making again, and whether it has all its results.
# Without the row of its input file, the bytes of that are gone or about to go.
REPAIRABLE = f"""
SELECT {_HAS_RESULTS} FROM batch
WHERE {OF_BATCH} AND deleted_at IS NULL AND results IS NULL AND input_gone_at IS NULL
  AND (state IN {listed(LIVE_STATES)} OR partial IS NOT NULL OR {_HAS_RESULTS})
  AND (input_file_id IS NULL
       OR EXISTS (SELECT 1 FROM file WHERE file.tenant = :tenant AND file.blob = input_blob))"""

_DAMAGED = f"""
UPDATE shard SET state = '{ShardState.PENDING}', journal = '', damaged_at = :now"""
_AS_FOUND = f"""
WHERE {OF_BATCH} AND shard = :shard AND state IN {listed(SHARD_TABLE[ShardEvent.DAMAGED])}
  AND segment_blob = :blob"""

# Its journals went when it was sealed. The segment stays named until another one takes its place,
# so that it is kept, and known as what is never served.
REOPEN_FINISHED = f"{_DAMAGED} {_AS_FOUND} AND lost IS NULL RETURNING shard"
REOPEN_LIVE = f"""{_DAMAGED}, {CLEAR_SUMS}
{_AS_FOUND} AND lost IS NULL RETURNING shard"""

BEGIN_REPAIR = f"""
UPDATE batch SET repair_since = coalesce(repair_since, :now) WHERE {OF_BATCH}"""

FIND_SHARD = f"""
SELECT segment_blob, damaged_at, lost FROM shard WHERE {OF_BATCH} AND shard = :shard"""

LOSE_SHARD = f"UPDATE shard SET damaged_at = :now, lost = :why {_AS_FOUND} RETURNING shard"

LOSE_UNSEALED = f"""
UPDATE shard SET state = '{ShardState.SEALED}', owner = NULL, lease_until = NULL, lost = :why
WHERE {OF_BATCH} AND state IN {listed(SHARD_TABLE[ShardEvent.LOST])} AND damaged_at IS NOT NULL
RETURNING shard"""

IS_REPAIRING = f"SELECT 1 FROM batch WHERE {OF_BATCH} AND repair_since IS NOT NULL"

END_REPAIR = f"""
UPDATE batch SET repair_since = NULL, updated_at = :now
WHERE {OF_BATCH} AND repair_since IS NOT NULL RETURNING batch_id"""

RESIZE_FILE = {
    part: f"""
UPDATE file SET updated_at = :now, size_bytes =
  (SELECT coalesce(sum({size}), 0) FROM shard WHERE {OF_BATCH})
WHERE tenant = :tenant AND file_id = :file_id"""
    for part, size in PART_BYTES.items()
}
assert RESIZE_FILE.keys() == set(ResultPart), "each part is a file"

COUNT_FAILED = f"SELECT coalesce(sum(failed), 0) FROM shard WHERE {OF_BATCH}"

OLD_REPAIRS = f"""
SELECT {BATCH_OWN}, {NO_SUMS}, {BATCH_REST} FROM batch
WHERE repair_since < :before LIMIT :limit"""

INPUT_DIGEST = """
SELECT sha256 FROM file
WHERE tenant = :tenant AND file_id = :input_file_id AND blob = :input_blob"""

# everything -----------------------------------------------------------------------------------

SHARDS = f"""
SELECT shard, first_request, request_count, first_line, byte_offset, byte_length, state, epoch,
       journal, segment_blob, segment_bytes, segment_crc32, segment_split, damaged_at, lost
FROM shard WHERE {OF_BATCH} AND shard >= :from_shard ORDER BY shard LIMIT :limit"""

EVERY_BATCH = f"""
SELECT {BATCH_OWN}, {NO_SUMS}, {BATCH_REST} FROM batch
WHERE (tenant, batch_id) > (:tenant, :id) ORDER BY tenant, batch_id LIMIT :limit"""

EVERY_FILE = f"""
SELECT {FILE_COLUMNS} FROM file
WHERE (tenant, file_id) > (:tenant, :id) ORDER BY tenant, file_id LIMIT :limit"""

EVERY_UPLOAD = f"""
SELECT {UPLOAD_COLUMNS} FROM upload WHERE upload_id > :id ORDER BY upload_id LIMIT :limit"""

EVERY_CACHE = f"""
SELECT {CACHE_COLUMNS} FROM cached_content
WHERE (tenant, cache_id) > (:tenant, :id) ORDER BY tenant, cache_id LIMIT :limit"""
