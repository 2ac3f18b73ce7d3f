-- Batches can be cancelled, deleted and changed; what they had finished by then is handed out.

ALTER TABLE batch ADD COLUMN deleted_at BIGINT;  -- set: out of sight, kept while its results are
ALTER TABLE batch ADD COLUMN partial TEXT;       -- of one that ended early: 'due', then 'shown'
CREATE INDEX batch_partial ON batch (input_blob) WHERE partial = 'due';
CREATE INDEX batch_deleted ON batch (tenant, batch_id) WHERE deleted_at IS NOT NULL;
