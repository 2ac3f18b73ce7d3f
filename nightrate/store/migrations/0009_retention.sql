-- What is over leaves the disk: inline requests, results, and in the end the batch itself.

ALTER TABLE batch ADD COLUMN input_gone_at BIGINT;  -- set: its inline requests are kept no longer
ALTER TABLE batch ADD COLUMN results TEXT;          -- of ended result files: 'over', then 'gone'
CREATE INDEX batch_inline ON batch (created_at)
  WHERE input_file_id IS NULL AND input_gone_at IS NULL AND ended_at IS NOT NULL;
CREATE INDEX batch_over ON batch (tenant, batch_id) WHERE results = 'over';
CREATE INDEX batch_ended ON batch (ended_at) WHERE ended_at IS NOT NULL AND deleted_at IS NULL;

-- Whether a blob that was found on the disk is named by anything.
CREATE INDEX file_blob ON file (blob) WHERE blob IS NOT NULL;
CREATE INDEX upload_blob ON upload (blob);
CREATE INDEX cached_content_blob ON cached_content (blob);

-- Result files that ended before anybody took note of that.
UPDATE batch SET results = 'over'
WHERE form = 'file' AND (state = 'succeeded' OR partial = 'shown')
  AND NOT EXISTS (SELECT 1 FROM file WHERE file.tenant = batch.tenant
                  AND file.file_id = 'batch-' || batch.batch_id)
  AND NOT EXISTS (SELECT 1 FROM file WHERE file.tenant = batch.tenant
                  AND file.file_id = 'batch-' || batch.batch_id || '-errors');
