-- A batch may be strict, and a call that makes one may come twice.

ALTER TABLE batch ADD COLUMN strict BIGINT NOT NULL DEFAULT 0;  -- 1: one malformed request fails it

CREATE TABLE idempotency (
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,              -- the client's word for one call, however often it is sent
  digest TEXT NOT NULL,           -- SHA-256 of what the call asked for
  batch_id TEXT NOT NULL,         -- what the first one made; it may have been deleted since
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, key)
);
CREATE INDEX idempotency_old ON idempotency (created_at);
