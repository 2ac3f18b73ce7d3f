-- Batches whose failures are handed out apart from their successes, and what their dialect needs.

ALTER TABLE shard ADD COLUMN segment_split BIGINT;  -- where the failures begin; NULL: in input order
ALTER TABLE batch ADD COLUMN started_at BIGINT;     -- when its first shard was claimed
ALTER TABLE batch ADD COLUMN terms TEXT;            -- what its dialect has to show again, as JSON
ALTER TABLE batch ADD COLUMN faults TEXT;           -- what is wrong with its input, as JSON
ALTER TABLE batch ADD COLUMN results_seconds BIGINT;  -- how long its results are kept
