"""The SQL about ends: what is dropped and when, and what is still named; see `statements`."""

from __future__ import annotations

from nightrate.domain.batch import PartialResults
from nightrate.domain.file import ERRORS_SUFFIX, RESULT_PREFIX, UploadState

_DUE = f"'{PartialResults.DUE}'"
_OF_BATCH = "tenant = :tenant AND batch_id = :batch_id"
_HAS_NO_RESULT_FILE = f"""
  NOT EXISTS (SELECT 1 FROM file WHERE file.tenant = batch.tenant
              AND file.file_id = '{RESULT_PREFIX}' || batch.batch_id)
  AND NOT EXISTS (SELECT 1 FROM file WHERE file.tenant = batch.tenant
                  AND file.file_id = '{RESULT_PREFIX}' || batch.batch_id || '{ERRORS_SUFFIX}')"""
_IS_DUE = f"(partial IS NOT NULL AND partial = {_DUE})"

# files and uploads ----------------------------------------------------------------------------

# A live batch keeps the bytes of its input, whatever happens to the file's row; so does one whose
# unanswered requests are still to get their status lines, or of which a shard is made again.
SWEEP_FILES = f"""
DELETE FROM file WHERE (tenant, file_id) IN (
  SELECT tenant, file_id FROM file
  WHERE (deleted_at IS NOT NULL OR expires_at <= :now)
    AND NOT EXISTS (SELECT 1 FROM batch WHERE input_blob = file.blob AND ended_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM batch WHERE input_blob = file.blob AND partial = {_DUE})
    AND NOT EXISTS (SELECT 1 FROM batch
                    WHERE input_blob = file.blob AND repair_since IS NOT NULL)
  LIMIT :limit)
RETURNING tenant, file_id, blob"""

SWEEP_UPLOADS = f"""
DELETE FROM upload WHERE upload_id IN (
  SELECT upload_id FROM upload
  WHERE state = '{UploadState.CANCELLED}' OR created_at <= :uploads_before LIMIT :limit)
RETURNING blob, state"""

# cached contents ------------------------------------------------------------------------------

# A batch that was made before the end may name it. Its requests are still to be served while it
# lives, and again if a segment of it turns out to be damaged while its input is there.
SWEEP_CACHES = """
DELETE FROM cached_content WHERE (tenant, cache_id) IN (
  SELECT tenant, cache_id FROM cached_content c
  WHERE c.expires_at <= :now
    AND NOT EXISTS (SELECT 1 FROM batch b WHERE b.tenant = c.tenant
                    AND b.created_at < c.expires_at
                    AND (b.ended_at IS NULL OR b.repair_since IS NOT NULL
                         OR b.created_at > :inputs_before))
  LIMIT :limit)
RETURNING blob"""

# results --------------------------------------------------------------------------------------

END_RESULTS = f"""
UPDATE batch SET results = 'over'
WHERE {_OF_BATCH} AND ended_at IS NOT NULL AND results IS NULL AND {_HAS_NO_RESULT_FILE}"""

RESULTS_OVER = """
SELECT tenant, batch_id FROM batch WHERE results = 'over' AND repair_since IS NULL LIMIT :limit"""

# What a sealed shard adds up to stays; only the name of its bytes goes.
DROP_SEGMENTS = f"""
UPDATE shard SET segment_blob = NULL WHERE {_OF_BATCH} AND shard IN (
  SELECT shard FROM shard WHERE {_OF_BATCH} AND segment_blob IS NOT NULL LIMIT :limit)
RETURNING shard"""

RESULTS_GONE = f"UPDATE batch SET results = 'gone' WHERE {_OF_BATCH}"

# batches --------------------------------------------------------------------------------------

SWEEP_INPUTS = f"""
UPDATE batch SET input_gone_at = :now WHERE (tenant, batch_id) IN (
  SELECT tenant, batch_id FROM batch
  WHERE created_at <= :created_before AND input_file_id IS NULL AND input_gone_at IS NULL
    AND ended_at IS NOT NULL AND NOT {_IS_DUE} AND repair_since IS NULL
  LIMIT :limit)
RETURNING tenant, batch_id"""

# Out of sight first: nobody is to read results that are half gone.
HIDE_BATCHES = f"""
UPDATE batch SET deleted_at = :now WHERE (tenant, batch_id) IN (
  SELECT tenant, batch_id FROM batch
  WHERE ended_at <= :ended_before AND ended_at IS NOT NULL AND deleted_at IS NULL
    AND NOT {_IS_DUE} AND repair_since IS NULL AND {_HAS_NO_RESULT_FILE}
  ORDER BY ended_at LIMIT :limit)
RETURNING batch_id"""

# The results of a deleted batch are a file of their own, and live as long as it does.
FORGOTTEN_BATCHES = f"""
SELECT tenant, batch_id FROM batch
WHERE deleted_at IS NOT NULL AND ended_at IS NOT NULL AND {_HAS_NO_RESULT_FILE} LIMIT :limit"""

DROP_SHARDS = f"""
DELETE FROM shard WHERE {_OF_BATCH} AND shard IN (
  SELECT shard FROM shard WHERE {_OF_BATCH} LIMIT :limit)
RETURNING shard"""

DROP_EVENTS = f"DELETE FROM event WHERE {_OF_BATCH}"
DROP_TARGETS = f"DELETE FROM batch_webhook WHERE {_OF_BATCH}"
DROP_BATCH = f"DELETE FROM batch WHERE {_OF_BATCH}"

# names ----------------------------------------------------------------------------------------

# A finished upload names nothing: its blob belongs to the file.
IS_NAMED = f"""
SELECT 1 WHERE EXISTS (SELECT 1 FROM file WHERE blob = :blob)
  OR EXISTS (SELECT 1 FROM upload WHERE blob = :blob AND state <> '{UploadState.FINAL}')
  OR EXISTS (SELECT 1 FROM batch WHERE input_blob = :blob AND ended_at IS NULL)
  OR EXISTS (SELECT 1 FROM batch WHERE input_blob = :blob AND partial = {_DUE})
  OR EXISTS (SELECT 1 FROM batch WHERE input_blob = :blob AND repair_since IS NOT NULL)
  OR EXISTS (SELECT 1 FROM cached_content WHERE blob = :blob)"""

IS_KEPT = f"""
SELECT input_gone_at IS NULL, results IS NULL OR results <> 'gone' FROM batch WHERE {_OF_BATCH}"""
