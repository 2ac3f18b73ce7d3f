"""The SQL about API keys."""

from __future__ import annotations

KEY_COLUMNS = "key_id, tenant, name, digest, created_at, used_at, expires_at, revoked_at"

ADD_KEY = f"""
INSERT INTO api_key ({KEY_COLUMNS})
VALUES (:key_id, :tenant, :name, :digest, :created_at, :used_at, :expires_at, :revoked_at)
ON CONFLICT DO NOTHING
RETURNING key_id"""

COUNT_LIVE_KEYS = """
SELECT count(*) FROM api_key
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :created_at)"""

LIST_KEYS = f"SELECT {KEY_COLUMNS} FROM api_key ORDER BY created_at DESC, key_id DESC"

# The first time stands: when it was that a key ended may matter to somebody.
REVOKE_KEY = f"""
UPDATE api_key SET revoked_at = coalesce(revoked_at, :now) WHERE key_id = :key_id
RETURNING {KEY_COLUMNS}"""

# A clock that went back must not keep the use of a key from being recorded.
TOUCH_KEY = """
UPDATE api_key SET used_at = :now
WHERE key_id = :key_id AND (used_at IS NULL OR used_at <= :before OR used_at > :now)"""
