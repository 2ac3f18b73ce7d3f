"""The verbs about webhooks and deliveries, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nightrate import clock
from nightrate.clock import Instant
from nightrate.domain.file import Page
from nightrate.domain.generation import Failure
from nightrate.domain.webhook import (
    Delivery,
    DeliveryState,
    Secret,
    Verdict,
    Webhook,
    WebhookState,
    WebhookWish,
)
from nightrate.errors import Code, Conflict, OverQuota
from nightrate.store import webhook_statements as sql
from nightrate.store.relational import Relational
from nightrate.store.rows import Row, columns, page_values

_ID_LENGTH = 24
_WINDOW_FACTOR = 32
"""How many due rows are looked at for one that is given: targets with much due share the look."""


class WebhookVerbs(Relational):
    """See `Store`, webhooks."""

    async def add_webhook(self, webhook: Webhook, most: int) -> None:
        """See `Store.add_webhook`."""
        key = {"tenant": webhook.tenant, "webhook_id": webhook.webhook_id}
        values = {
            **key,
            "name": webhook.name,
            "uri": webhook.uri,
            "state": str(webhook.state),
            "created_at": webhook.created_at,
            "updated_at": webhook.updated_at,
        }

        def call() -> None:
            if self._aggregate(sql.COUNT_WEBHOOKS, key)[0] >= most:
                raise OverQuota(f"There are {most} webhooks already; delete one of them first.")
            if self._one(sql.ADD_WEBHOOK, values) is None:
                raise Conflict(f"Webhook {webhook.webhook_id} exists already.")
            self._subscribe(key, webhook.events)
            for secret in webhook.secrets:
                self._all(sql.ADD_SECRET, {**key, **columns(secret)})

        await self._write(call)

    async def get_webhook(self, tenant: str, webhook_id: str) -> Webhook | None:
        """See `Store.get_webhook`."""
        key = {"tenant": tenant, "webhook_id": webhook_id}
        return await self._call(lambda: self._found_webhook(key))

    async def list_webhooks(self, tenant: str, page: Page) -> list[Webhook]:
        """See `Store.list_webhooks`."""

        def call() -> list[Webhook]:
            rows = self._all(sql.LIST_WEBHOOKS, {"tenant": tenant, **page_values(page)})
            return [self._webhook_of(row) for row in rows]

        return await self._call(call)

    async def change_webhook(
        self, tenant: str, webhook_id: str, wish: WebhookWish, now: Instant
    ) -> Webhook | None:
        """See `Store.change_webhook`."""
        key = {"tenant": tenant, "webhook_id": webhook_id}
        state = None if wish.state is None else str(wish.state)
        values = {**key, "name": wish.name, "uri": wish.uri, "state": state, "now": now}

        def call() -> Webhook | None:
            if self._one(sql.CHANGE_WEBHOOK, values) is None:
                return None
            if wish.events is not None:
                self._all(sql.DROP_SUBSCRIPTIONS, key)
                self._subscribe(key, wish.events)
            if wish.state is WebhookState.ENABLED:
                self._all(sql.RESET_DELIVERIES, {**key, "now": now})
            return self._found_webhook(key)

        return await self._write(call)

    async def rotate_secret(
        self, tenant: str, webhook_id: str, secret: Secret, until: Instant, keep: int
    ) -> bool:
        """See `Store.rotate_secret`."""
        key = {"tenant": tenant, "webhook_id": webhook_id}

        def call() -> bool:
            if self._one(sql.GET_WEBHOOK, key) is None:
                return False
            self._all(sql.RETIRE_SECRETS, {**key, "until": until})
            self._all(sql.DROP_EXPIRED_SECRETS, {**key, "now": secret.created_at})
            self._all(sql.ADD_SECRET, {**key, **columns(secret)})
            self._all(sql.DROP_OLDEST_SECRETS, {**key, "keep": keep})
            return True

        return await self._write(call)

    async def delete_webhook(self, tenant: str, webhook_id: str) -> bool:
        """See `Store.delete_webhook`."""
        key = {"tenant": tenant, "webhook_id": webhook_id}

        def call() -> bool:
            for text in (sql.DROP_SUBSCRIPTIONS, sql.DROP_SECRETS, sql.DROP_DELIVERIES):
                self._all(text, key)
            return self._one(sql.DELETE_WEBHOOK, key) is not None

        return await self._write(call)

    async def add_ping(self, tenant: str, webhook_id: str, now: Instant) -> bool:
        """See `Store.add_ping`."""
        event = {"event_id": clock.new_id(_ID_LENGTH), "now": now}
        values = {"tenant": tenant, "webhook_id": webhook_id, **event}
        return await self._write(lambda: self._one(sql.ADD_PING, values) is not None)

    # deliveries -------------------------------------------------------------------------------

    async def due_deliveries(self, now: Instant, each: int, limit: int) -> list[Delivery]:
        """See `Store.due_deliveries`."""
        values = {"now": now, "each": each, "limit": limit, "window": limit * _WINDOW_FACTOR}
        return [_delivery_of(row) for row in await self._read(sql.DUE_DELIVERIES, values)]

    async def settle_delivery(
        self, delivery: Delivery, verdict: Verdict, outcome: str, now: Instant
    ) -> None:
        """See `Store.settle_delivery`."""
        key = {"tenant": delivery.tenant, "webhook_id": delivery.webhook_id}
        values = {
            "tenant": delivery.tenant,
            "event_id": delivery.event_id,
            "target": delivery.target,
            "state": str(verdict.state),
            "due_at": clock.later(now, verdict.wait_seconds or 0),
            "outcome": outcome,
            "now": now,
        }

        def call() -> None:
            settled = self._one(sql.SETTLE_DELIVERY, values) is not None
            if settled and verdict.webhook_state is not None:
                state = str(verdict.webhook_state)
                self._all(sql.DISABLE_WEBHOOK, {**key, "state": state, "now": now})

        await self._write(call)

    async def list_deliveries(self, tenant: str, target: str, limit: int) -> list[Delivery]:
        """See `Store.list_deliveries`."""
        values = {"tenant": tenant, "target": target, "limit": limit}
        return [_delivery_of(row) for row in await self._read(sql.LIST_DELIVERIES, values)]

    async def sweep_deliveries(self, before: Instant, keep: int, limit: int) -> int:
        """See `Store.sweep_deliveries`."""
        old = {"before": before, "limit": limit}
        many = {"keep": keep, "limit": limit}

        def call() -> int:
            dropped = self._all(sql.SWEEP_OLD_DELIVERIES, old)
            dropped += self._all(sql.SWEEP_MANY_DELIVERIES, many)
            return len(dropped)

        return await self._write(call)

    # rows -------------------------------------------------------------------------------------

    def _subscribe(self, key: dict[str, str], events: Sequence[str]) -> None:
        rows = ({**key, "type": event, "place": place} for place, event in enumerate(events))
        self._many(sql.ADD_SUBSCRIPTION, rows)

    def _found_webhook(self, key: dict[str, str]) -> Webhook | None:
        row = self._one(sql.GET_WEBHOOK, key)
        return None if row is None else self._webhook_of(row)

    def _webhook_of(self, row: Row) -> Webhook:
        key = {"tenant": row[0], "webhook_id": row[1]}
        return Webhook(
            tenant=row[0],
            webhook_id=row[1],
            name=row[2],
            uri=row[3],
            events=tuple(kind for (kind,) in self._all(sql.SUBSCRIPTIONS, key)),
            state=WebhookState(row[4]),
            created_at=row[5],
            updated_at=row[6],
            secrets=tuple(
                Secret(
                    secret_id=one[0],
                    sealed=one[1],
                    hint=one[2],
                    created_at=one[3],
                    expires_at=one[4],
                )
                for one in self._all(sql.SECRETS, key)
            ),
        )


_DELIVERY_NAMES = tuple(name.strip() for name in sql.DELIVERY_COLUMNS.split(","))


def _delivery_of(row: Row) -> Delivery:
    values: dict[str, Any] = dict(zip(_DELIVERY_NAMES, row, strict=True))
    code, message = values.pop("failure_code"), values.pop("failure_message")
    values["failure"] = None if code is None else Failure(Code(code), message)
    values["state"] = DeliveryState(values["state"])
    return Delivery(**values)
