"""The SQL that both databases accept, each statement with a sentence.

Parameters are named (``:name``). State names come from the tables of `domain.states`, so that a
guard and the picture of the states cannot drift apart.
"""

from __future__ import annotations

from nightrate.domain.batch import PartialResults
from nightrate.domain.file import (
    FileSource,
    ResultPart,
    UploadState,
)
from nightrate.domain.states import (
    BATCH_TABLE,
    LIVE_STATES,
    SHARD_TABLE,
    BatchEvent,
    BatchState,
    ShardEvent,
    ShardState,
)


def _listed(states: object) -> str:
    names = sorted(str(state) for state in states)  # type: ignore[attr-defined]
    return "(" + ", ".join(f"'{name}'" for name in names) + ")"


def _before(event: BatchEvent) -> str:
    return _listed(BATCH_TABLE[event])


_LIVE = _listed(LIVE_STATES)
_CLAIMABLE = _before(BatchEvent.CLAIMED)
_SUCCEEDED = _listed(BATCH_TABLE[BatchEvent.DRAINED].values())
_UNSEALED = _listed(SHARD_TABLE[ShardEvent.CLAIMED])
_PENDING, _RUNNING, _SEALED = (f"'{state}'" for state in ShardState)
_ACTIVE = f"'{UploadState.ACTIVE}'"
_DUE, _SHOWN = (f"'{partial}'" for partial in PartialResults)
# A batch that has ended, with a damaged shard: whoever answered its requests makes it again.
_RUN_AGAIN = f"(batch.state IN {_SUCCEEDED} AND batch.repair_since IS NOT NULL)"
_CLOSED_AGAIN = f"(batch.partial = {_SHOWN} AND batch.repair_since IS NOT NULL)"

# files and uploads ----------------------------------------------------------------------------

UPLOAD_COLUMNS = (
    "tenant, upload_id, file_id, blob, display_name, mime_type, received_bytes, state, created_at"
)
FILE_COLUMNS = (
    "tenant, file_id, blob, display_name, mime_type, size_bytes, sha256, source,"
    " created_at, updated_at, expires_at"
)

# A name taken by a file gives no row; one taken by another session meets `upload_name`.
ADD_UPLOAD = f"""
INSERT INTO upload ({UPLOAD_COLUMNS})
SELECT :tenant, :upload_id, :file_id, :blob, :display_name, :mime_type, :received_bytes, :state,
       :created_at
WHERE NOT EXISTS (SELECT 1 FROM file WHERE tenant = :tenant AND file_id = :file_id)
ON CONFLICT DO NOTHING
RETURNING upload_id"""

GET_UPLOAD = f"SELECT {UPLOAD_COLUMNS} FROM upload WHERE upload_id = :upload_id"

# Only forward, only while active: a late piece cannot shrink or revive a session.
GROW_UPLOAD = f"""
UPDATE upload SET received_bytes = :received_bytes
WHERE tenant = :tenant AND upload_id = :upload_id AND state = {_ACTIVE}
  AND received_bytes <= :received_bytes"""

END_UPLOAD = f"""
UPDATE upload SET state = :state
WHERE tenant = :tenant AND upload_id = :upload_id AND state = {_ACTIVE}
RETURNING upload_id"""

# Only uploaded files count; those of results have no blob of their own.
STORED_FILES = """
SELECT coalesce(sum(size_bytes), 0), min(expires_at) FROM file
WHERE tenant = :tenant AND blob IS NOT NULL AND deleted_at IS NULL AND expires_at > :now"""
STORED_UPLOADS = f"""
SELECT coalesce(sum(received_bytes), 0) FROM upload WHERE tenant = :tenant AND state = {_ACTIVE}"""

ADD_FILE = f"""
INSERT INTO file ({FILE_COLUMNS})
VALUES (:tenant, :file_id, :blob, :display_name, :mime_type, :size_bytes, :sha256, :source,
        :created_at, :updated_at, :expires_at)"""

GET_FILE = f"""
SELECT {FILE_COLUMNS} FROM file
WHERE tenant = :tenant AND file_id = :file_id AND deleted_at IS NULL AND expires_at > :now"""

_LISTED_FILES = f"""
SELECT {FILE_COLUMNS} FROM file
WHERE tenant = :tenant AND deleted_at IS NULL AND expires_at > :now
  AND (:source IS NULL OR source = :source)"""

LIST_FILES = f"""{_LISTED_FILES}
  AND (created_at, file_id) < (:after_time, :after_id)
ORDER BY created_at DESC, file_id DESC LIMIT :limit"""

LIST_FILES_OLDEST_FIRST = f"""{_LISTED_FILES}
  AND (created_at, file_id) > (:after_time, :after_id)
ORDER BY created_at, file_id LIMIT :limit"""

DELETE_FILE = """
UPDATE file SET deleted_at = :now
WHERE tenant = :tenant AND file_id = :file_id AND deleted_at IS NULL AND expires_at > :now
RETURNING file_id"""

# batches --------------------------------------------------------------------------------------

_BATCH_OWN = (
    "tenant, batch_id, model, display_name, form, state, input_blob, input_file_id, input_bytes,"
    " priority, request_count, created_at, updated_at, ended_at, expires_at, failure_code,"
    " failure_message"
)
BATCH_REST = (
    "partial, method, dialect, started_at, terms, faults, results_seconds, strict, repair_since,"
    " quote"
)
_SUMS = (
    *("succeeded", "failed", "prompt_tokens", "output_tokens", "cached_tokens"),
    *("thought_tokens", "engine_nanoseconds"),
)
NO_SUMS = ", ".join("0" for _ in _SUMS)
_SET_SUMS = ", ".join(f"{name} = :{name}" for name in _SUMS)
CLEAR_SUMS = ", ".join(f"{name} = 0" for name in _SUMS)
# The counters are what the shard rows sum up to; there is no second place that could disagree.
_COUNTED = f"""
SELECT {", ".join("b." + name.strip() for name in _BATCH_OWN.split(","))},
       {", ".join(f"coalesce(sum(s.{name}), 0)" for name in _SUMS)},
       {", ".join("b." + name.strip() for name in BATCH_REST.split(","))}
FROM batch b LEFT JOIN shard s ON s.tenant = b.tenant AND s.batch_id = b.batch_id"""

# The file must still be there in the same transaction: from then on the batch pins its bytes.
ADD_BATCH = f"""
INSERT INTO batch ({_BATCH_OWN}, method, dialect, terms, results_seconds, strict,
                   quote)
SELECT :tenant, :batch_id, :model, :display_name, :form, :state, :input_blob, :input_file_id,
       :input_bytes, :priority, NULL, :created_at, :updated_at, NULL, :expires_at, NULL, NULL,
       :method, :dialect, :terms, :results_seconds, :strict, :quote
WHERE :input_file_id IS NULL
   OR EXISTS (SELECT 1 FROM file WHERE tenant = :tenant AND file_id = :input_file_id
              AND blob = :input_blob AND deleted_at IS NULL)
RETURNING batch_id"""

MADE_BY = """
SELECT batch_id, digest FROM idempotency
WHERE tenant = :tenant AND key = :key AND created_at > :since"""

# One that is too old to count gives way.
REMEMBER_CALL = """
INSERT INTO idempotency (tenant, key, digest, batch_id, created_at)
VALUES (:tenant, :key, :digest, :batch_id, :created_at)
ON CONFLICT (tenant, key) DO UPDATE
SET digest = excluded.digest, batch_id = excluded.batch_id, created_at = excluded.created_at"""

SWEEP_IDEMPOTENCY = """
DELETE FROM idempotency WHERE (tenant, key) IN (
  SELECT tenant, key FROM idempotency WHERE created_at <= :before LIMIT :limit)
RETURNING key"""

COUNT_LIVE = "SELECT count(*) FROM batch WHERE tenant = :tenant AND ended_at IS NULL"

LIVE_INPUTS = """
SELECT input_bytes FROM batch WHERE tenant = :tenant AND model = :model AND ended_at IS NULL"""

GET_BATCH = f"""{_COUNTED}
WHERE b.tenant = :tenant AND b.batch_id = :batch_id AND b.deleted_at IS NULL
GROUP BY b.tenant, b.batch_id"""

LIST_BATCHES = f"""{_COUNTED}
WHERE b.tenant = :tenant AND b.deleted_at IS NULL
  AND (CAST(:states AS TEXT) IS NULL OR :states LIKE '% ' || b.state || ' %')
  AND (CAST(:display_name AS TEXT) IS NULL OR b.display_name = :display_name)
  AND (b.created_at, b.batch_id) < (:after_time, :after_id)
GROUP BY b.tenant, b.batch_id ORDER BY b.created_at DESC, b.batch_id DESC LIMIT :limit"""

STANDINGS = """
SELECT b.tenant, b.batch_id, b.model, b.priority, b.state, b.request_count, b.created_at,
       b.started_at,
       (SELECT coalesce(sum(s.succeeded + s.failed), 0) FROM shard s
        WHERE s.tenant = b.tenant AND s.batch_id = b.batch_id)
FROM batch b WHERE b.ended_at IS NULL ORDER BY b.created_at LIMIT :limit"""

SUBMITTED_BATCHES = f"""{_COUNTED}
WHERE b.ended_at IS NULL AND b.state = '{BatchState.SUBMITTED}'
  AND b.input_bytes >= :bytes_from AND b.input_bytes < :bytes_below
GROUP BY b.tenant, b.batch_id ORDER BY b.created_at LIMIT :limit"""

# Two halves, each with an index of its own; the 14th column is when it ended.
UNCLOSED_BATCHES = f"""{_COUNTED}
WHERE b.partial = {_DUE} GROUP BY b.tenant, b.batch_id
UNION ALL {_COUNTED}
WHERE b.repair_since IS NOT NULL AND b.partial = {_SHOWN} GROUP BY b.tenant, b.batch_id
ORDER BY 14 LIMIT :limit"""

# One that ended before it was planned gets its shards as well: its requests are to be counted and
# to get their status lines.
OPEN_BATCH = f"""
UPDATE batch SET state = CASE WHEN ended_at IS NULL THEN '{BatchState.PLANNED}' ELSE state END,
       request_count = :request_count,
       invalid_count = :invalid_count, updated_at = :now
WHERE tenant = :tenant AND batch_id = :batch_id AND (state IN {_before(BatchEvent.PLANNED)}
  OR (partial = {_DUE} AND request_count IS NULL))
RETURNING batch_id"""

ADD_SHARD = f"""
INSERT INTO shard (tenant, batch_id, shard, first_request, request_count, first_line, byte_offset,
                   byte_length, state, epoch, journal, succeeded, failed, prompt_tokens,
                   output_tokens, cached_tokens)
VALUES (:tenant, :batch_id, :shard, :first_request, :request_count, :first_line, :byte_offset,
        :byte_length, {_PENDING}, 0, '', 0, 0, 0, 0, 0)"""

END_BATCH = {
    event: f"""
UPDATE batch SET state = '{event}', failure_code = :failure_code,
       failure_message = :failure_message, request_count = coalesce(:request_count, request_count),
       invalid_count = coalesce(:invalid_count, invalid_count), updated_at = :now, ended_at = :now,
       partial = :partial, faults = coalesce(:faults, faults)
WHERE tenant = :tenant AND batch_id = :batch_id AND state IN {_before(event)}
RETURNING batch_id"""
    for event in (BatchEvent.FAILED, BatchEvent.CANCELLED, BatchEvent.EXPIRED)
}

# Whoever holds a shard of a batch that has ended early holds it no longer; the answers that are on
# the disk count.
FREE_SHARDS = f"""
UPDATE shard SET state = {_PENDING}, owner = NULL, lease_until = NULL
WHERE tenant = :tenant AND batch_id = :batch_id AND state = {_RUNNING}"""

UPDATE_BATCH = """
UPDATE batch SET display_name = coalesce(:display_name, display_name),
       priority = coalesce(:priority, priority), updated_at = :now
WHERE tenant = :tenant AND batch_id = :batch_id AND deleted_at IS NULL"""

DELETE_BATCH = f"""
UPDATE batch SET deleted_at = :now, partial = CASE WHEN partial = {_DUE} THEN NULL ELSE partial END
WHERE tenant = :tenant AND batch_id = :batch_id AND deleted_at IS NULL
RETURNING batch_id"""

DROP_PARTIAL = f"""
UPDATE batch SET partial = NULL
WHERE tenant = :tenant AND batch_id = :batch_id AND partial = {_DUE}"""

OVERDUE_BATCHES = """
SELECT tenant, batch_id FROM batch WHERE ended_at IS NULL AND expires_at <= :now LIMIT :limit"""

ADD_EVENT = """
INSERT INTO event (tenant, event_id, batch_id, type, created_at)
VALUES (:tenant, :event_id, :batch_id, :type, :now)"""

# work -----------------------------------------------------------------------------------------

_FREE = f"(state = {_PENDING} OR (state = {_RUNNING} AND lease_until <= :now))"
_OF_BATCH = "tenant = :tenant AND batch_id = :batch_id"
_OF_B = "shard.tenant = b.tenant AND shard.batch_id = b.batch_id"

_HAS_FREE = f"""
SELECT b.tenant, b.batch_id, b.model, b.priority, b.created_at,
       (SELECT count(*) FROM shard WHERE {_OF_B} AND state = {_RUNNING} AND lease_until > :now)
FROM batch b
WHERE (EXISTS (SELECT 1 FROM shard WHERE {_OF_B} AND state = {_PENDING})
       OR EXISTS (SELECT 1 FROM shard
                  WHERE {_OF_B} AND state = {_RUNNING} AND lease_until <= :now))"""

# Two halves, each with an index of its own.
CLAIMABLE = f"""{_HAS_FREE} AND b.ended_at IS NULL AND b.state IN {_CLAIMABLE}
UNION ALL {_HAS_FREE} AND b.repair_since IS NOT NULL AND b.state IN {_SUCCEEDED}
ORDER BY 4 DESC, 5 LIMIT :limit"""

FIRST_PENDING = f"""
SELECT shard FROM shard WHERE {_OF_BATCH} AND state = {_PENDING} ORDER BY shard LIMIT 1"""
FIRST_OVERDUE = f"""
SELECT shard FROM shard
WHERE {_OF_BATCH} AND state = {_RUNNING} AND lease_until <= :now ORDER BY shard LIMIT 1"""

# A shard that nobody worked on yet has nothing to freeze: its first part is recorded at once.
CLAIM = f"""
UPDATE shard SET state = {_RUNNING}, epoch = epoch + 1, owner = :owner, lease_until = :lease_until,
       journal = CASE WHEN journal = '' THEN (epoch + 1) || ':0' ELSE journal END
WHERE {_OF_BATCH} AND shard = :shard AND {_FREE}
RETURNING shard, first_request, request_count, first_line, byte_offset, byte_length, epoch,
          journal, damaged_at IS NOT NULL"""

START_BATCH = f"""
UPDATE batch SET state = '{BatchState.RUNNING}', updated_at = :now, started_at = :now
WHERE {_OF_BATCH} AND state = '{BatchState.PLANNED}'"""

IS_CLAIMABLE = f"""
SELECT 1 FROM batch WHERE {_OF_BATCH} AND (state IN {_CLAIMABLE} OR {_RUN_AGAIN})"""
IS_UNCLOSED = f"SELECT 1 FROM batch WHERE {_OF_BATCH} AND (partial = {_DUE} OR {_CLOSED_AGAIN})"

# The fence of every later word about a claim: same epoch, still running, batch still live or under
# repair; for one who only closes an ended batch, results still due or under repair.


def _fence(batch: str) -> str:
    return f"""
WHERE {_OF_BATCH} AND shard = :shard AND epoch = :epoch AND owner = :owner AND state = {_RUNNING}
  AND EXISTS (SELECT 1 FROM batch WHERE batch.tenant = :tenant AND batch.batch_id = :batch_id
              AND ({batch}))
RETURNING shard"""


_FENCE = _fence(f"batch.state IN {_before(BatchEvent.DRAINED)} OR {_RUN_AGAIN}")
_CLOSING_FENCE = _fence(f"batch.partial = {_DUE} OR {_CLOSED_AGAIN}")

_FREEZE = "UPDATE shard SET journal = :journal"
FREEZE = f"{_FREEZE} {_FENCE}"
FREEZE_CLOSING = f"{_FREEZE} {_CLOSING_FENCE}"

_BEAT = "UPDATE shard SET lease_until = :lease_until, journal = :journal"
BEAT = f"""
{_BEAT}, {_SET_SUMS} {_FENCE}"""
BEAT_DAMAGED = f"{_BEAT} {_FENCE}"

_SEAL = f"""
UPDATE shard SET state = {_SEALED}, owner = NULL, lease_until = NULL, {_SET_SUMS},
       segment_blob = :blob, segment_bytes = :byte_length,
       segment_crc32 = :crc32, segment_split = :split, damaged_at = NULL"""
SEAL = f"{_SEAL} {_FENCE}"
SEAL_CLOSING = f"{_SEAL} {_CLOSING_FENCE}"

RELEASE = f"""
UPDATE shard SET state = {_PENDING}, owner = NULL, lease_until = NULL
WHERE {_OF_BATCH} AND shard = :shard AND epoch = :epoch AND owner = :owner AND state = {_RUNNING}"""

RELEASE_ALL = f"""
UPDATE shard SET state = {_PENDING}, owner = NULL, lease_until = NULL WHERE state = {_RUNNING}
RETURNING shard"""

ANY_UNSEALED = f"SELECT 1 FROM shard WHERE {_OF_BATCH} AND state IN {_UNSEALED} LIMIT 1"

DRAIN_BATCH = f"""
UPDATE batch SET state = '{BatchState.SUCCEEDED}', updated_at = :now, ended_at = :now
WHERE {_OF_BATCH} AND state IN {_before(BatchEvent.DRAINED)} RETURNING form"""

SHOW_PARTIAL = f"""
UPDATE batch SET partial = {_SHOWN}, updated_at = :now
WHERE {_OF_BATCH} AND partial = {_DUE} RETURNING form"""

# How many bytes of a segment are lines of which part.
_PART_BYTES = {
    ResultPart.OUTPUT: "coalesce(segment_split, segment_bytes)",
    ResultPart.ERRORS: "segment_bytes - coalesce(segment_split, segment_bytes)",
}


def _add_result_file(part: ResultPart) -> str:
    return f"""
INSERT INTO file ({FILE_COLUMNS})
SELECT tenant, :file_id, NULL, :display_name, 'application/jsonl', sum({_PART_BYTES[part]}), NULL,
       '{FileSource.GENERATED}', :now, :now, :expires_at
FROM shard WHERE {_OF_BATCH} GROUP BY tenant"""


# The result file of a batch: no bytes of its own. There is none of failures without a failure.
ADD_RESULT_FILE = _add_result_file(ResultPart.OUTPUT)
ADD_ERROR_FILE = f"""{_add_result_file(ResultPart.ERRORS)}
HAVING sum({_PART_BYTES[ResultPart.ERRORS]}) > 0"""

TOUCH_BATCH = f"UPDATE batch SET updated_at = :now WHERE {_OF_BATCH} AND ended_at IS NULL"

# reading --------------------------------------------------------------------------------------

FIRST_UNSEALED = f"""
SELECT min(shard) FROM shard WHERE {_OF_BATCH} AND state IN {_UNSEALED}"""

SEGMENTS = f"""
SELECT shard, first_request, request_count, segment_blob, segment_bytes, segment_crc32,
       segment_split, lost
FROM shard
WHERE {_OF_BATCH} AND shard >= :from_shard AND shard < :until_shard AND segment_blob IS NOT NULL
ORDER BY shard LIMIT :limit"""

PREFIX_BYTES = {
    part: f"""
SELECT coalesce(sum({size}), 0) FROM shard WHERE {_OF_BATCH} AND shard < :until_shard"""
    for part, size in _PART_BYTES.items()
}

# What `record_statements` says in the same words.
listed, OF_BATCH, BATCH_OWN, PART_BYTES = _listed, _OF_BATCH, _BATCH_OWN, _PART_BYTES
