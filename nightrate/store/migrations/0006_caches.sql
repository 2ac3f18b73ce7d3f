-- Cached contents: what is known of them; what they keep lies in blobs.

CREATE TABLE cached_content (
  tenant TEXT NOT NULL,
  cache_id TEXT NOT NULL,
  model TEXT NOT NULL,
  display_name TEXT,
  blob TEXT NOT NULL,
  size_bytes BIGINT NOT NULL,
  token_count BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, cache_id)
);
CREATE INDEX cached_content_newest ON cached_content (tenant, created_at DESC, cache_id DESC);
CREATE INDEX cached_content_end ON cached_content (expires_at);
