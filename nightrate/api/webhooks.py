"""The door for webhooks, and the keys that receivers check tokens with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightrate import clock, limits
from nightrate.api import body
from nightrate.api.auth import tenant_of
from nightrate.api.query import page_of
from nightrate.api.respond import document
from nightrate.dialects import gemini as wire
from nightrate.dialects import gemini_webhooks as dialect
from nightrate.errors import BadRequest

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nightrate.service.webhooks import Webhooks

_KEYS_CACHE = "public, max-age=3600"


class WebhookDoors:
    """Handlers of the routes about webhooks."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def create(self, request: Request) -> Response:
        """Answer ``POST webhooks``: the only answer with the signing secret."""
        wanted = request.query_params.get("webhook_id") or request.query_params.get("webhookId")
        webhook_id = dialect.webhook_id(wanted) if wanted else None
        wish = dialect.parse_webhook(await body.whole(request))
        webhook, secret = await self._webhooks.create(tenant_of(request), wish, webhook_id)
        return document(dialect.render_webhook(webhook, clock.now(), secret))

    async def list(self, request: Request) -> Response:
        """Answer ``GET webhooks``."""
        page = page_of(request, default=limits.PAGE_SIZE_DEFAULT, maximum=limits.PAGE_SIZE_MAX)
        webhooks, following = await self._webhooks.list(tenant_of(request), page)
        token = wire.encode_page_token(*following) if following else None
        return document(dialect.render_webhooks(webhooks, token, clock.now()))

    async def get(self, request: Request) -> Response:
        """Answer ``GET webhooks/ID``."""
        webhook = await self._webhooks.get(tenant_of(request), _id(request))
        return document(dialect.render_webhook(webhook, clock.now()))

    async def change(self, request: Request) -> Response:
        """Answer ``PATCH webhooks/ID``."""
        query = request.query_params
        mask = query.get("update_mask") or query.get("updateMask")
        wish = dialect.parse_webhook_update(await body.whole(request), mask)
        webhook = await self._webhooks.change(tenant_of(request), _id(request), wish)
        return document(dialect.render_webhook(webhook, clock.now()))

    async def delete(self, request: Request) -> Response:
        """Answer ``DELETE webhooks/ID``."""
        await self._webhooks.delete(tenant_of(request), _id(request))
        return document(b"{}")

    async def ping(self, request: Request) -> Response:
        """Answer ``POST webhooks/ID:ping``; the event is on its way, wherever it gets."""
        await self._webhooks.ping(tenant_of(request), _id(request))
        return document(b"{}")

    async def deliveries(self, request: Request) -> Response:
        """Answer ``GET webhooks/ID/deliveries``: the newest ones, as many as a page holds."""
        page = page_of(request, default=limits.PAGE_SIZE_DEFAULT, maximum=limits.PAGE_SIZE_MAX)
        if page.after is not None:
            message = "Deliveries have one page, the newest; leave the page token out."
            raise BadRequest(message, field="pageToken")
        found = await self._webhooks.deliveries(tenant_of(request), _id(request), page.size)
        return document(dialect.render_deliveries(found))

    async def rotate(self, request: Request) -> Response:
        """Answer ``POST webhooks/ID:rotateSigningSecret`` with the new secret."""
        at_once = dialect.parse_rotation(await body.whole(request))
        secret = await self._webhooks.rotate(tenant_of(request), _id(request), at_once=at_once)
        return document(dialect.render_rotation(secret))

    async def public_keys(self, request: Request) -> Response:
        """Answer ``GET /.well-known/jwks.json``."""
        del request
        return document(self._webhooks.public_keys, headers={"cache-control": _KEYS_CACHE})


def _id(request: Request) -> str:
    webhook_id: str = request.path_params["webhook_id"]
    return webhook_id
