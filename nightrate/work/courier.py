"""Carries events to their receivers: at least once, with every attempt recorded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from nightrate import clock, limits, webhook_limits
from nightrate.dialects.gemini_events import event_claims, render_event
from nightrate.dialects.retry_after import asked_seconds
from nightrate.domain.webhook import Delivery, DeliveryState, judge
from nightrate.errors import BadRequest, Damaged, StoreFault
from nightrate.service.signatures import symmetric_headers, token_headers
from nightrate.service.vault import Vault
from nightrate.service.webhooks import secret_owner
from nightrate.store.base import Store
from nightrate.tools.addresses import Addresses

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

_Key = tuple[str, str, str]


class _NotSent(Exception):
    """There was nobody to send to; the message says why."""


class Courier:
    """Delivers what is due.

    What is under way is known to this object alone: after a crash it is due again, with the same
    id, so a receiver may hear of an event twice but never not at all.

    Args:
        store: holds the deliveries.
        vault: opens secrets and signs tokens.
        addresses: where it may connect to.
        base_url: this server as its clients see it, without a slash at the end.
    """

    def __init__(self, store: Store, vault: Vault, addresses: Addresses, base_url: str) -> None:
        self._store = store
        self._vault = vault
        self._addresses = addresses
        self._base_url = base_url
        self._wake = asyncio.Event()
        self._under_way: set[_Key] = set()

    def wake(self) -> None:
        """Look for due deliveries now."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        client: aiohttp.ClientSession | None = None
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                try:
                    for delivery in await self._fresh():
                        if client is None:
                            client = await stack.enter_async_context(self.client())
                        self._under_way.add(_key(delivery))
                        group.create_task(self._carried(client, delivery))
                except StoreFault as error:
                    log.error("deliveries wait: %s", error)  # noqa: TRY400 - the reason is all
                    await clock.sleep(limits.DISK_PAUSE_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limits.IDLE_POLL_SECONDS):
                        await self._wake.wait()

    def client(self) -> aiohttp.ClientSession:
        """Make the client: it dials only what is allowed, and remembers nothing.

        Its library is a fifth of a server's start and 15 MiB, and most servers deliver nothing.
        """
        import aiohttp  # noqa: PLC0415 - see above

        connector = aiohttp.TCPConnector(
            socket_factory=self._addresses.open_socket, force_close=True, use_dns_cache=False
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )

    async def _fresh(self) -> list[Delivery]:
        """Give what is due and not under way, as much as there is room for."""
        room = webhook_limits.DELIVERIES_AT_ONCE_MAX - len(self._under_way)
        if room <= 0:
            return []
        # Those under way are due too, and must not hide the others.
        due = await self._store.due_deliveries(
            clock.now(),
            webhook_limits.DELIVERIES_EACH_MAX,
            2 * webhook_limits.DELIVERIES_AT_ONCE_MAX,
        )
        return [one for one in due if _key(one) not in self._under_way][:room]

    async def _carried(self, client: aiohttp.ClientSession, delivery: Delivery) -> None:
        try:
            await self.carry(client, delivery)
        except StoreFault as error:
            # The receiver has heard it, and will again; not at once, or it would hear it all day.
            log.error("an attempt was not recorded: %s", error)  # noqa: TRY400 - the reason is all
            await clock.sleep(limits.DISK_PAUSE_SECONDS)
        finally:
            self._under_way.discard(_key(delivery))
            self._wake.set()

    async def carry(self, client: aiohttp.ClientSession, delivery: Delivery) -> None:
        """Make one attempt and record what came of it.

        Raises:
            StoreFault: it could not be recorded.
        """
        import aiohttp  # noqa: PLC0415 - see `client`

        status: int | None = None
        after_seconds: float | None = None
        try:
            status, after_seconds = await self._post(client, delivery)
            outcome = f"status {status}"
        except _NotSent as error:
            outcome = str(error)
        except TimeoutError:
            outcome = f"no answer within {webhook_limits.WEBHOOK_TIMEOUT_SECONDS:g} seconds"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome = _trouble(error)
        verdict = judge(delivery, status, after_seconds, clock.jitter())
        await self._store.settle_delivery(delivery, verdict, outcome, clock.now())
        level = logging.INFO if verdict.state is DeliveryState.DELIVERED else logging.WARNING
        log.log(
            level, "%s %s: %s, %s", delivery.type, delivery.message_id, outcome, verdict.state.value
        )

    async def _post(
        self, client: aiohttp.ClientSession, delivery: Delivery
    ) -> tuple[int, float | None]:
        """Send it; give the status and what the receiver asked us to wait."""
        body = render_event(delivery, self._base_url)
        uri, signed = await self._signed(delivery, body)
        try:
            self._addresses.check_uri(uri, "uri")
        except BadRequest as error:
            raise _NotSent(error.message) from error
        headers = {
            "content-type": "application/json",
            "user-agent": "nightrate",
            "accept-encoding": "identity",
            **signed,
        }
        import aiohttp  # noqa: PLC0415 - see `client`

        timeout = aiohttp.ClientTimeout(total=webhook_limits.WEBHOOK_TIMEOUT_SECONDS)
        async with client.post(
            uri, data=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            # The body of the answer is not read: it could be endless, and says nothing to us.
            return response.status, asked_seconds(response.headers.get("retry-after"), clock.now())

    async def _signed(self, delivery: Delivery, body: bytes) -> tuple[str, dict[str, str]]:
        """Give where to send it and the headers that prove where it came from."""
        now = clock.now()
        if delivery.webhook_id is None:
            uri = delivery.target
            claims = event_claims(delivery, self._base_url)
            claims |= {"iss": self._base_url, "aud": uri}
            return uri, token_headers(delivery.message_id, self._vault, claims, body, now)
        webhook = await self._store.get_webhook(delivery.tenant, delivery.webhook_id)
        if webhook is None:
            raise _NotSent("the webhook was deleted")
        owner = secret_owner(webhook.tenant, webhook.webhook_id)
        try:
            keys = [self._vault.open(one.sealed, owner) for one in webhook.live_secrets(now)]
        except Damaged as error:
            raise _NotSent(error.message) from error
        return webhook.uri, symmetric_headers(delivery.message_id, keys, body, now)


def _key(delivery: Delivery) -> _Key:
    return delivery.tenant, delivery.event_id, delivery.target


def _trouble(error: Exception) -> str:
    """Name what went wrong on the way, without words of the other side."""
    import aiohttp  # noqa: PLC0415 - see `client`

    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and not isinstance(cause, aiohttp.ClientError):
        return f"not connected: {cause.strerror or cause}"
    return f"not sent: {type(error).__name__}"
