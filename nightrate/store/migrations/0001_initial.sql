-- Times are microseconds since 1970. Every row carries its tenant. There is no row per request.

CREATE TABLE file (
  tenant TEXT NOT NULL,
  file_id TEXT NOT NULL,
  blob TEXT,                      -- NULL: a result file, whose bytes are its batch's segments
  display_name TEXT,
  mime_type TEXT NOT NULL,
  size_bytes BIGINT NOT NULL,
  sha256 TEXT,
  source TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  deleted_at BIGINT,              -- set: out of sight, bytes kept while a live batch reads them
  PRIMARY KEY (tenant, file_id)
);
CREATE INDEX file_newest ON file (tenant, created_at DESC, file_id DESC);

CREATE TABLE upload (
  tenant TEXT NOT NULL,
  upload_id TEXT NOT NULL,
  file_id TEXT NOT NULL,
  blob TEXT NOT NULL,
  display_name TEXT,
  mime_type TEXT NOT NULL,
  received_bytes BIGINT NOT NULL,
  state TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (upload_id)
);
CREATE UNIQUE INDEX upload_name ON upload (tenant, file_id) WHERE state = 'active';

CREATE TABLE batch (
  tenant TEXT NOT NULL,
  batch_id TEXT NOT NULL,
  model TEXT NOT NULL,
  display_name TEXT NOT NULL,
  form TEXT NOT NULL,
  state TEXT NOT NULL,
  input_blob TEXT NOT NULL,
  input_file_id TEXT,
  input_bytes BIGINT NOT NULL,
  priority BIGINT NOT NULL,
  request_count BIGINT,
  invalid_count BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  ended_at BIGINT,
  expires_at BIGINT NOT NULL,
  failure_code BIGINT,
  failure_message TEXT,
  PRIMARY KEY (tenant, batch_id)
);
CREATE INDEX batch_newest ON batch (tenant, created_at DESC, batch_id DESC);
CREATE INDEX batch_live ON batch (created_at) WHERE ended_at IS NULL;
CREATE INDEX batch_input ON batch (input_blob) WHERE ended_at IS NULL;

CREATE TABLE shard (
  tenant TEXT NOT NULL,
  batch_id TEXT NOT NULL,
  shard BIGINT NOT NULL,
  first_request BIGINT NOT NULL,
  request_count BIGINT NOT NULL,
  first_line BIGINT NOT NULL,
  byte_offset BIGINT NOT NULL,
  byte_length BIGINT NOT NULL,
  state TEXT NOT NULL,
  epoch BIGINT NOT NULL,          -- raised by each claim, never lowered: the fence
  owner TEXT,
  lease_until BIGINT,
  journal TEXT NOT NULL,          -- which journal bytes count: "epoch:bytes epoch:bytes"
  succeeded BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  prompt_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL,
  cached_tokens BIGINT NOT NULL,
  segment_blob TEXT,
  segment_bytes BIGINT,
  segment_crc32 BIGINT,
  PRIMARY KEY (tenant, batch_id, shard)
);
CREATE INDEX shard_pending ON shard (tenant, batch_id, shard) WHERE state = 'pending';
CREATE INDEX shard_running ON shard (tenant, batch_id, shard) WHERE state = 'running';

CREATE TABLE event (
  tenant TEXT NOT NULL,
  event_id TEXT NOT NULL,
  batch_id TEXT NOT NULL,
  type TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, event_id)
);
CREATE UNIQUE INDEX event_once ON event (tenant, batch_id, type);
