-- A sealed shard whose segment is damaged is made again, also when its batch has ended.

ALTER TABLE shard ADD COLUMN damaged_at BIGINT;  -- set: what its segment's columns name is never served
ALTER TABLE shard ADD COLUMN lost TEXT;          -- set: why its damaged answers cannot be made again
ALTER TABLE batch ADD COLUMN repair_since BIGINT;  -- set: it has ended, and shards of it are made again
ALTER TABLE cached_content ADD COLUMN crc32 BIGINT;  -- of its bytes; NULL: made before this step
CREATE INDEX batch_repair ON batch (input_blob) WHERE repair_since IS NOT NULL;
CREATE INDEX shard_damaged ON shard (tenant, batch_id, shard) WHERE damaged_at IS NOT NULL;
