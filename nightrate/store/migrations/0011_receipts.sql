-- What a batch cost: the engine's time and the thought tokens of its lines, and the prices that were
-- true when it was made.

ALTER TABLE shard ADD COLUMN thought_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE shard ADD COLUMN engine_nanoseconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN quote TEXT;         -- as JSON; NULL: there was no tariff, or it names no such model
