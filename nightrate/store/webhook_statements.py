"""The SQL about webhooks and deliveries, each statement with a sentence."""

from __future__ import annotations

from nightrate.domain.batch import BatchForm
from nightrate.domain.states import BatchState
from nightrate.domain.webhook import PING, DeliveryState, WebhookState

_PENDING = f"'{DeliveryState.PENDING}'"
_ENABLED = f"'{WebhookState.ENABLED}'"
_ONE = "tenant = :tenant AND webhook_id = :webhook_id"

WEBHOOK_COLUMNS = "tenant, webhook_id, name, uri, state, created_at, updated_at"
SECRET_COLUMNS = "secret_id, sealed, hint, created_at, expires_at"  # noqa: S105 - names of columns
DELIVERY_COLUMNS = (
    "tenant, event_id, target, webhook_id, batch_id, type, output_file_id, failure_code,"
    " failure_message, user_metadata, happened_at, state, attempts, due_at, tried_at, outcome"
)

# webhooks -------------------------------------------------------------------------------------

ADD_WEBHOOK = f"""
INSERT INTO webhook ({WEBHOOK_COLUMNS})
VALUES (:tenant, :webhook_id, :name, :uri, :state, :created_at, :updated_at)
ON CONFLICT DO NOTHING RETURNING webhook_id"""

COUNT_WEBHOOKS = "SELECT count(*) FROM webhook WHERE tenant = :tenant"

ADD_SUBSCRIPTION = """
INSERT INTO webhook_event (tenant, webhook_id, type, place)
VALUES (:tenant, :webhook_id, :type, :place)"""

DROP_SUBSCRIPTIONS = f"DELETE FROM webhook_event WHERE {_ONE}"

ADD_SECRET = f"""
INSERT INTO webhook_secret (tenant, webhook_id, {SECRET_COLUMNS})
VALUES (:tenant, :webhook_id, :secret_id, :sealed, :hint, :created_at, :expires_at)"""

GET_WEBHOOK = f"SELECT {WEBHOOK_COLUMNS} FROM webhook WHERE {_ONE}"

LIST_WEBHOOKS = f"""
SELECT {WEBHOOK_COLUMNS} FROM webhook
WHERE tenant = :tenant AND (created_at, webhook_id) < (:after_time, :after_id)
ORDER BY created_at DESC, webhook_id DESC LIMIT :limit"""

SUBSCRIPTIONS = f"SELECT type FROM webhook_event WHERE {_ONE} ORDER BY place"

SECRETS = f"""
SELECT {SECRET_COLUMNS} FROM webhook_secret WHERE {_ONE}
ORDER BY CASE WHEN expires_at IS NULL THEN 0 ELSE 1 END, created_at DESC, secret_id"""

CHANGE_WEBHOOK = f"""
UPDATE webhook SET name = coalesce(:name, name), uri = coalesce(:uri, uri),
       state = coalesce(:state, state), updated_at = :now
WHERE {_ONE} RETURNING webhook_id"""

# What waited for a webhook that is enabled again starts anew, and at once.
RESET_DELIVERIES = f"""
UPDATE delivery SET attempts = 0, due_at = :now WHERE {_ONE} AND state = {_PENDING}"""

# Only one that is enabled: a word of the client is not overruled by a late attempt.
DISABLE_WEBHOOK = f"""
UPDATE webhook SET state = :state, updated_at = :now WHERE {_ONE} AND state = {_ENABLED}"""

DELETE_WEBHOOK = f"DELETE FROM webhook WHERE {_ONE} RETURNING webhook_id"
DROP_SECRETS = f"DELETE FROM webhook_secret WHERE {_ONE}"
DROP_DELIVERIES = f"DELETE FROM delivery WHERE {_ONE}"

# A secret that ends sooner already keeps its end.
RETIRE_SECRETS = f"""
UPDATE webhook_secret SET expires_at = :until
WHERE {_ONE} AND (expires_at IS NULL OR expires_at > :until)"""

DROP_EXPIRED_SECRETS = f"DELETE FROM webhook_secret WHERE {_ONE} AND expires_at <= :now"

DROP_OLDEST_SECRETS = f"""
DELETE FROM webhook_secret WHERE {_ONE} AND secret_id NOT IN (
  SELECT secret_id FROM webhook_secret WHERE {_ONE}
  ORDER BY CASE WHEN expires_at IS NULL THEN 0 ELSE 1 END, created_at DESC, secret_id
  LIMIT :keep)"""

# deliveries -----------------------------------------------------------------------------------

ADD_BATCH_WEBHOOK = """
INSERT INTO batch_webhook (tenant, batch_id, uri, user_metadata)
VALUES (:tenant, :batch_id, :uri, :user_metadata)"""

# One row a target: those that the batch named, or else the webhooks that subscribed.
ADD_DELIVERIES = f"""
INSERT INTO delivery ({DELIVERY_COLUMNS})
SELECT b.tenant, :event_id, t.target, t.webhook_id, b.batch_id, :type,
       CASE WHEN b.state = '{BatchState.SUCCEEDED}' AND b.form = '{BatchForm.FILE}'
            THEN :output_file_id END,
       b.failure_code, b.failure_message, t.user_metadata, :now, {_PENDING}, 0, :now, NULL, NULL
FROM batch b CROSS JOIN (
  SELECT uri AS target, NULL AS webhook_id, user_metadata
  FROM batch_webhook WHERE tenant = :tenant AND batch_id = :batch_id AND uri <> ''
  UNION ALL
  SELECT w.webhook_id, w.webhook_id,
         (SELECT user_metadata FROM batch_webhook
          WHERE tenant = :tenant AND batch_id = :batch_id AND uri = '')
  FROM webhook w
  JOIN webhook_event e ON e.tenant = w.tenant AND e.webhook_id = w.webhook_id
  WHERE w.tenant = :tenant AND w.state = {_ENABLED} AND e.type = :type
    AND NOT EXISTS (SELECT 1 FROM batch_webhook
                    WHERE tenant = :tenant AND batch_id = :batch_id AND uri <> '')
) t
WHERE b.tenant = :tenant AND b.batch_id = :batch_id"""

ADD_PING = f"""
INSERT INTO delivery ({DELIVERY_COLUMNS})
SELECT tenant, :event_id, webhook_id, webhook_id, NULL, '{PING}', NULL, NULL, NULL, NULL, :now,
       {_PENDING}, 0, :now, NULL, NULL
FROM webhook WHERE {_ONE}
RETURNING event_id"""

# A few for each target, so that a slow one does not keep the others waiting. What belongs to a
# webhook that is not enabled waits with it; a ping goes out all the same.
DUE_DELIVERIES = f"""
SELECT {DELIVERY_COLUMNS} FROM (
  SELECT {DELIVERY_COLUMNS},
         row_number() OVER (PARTITION BY tenant, target ORDER BY due_at) AS place
  FROM (
    SELECT {", ".join("d." + name.strip() for name in DELIVERY_COLUMNS.split(","))}
    FROM delivery d
    LEFT JOIN webhook w ON w.tenant = d.tenant AND w.webhook_id = d.webhook_id
    WHERE d.state = {_PENDING} AND d.due_at <= :now
      AND (d.webhook_id IS NULL OR w.state = {_ENABLED} OR d.type = '{PING}')
    ORDER BY d.due_at LIMIT :window) AS due
) AS placed
WHERE place <= :each ORDER BY due_at LIMIT :limit"""

SETTLE_DELIVERY = f"""
UPDATE delivery SET state = :state, attempts = attempts + 1, due_at = :due_at, tried_at = :now,
       outcome = :outcome
WHERE tenant = :tenant AND event_id = :event_id AND target = :target AND state = {_PENDING}
RETURNING event_id"""

LIST_DELIVERIES = f"""
SELECT {DELIVERY_COLUMNS} FROM delivery
WHERE tenant = :tenant AND target = :target ORDER BY happened_at DESC, event_id LIMIT :limit"""

# Old ones, but never one that can still be tried.
SWEEP_OLD_DELIVERIES = f"""
DELETE FROM delivery WHERE (tenant, event_id, target) IN (
  SELECT d.tenant, d.event_id, d.target FROM delivery d
  WHERE d.happened_at <= :before
    AND (d.state <> {_PENDING} OR EXISTS (
      SELECT 1 FROM webhook w WHERE w.tenant = d.tenant AND w.webhook_id = d.webhook_id
      AND w.state <> {_ENABLED}))
  LIMIT :limit)
RETURNING event_id"""

# Settled ones beyond a number, the oldest.
SWEEP_MANY_DELIVERIES = f"""
DELETE FROM delivery WHERE (tenant, event_id, target) IN (
  SELECT tenant, event_id, target FROM delivery WHERE state <> {_PENDING}
  ORDER BY tried_at DESC LIMIT :limit OFFSET :keep)
RETURNING event_id"""
