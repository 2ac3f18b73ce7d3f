"""The SQL that knows a database of ours, and lists every blob it names; see `statements`."""

from __future__ import annotations

from nightrate.domain.file import UploadState
from nightrate.domain.states import ShardState

_SEALED = f"'{ShardState.SEALED}'"

IS_STATE = "SELECT count(*) FROM schema_version"
IS_INDEX = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'documents'"

FILES = "SELECT blob, size_bytes FROM file WHERE blob IS NOT NULL ORDER BY blob"
CACHES = "SELECT blob, size_bytes FROM cached_content ORDER BY blob"
INPUTS = """
SELECT input_blob, input_bytes FROM batch
WHERE input_file_id IS NULL AND input_gone_at IS NULL ORDER BY tenant, batch_id"""
SEGMENTS = """
SELECT segment_blob, segment_bytes FROM shard WHERE segment_blob IS NOT NULL
ORDER BY tenant, batch_id, shard"""

# What still grows: an upload as far as it is counted, and the journals of unsealed shards.
UPLOADS = f"""
SELECT blob, received_bytes FROM upload
WHERE state = '{UploadState.ACTIVE}' AND received_bytes > 0 ORDER BY blob"""
JOURNALS = f"""
SELECT tenant, batch_id, shard, journal FROM shard
WHERE state <> {_SEALED} AND journal <> '' ORDER BY tenant, batch_id, shard"""

TOTALS = f"""
SELECT (SELECT coalesce(sum(size_bytes), 0) FROM file WHERE blob IS NOT NULL)
     + (SELECT coalesce(sum(size_bytes), 0) FROM cached_content)
     + (SELECT coalesce(sum(input_bytes), 0) FROM batch
        WHERE input_file_id IS NULL AND input_gone_at IS NULL)
     + (SELECT coalesce(sum(segment_bytes), 0) FROM shard WHERE segment_blob IS NOT NULL)
     + (SELECT coalesce(sum(received_bytes), 0) FROM upload
        WHERE state = '{UploadState.ACTIVE}')"""
