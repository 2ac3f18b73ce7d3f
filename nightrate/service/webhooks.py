"""What a client can ask for about webhooks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

from nightrate import clock, webhook_limits
from nightrate.clock import Instant
from nightrate.domain.file import Page
from nightrate.domain.webhook import Delivery, Secret, Webhook, WebhookState, WebhookWish
from nightrate.errors import NotFound
from nightrate.service.vault import Vault
from nightrate.store.base import Store
from nightrate.tools.addresses import Addresses

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
_SECRET_BYTES = 32
_HINT_CHARACTERS = 4
_ID_LENGTH = 36


def secret_owner(tenant: str, webhook_id: str) -> str:
    """Name whom a sealed secret belongs to; it cannot be opened for anyone else."""
    return f"webhook {tenant}/{webhook_id}"


class Webhooks:
    """Creates, changes, tries and removes webhooks.

    Args:
        store: where they are kept.
        vault: seals their secrets.
        addresses: where they may lead.
        wake: called when something is to be delivered now.
    """

    def __init__(
        self, store: Store, vault: Vault, addresses: Addresses, wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._vault = vault
        self._addresses = addresses
        self._wake = wake

    @property
    def public_keys(self) -> bytes:
        """The key set that receivers check tokens with."""
        return self._vault.public_keys

    async def create(
        self, tenant: str, wish: WebhookWish, webhook_id: str | None
    ) -> tuple[Webhook, str]:
        """Register a webhook, and give its signing secret, which nobody is shown again.

        Raises:
            BadRequest: its address is not allowed.
            Conflict: the id is taken.
            OverQuota: there are too many.
        """
        assert wish.uri is not None, "checked by the dialect"
        assert wish.events is not None, "checked by the dialect"
        self._addresses.check_uri(wish.uri, "uri")
        now = clock.now()
        webhook_id = webhook_id or clock.new_id(_ID_LENGTH)
        text, secret = self._new_secret(tenant, webhook_id, now)
        webhook = Webhook(
            tenant=tenant,
            webhook_id=webhook_id,
            name=wish.name or "",
            uri=wish.uri,
            events=wish.events,
            state=WebhookState.ENABLED,
            created_at=now,
            updated_at=now,
            secrets=(secret,),
        )
        await self._store.add_webhook(webhook, webhook_limits.WEBHOOKS_MAX)
        return webhook, text

    async def get(self, tenant: str, webhook_id: str) -> Webhook:
        """Find a webhook.

        Raises:
            NotFound: there is none of that id.
        """
        webhook = await self._store.get_webhook(tenant, webhook_id)
        if webhook is None:
            raise _missing(webhook_id)
        return webhook

    async def list(
        self, tenant: str, page: Page
    ) -> tuple[list[Webhook], tuple[Instant, str] | None]:
        """List webhooks, newest first, and where the next page begins."""
        found = await self._store.list_webhooks(tenant, page)
        shown = found[: page.size]
        more = len(found) > page.size
        return shown, (shown[-1].created_at, shown[-1].webhook_id) if more else None

    async def change(self, tenant: str, webhook_id: str, wish: WebhookWish) -> Webhook:
        """Change what the wish names.

        Raises:
            NotFound: there is no such webhook.
            BadRequest: its new address is not allowed.
        """
        if wish.uri is not None:
            self._addresses.check_uri(wish.uri, "uri")
        webhook = await self._store.change_webhook(tenant, webhook_id, wish, clock.now())
        if webhook is None:
            raise _missing(webhook_id)
        self._wake()
        return webhook

    async def delete(self, tenant: str, webhook_id: str) -> None:
        """Remove a webhook and what waits for it.

        Raises:
            NotFound: there is no such webhook.
        """
        if not await self._store.delete_webhook(tenant, webhook_id):
            raise _missing(webhook_id)

    async def ping(self, tenant: str, webhook_id: str) -> None:
        """Have one event delivered, to see whether it arrives.

        Raises:
            NotFound: there is no such webhook.
        """
        if not await self._store.add_ping(tenant, webhook_id, clock.now()):
            raise _missing(webhook_id)
        self._wake()

    async def deliveries(self, tenant: str, webhook_id: str, limit: int) -> Sequence[Delivery]:
        """Give what became of the newest events of a webhook, the newest first.

        Raises:
            NotFound: there is no such webhook.
        """
        webhook = await self.get(tenant, webhook_id)
        return await self._store.list_deliveries(tenant, webhook.webhook_id, limit)

    async def rotate(self, tenant: str, webhook_id: str, *, at_once: bool) -> str:
        """Give a webhook a new secret; the old ones go on signing for a day unless told.

        Raises:
            NotFound: there is no such webhook.
        """
        now = clock.now()
        text, secret = self._new_secret(tenant, webhook_id, now)
        until = clock.later(now, 0 if at_once else webhook_limits.SECRET_OVERLAP_SECONDS)
        keep = webhook_limits.SIGNING_SECRETS_MAX
        if not await self._store.rotate_secret(tenant, webhook_id, secret, until, keep):
            raise _missing(webhook_id)
        return text

    def _new_secret(self, tenant: str, webhook_id: str, now: Instant) -> tuple[str, Secret]:
        key = clock.secret_bytes(_SECRET_BYTES)
        text = SECRET_PREFIX + base64.b64encode(key).decode()
        secret = Secret(
            secret_id=clock.new_id(_ID_LENGTH),
            sealed=self._vault.seal(key, secret_owner(tenant, webhook_id)),
            hint=text[-_HINT_CHARACTERS:],
            created_at=now,
            expires_at=None,
        )
        return text, secret


def _missing(webhook_id: str) -> NotFound:
    return NotFound(f"Webhook {webhook_id} does not exist.")
