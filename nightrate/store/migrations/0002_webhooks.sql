-- Who is told when a batch has ended, and what still has to be told.

CREATE TABLE webhook (
  tenant TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  name TEXT NOT NULL,
  uri TEXT NOT NULL,
  state TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, webhook_id)
);
CREATE INDEX webhook_newest ON webhook (tenant, created_at DESC, webhook_id DESC);

CREATE TABLE webhook_event (
  tenant TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  type TEXT NOT NULL,
  place BIGINT NOT NULL,          -- the order in which the client named them
  PRIMARY KEY (tenant, webhook_id, type)
);

CREATE TABLE webhook_secret (
  tenant TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  secret_id TEXT NOT NULL,
  sealed TEXT NOT NULL,           -- encrypted with a key that does not lie in this database
  hint TEXT NOT NULL,             -- its last characters, which clients may see
  created_at BIGINT NOT NULL,
  expires_at BIGINT,              -- NULL: the newest one
  PRIMARY KEY (tenant, webhook_id, secret_id)
);

-- Addresses that one batch named for itself; they replace the registered webhooks.
CREATE TABLE batch_webhook (
  tenant TEXT NOT NULL,
  batch_id TEXT NOT NULL,
  uri TEXT NOT NULL,
  user_metadata TEXT,
  PRIMARY KEY (tenant, batch_id, uri)
);

-- One event on its way to one target; born in the transaction that ends the batch.
CREATE TABLE delivery (
  tenant TEXT NOT NULL,
  event_id TEXT NOT NULL,
  target TEXT NOT NULL,           -- the id of a webhook, or an address that the batch named
  webhook_id TEXT,                -- NULL: the batch named it
  batch_id TEXT,                  -- NULL: a ping
  type TEXT NOT NULL,
  output_file_id TEXT,
  failure_code BIGINT,
  failure_message TEXT,
  user_metadata TEXT,
  happened_at BIGINT NOT NULL,
  state TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  due_at BIGINT NOT NULL,
  tried_at BIGINT,
  outcome TEXT,                   -- what the last attempt came to
  PRIMARY KEY (tenant, event_id, target)
);
CREATE INDEX delivery_due ON delivery (due_at) WHERE state = 'pending';
CREATE INDEX delivery_settled ON delivery (tried_at) WHERE state <> 'pending';
CREATE INDEX delivery_webhook ON delivery (tenant, webhook_id) WHERE state = 'pending';
CREATE INDEX delivery_old ON delivery (happened_at);
