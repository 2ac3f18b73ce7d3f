"""Events and what has to be told about them, written by the transaction that ends a batch."""

from __future__ import annotations

from nightrate import clock
from nightrate.clock import Instant
from nightrate.domain.file import result_file_id
from nightrate.domain.webhook import WebhookConfig
from nightrate.store import statements as sql
from nightrate.store import webhook_statements as webhook_sql
from nightrate.store.relational import Relational

_ID_LENGTH = 24


class Outbox(Relational):
    """For the verbs that end batches; everything here belongs to their transactions."""

    def _add_event(self, tenant: str, batch_id: str, kind: str, now: Instant) -> None:
        """Record that a batch has ended, with one delivery for each target."""
        values = {
            "tenant": tenant,
            "batch_id": batch_id,
            "event_id": clock.new_id(_ID_LENGTH),
            "type": kind,
            "now": now,
        }
        self._all(sql.ADD_EVENT, values)
        output = {"output_file_id": result_file_id(batch_id)}
        self._all(webhook_sql.ADD_DELIVERIES, {**values, **output})

    def _add_targets(self, tenant: str, batch_id: str, webhook: WebhookConfig) -> None:
        """Record the targets that a batch names for itself.

        Without any, a row without an address carries the metadata to the registered webhooks.
        """
        rows = (
            {
                "tenant": tenant,
                "batch_id": batch_id,
                "uri": uri,
                "user_metadata": webhook.user_metadata,
            }
            for uri in webhook.uris or ("",)
        )
        self._many(webhook_sql.ADD_BATCH_WEBHOOK, rows)
