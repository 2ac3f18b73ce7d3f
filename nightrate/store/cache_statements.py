"""The SQL about cached contents; see `statements` for its form."""

from __future__ import annotations

CACHE_COLUMNS = (
    "tenant, cache_id, model, display_name, blob, size_bytes, token_count, created_at, updated_at,"
    " expires_at, crc32"
)

COUNT_CACHES = "SELECT count(*) FROM cached_content WHERE tenant = :tenant"

ADD_CACHE = f"""
INSERT INTO cached_content ({CACHE_COLUMNS})
VALUES (:tenant, :cache_id, :model, :display_name, :blob, :size_bytes, :token_count, :created_at,
        :updated_at, :expires_at, :crc32)"""

_ALIVE = "tenant = :tenant AND cache_id = :cache_id AND expires_at > :alive_at"

GET_CACHE = f"SELECT {CACHE_COLUMNS} FROM cached_content WHERE {_ALIVE}"

LIST_CACHES = f"""
SELECT {CACHE_COLUMNS} FROM cached_content
WHERE tenant = :tenant AND expires_at > :alive_at
  AND (created_at, cache_id) < (:after_time, :after_id)
ORDER BY created_at DESC, cache_id DESC LIMIT :limit"""

CHANGE_CACHE = f"""
UPDATE cached_content SET expires_at = :expires_at, updated_at = :alive_at WHERE {_ALIVE}
RETURNING {CACHE_COLUMNS}"""

DELETE_CACHE = f"DELETE FROM cached_content WHERE {_ALIVE} RETURNING blob"
