-- Who may call, and quick sums of what tenants store.

CREATE TABLE api_key (
  key_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,           -- of the secret, under a key that does not lie in this database
  created_at BIGINT NOT NULL,
  used_at BIGINT,                 -- to the minute
  expires_at BIGINT,              -- NULL: never
  revoked_at BIGINT,
  PRIMARY KEY (key_id)
);
CREATE INDEX file_stored ON file (tenant, expires_at, size_bytes)
  WHERE blob IS NOT NULL AND deleted_at IS NULL;
