"""Webhooks as resources, and what a batch says about its own events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from msgspec import json

from nightrate import webhook_limits
from nightrate.clock import Instant, rfc3339
from nightrate.dialects import tolerant
from nightrate.dialects.gemini_files import display_name
from nightrate.dialects.gemini_shapes import (
    DeliveriesDocument,
    DeliveryDocument,
    RotationBody,
    RotationDocument,
    SigningSecretDocument,
    WebhookBody,
    WebhookConfigBody,
    WebhookDocument,
    WebhooksDocument,
)
from nightrate.dialects.refusals import located, wrong
from nightrate.dialects.spelling import Shape, camel, quoted
from nightrate.domain.webhook import (
    EVENTS,
    Delivery,
    DeliveryState,
    Webhook,
    WebhookConfig,
    WebhookState,
    WebhookWish,
)
from nightrate.errors import Refused

_WEBHOOK: Final = Shape(WebhookBody)
_ROTATION: Final = Shape(RotationBody)
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_ARRAY_INDEX_MAX = 2**32 - 2
_MASKABLE: Final = {
    "name": "name",
    "uri": "uri",
    "subscribedEvents": "events",
    "state": "state",
}
_SETTABLE: Final = (WebhookState.ENABLED, WebhookState.DISABLED)
_REVOCATIONS: Final = {
    "": False,
    "revocation_behavior_unspecified": False,
    "revoke_previous_secrets_after_h24": False,
    "revoke_previous_secrets_immediately": True,
}


def parse_webhook(body: bytes) -> WebhookWish:
    """Read the body that creates a webhook.

    Raises:
        BadRequest: it is malformed, or a member is missing or wrong.
    """
    wish = _wish(body)
    for name, value in {"uri": wish.uri, "subscribed_events": wish.events}.items():
        if value is None:
            raise wrong(name, "it is missing.")
    if wish.state is not None:
        raise wrong("state", "a new webhook is enabled; change it afterwards.")
    return wish


def parse_webhook_update(body: bytes, mask: str | None) -> WebhookWish:
    """Read the body that changes a webhook.

    Args:
        body: the members to change.
        mask: names of members separated by commas; without it, every member of the body counts.

    Raises:
        BadRequest: it is malformed, a value is wrong, or the mask names what cannot be changed.
    """
    wish = _wish(body)
    if not mask:
        return wish
    chosen = {}
    for name in mask.split(","):
        member = _MASKABLE.get(camel(name.strip()))
        if member is None:
            why = f'"{quoted(name)}" is none of name, uri, subscribed_events, state.'
            raise wrong("update_mask", why)
        chosen[member] = getattr(wish, member)
        if chosen[member] is None:
            raise wrong("update_mask", f'it names "{quoted(name)}", which the body does not set.')
    return WebhookWish(**chosen)


def webhook_id(wish: str) -> str:
    """Check the id that a client wants for a new webhook.

    Raises:
        BadRequest: it cannot be one.
    """
    most = webhook_limits.WEBHOOK_ID_CHARACTERS_MAX
    if len(wish) > most or not _ID.fullmatch(wish):
        why = f'"{quoted(wish)}" is not at most {most} of a-z, 0-9 and inner dashes.'
        raise wrong("webhook_id", why)
    return wish


def parse_rotation(body: bytes) -> bool:
    """Read the body that asks for a new secret; tells whether the old ones end at once.

    Raises:
        BadRequest: it is malformed or asks for anything else.
    """
    if not body.strip():
        return False
    tree = tolerant.loads(body)
    asked = _ROTATION.read(tree).revocation_behavior or ""
    if asked.lower() not in _REVOCATIONS:
        known = ", ".join(name for name in _REVOCATIONS if name.startswith("revoke"))
        error = wrong("revocationBehavior", f'"{quoted(asked)}" is none of {known}.')
        raise located(error, tree, "")
    return _REVOCATIONS[asked.lower()]


def webhook_config(config: WebhookConfigBody | None, at: str) -> WebhookConfig | None:
    """Read what a batch says about its events; None when it says nothing.

    Raises:
        BadRequest: there are too many targets, or the metadata is too large to travel.
    """
    if config is None or not (config.uris or config.user_metadata):
        return None
    uris = tuple(dict.fromkeys(config.uris or ()))
    most = webhook_limits.WEBHOOK_URIS_MAX
    if len(uris) > most:
        raise wrong(f"{at}.uris", f"there are {len(uris)}, and at most {most} are allowed.")
    if "" in uris:
        raise wrong(f"{at}.uris", "one of them is empty.")
    metadata = None
    if config.user_metadata:
        field = f"{at}.userMetadata"
        metadata = json.encode(_as_javascript(config.user_metadata, field)).decode()
        most = webhook_limits.USER_METADATA_BYTES_MAX
        if len(metadata.encode()) > most:
            raise wrong(field, f"it is larger than {most} bytes.")
    return WebhookConfig(uris=uris, user_metadata=metadata)


def render_webhook(webhook: Webhook, now: Instant, secret: str | None = None) -> bytes:
    """Write a webhook. ``secret`` is its signing secret, to be shown this once."""
    return json.format(json.encode(_document(webhook, now, secret)), indent=2)


def render_webhooks(webhooks: Iterable[Webhook], next_token: str | None, now: Instant) -> bytes:
    """Write one page of webhooks."""
    page = WebhooksDocument([_document(webhook, now) for webhook in webhooks], next_token)
    return json.format(json.encode(page), indent=2)


def render_rotation(secret: str) -> bytes:
    """Write the answer to a rotation."""
    return json.format(json.encode(RotationDocument(secret)), indent=2)


def render_deliveries(deliveries: Iterable[Delivery]) -> bytes:
    """Write what became of the newest events of a webhook."""
    page = DeliveriesDocument([_delivery(delivery) for delivery in deliveries])
    return json.format(json.encode(page), indent=2)


def _delivery(delivery: Delivery) -> DeliveryDocument:
    tried, pending = delivery.tried_at, delivery.state is DeliveryState.PENDING
    return DeliveryDocument(
        id=delivery.message_id,
        type=delivery.type,
        batch=f"batches/{delivery.batch_id}" if delivery.batch_id else None,
        state=str(delivery.state),
        attempts=delivery.attempts,
        create_time=rfc3339(delivery.happened_at),
        last_attempt_time=None if tried is None else rfc3339(tried),
        next_attempt_time=rfc3339(delivery.due_at) if pending else None,
        outcome=delivery.outcome,
    )


def _document(webhook: Webhook, now: Instant, secret: str | None = None) -> WebhookDocument:
    return WebhookDocument(
        id=webhook.webhook_id,
        name=webhook.name,
        uri=webhook.uri,
        subscribed_events=webhook.events,
        state=str(webhook.state),
        create_time=rfc3339(webhook.created_at),
        update_time=rfc3339(webhook.updated_at),
        signing_secrets=[
            SigningSecretDocument(
                f"whsec_...{one.hint}",
                None if one.expires_at is None else rfc3339(one.expires_at),
            )
            for one in webhook.live_secrets(now)
        ],
        new_signing_secret=secret,
    )


def _wish(body: bytes) -> WebhookWish:
    tree = tolerant.loads(body)
    read = _WEBHOOK.read(tree)
    try:
        return WebhookWish(
            name=None if read.name is None else display_name(read.name, "name") or "",
            uri=read.uri,
            events=None if read.subscribed_events is None else _events(read.subscribed_events),
            state=None if read.state is None else _state(read.state),
        )
    except Refused as error:
        raise located(error, tree, "") from error


def _events(names: list[str]) -> tuple[str, ...]:
    if not names:
        raise wrong("subscribedEvents", "name at least one event.")
    for name in names:
        if name not in EVENTS:
            known = ", ".join(sorted(EVENTS))
            raise wrong("subscribedEvents", f'"{quoted(name)}" is none of {known}.')
    return tuple(dict.fromkeys(names))


def _state(name: str) -> WebhookState:
    found = [state for state in _SETTABLE if name.lower() == state]
    if not found:
        raise wrong("state", f'"{quoted(name)}" is neither "enabled" nor "disabled".')
    return found[0]


def _as_javascript(value: Any, field: str) -> Any:
    """Give a JSON value as it would come out of JavaScript: parsed and written once more.

    Receivers check signatures over what ``JSON.stringify`` makes of the parsed body, so it must
    make the same bytes: keys that are array indices come first there, and whole numbers have no
    fraction.
    """
    if isinstance(value, dict):
        items = {key: _as_javascript(inner, field) for key, inner in value.items()}
        indices = [key for key in items if _is_index(key)]
        return {key: items[key] for key in [*sorted(indices, key=int), *items]}
    if isinstance(value, list):
        return [_as_javascript(inner, field) for inner in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    size = abs(value)
    if size > 2**53 - 1 or 0 < size < 1e-4:  # noqa: PLR2004 - where spellings begin to differ
        raise wrong(field, f"{value} is spelled in more than one way; send it as a string.")
    return int(value) if value == int(value) else value


def _is_index(key: str) -> bool:
    return bool(_ARRAY_INDEX.fullmatch(key)) and int(key) <= _ARRAY_INDEX_MAX
