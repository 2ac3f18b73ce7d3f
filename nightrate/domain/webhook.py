"""Webhooks: who is told when a batch has ended, and the telling itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from nightrate.clock import Instant
from nightrate.domain.generation import Failure

PING: Final = "webhook.ping"
"""The event that a client asks for to try a webhook; it is delivered once and not subscribed to."""

EVENTS: Final = frozenset(
    {
        "batch.succeeded",
        "batch.failed",
        "batch.cancelled",
        "batch.expired",
        "interaction.requires_action",
        "interaction.completed",
        "interaction.failed",
        "interaction.cancelled",
        "video.generated",
    }
)
"""What a webhook can subscribe to; only the events of batches ever happen here."""

RETRY_SECONDS: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)
"""The waits between the attempts of one delivery: eleven attempts in about 24 hours."""

_LONGEST_WAIT_SECONDS: Final = RETRY_SECONDS[-1]
_OK: Final = range(200, 300)
_GONE: Final = 410
_TELLS_WHEN: Final = (429, 503)


class WebhookState(StrEnum):
    """Whether events go to a webhook."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    EXHAUSTED = "disabled_due_to_failed_deliveries"


class Secret(Struct, frozen=True, kw_only=True):
    """A signing secret, readable only with the server's key."""

    secret_id: str
    sealed: str
    """The encrypted secret."""
    hint: str
    """Its last characters."""
    created_at: Instant
    expires_at: Instant | None
    """When a replaced secret stops signing; None for the newest."""


class Webhook(Struct, frozen=True, kw_only=True):
    """A registered target. ``secrets`` are newest first and may hold expired ones."""

    tenant: str
    webhook_id: str
    name: str
    uri: str
    events: tuple[str, ...]
    state: WebhookState
    created_at: Instant
    updated_at: Instant
    secrets: tuple[Secret, ...]

    def live_secrets(self, now: Instant) -> tuple[Secret, ...]:
        """Give the secrets that sign now."""
        return tuple(one for one in self.secrets if one.expires_at is None or one.expires_at > now)


class WebhookWish(Struct, frozen=True, kw_only=True):
    """What a client wants a webhook to be; None leaves a member as it is."""

    name: str | None = None
    uri: str | None = None
    events: tuple[str, ...] | None = None
    state: WebhookState | None = None


class WebhookConfig(Struct, frozen=True, kw_only=True):
    """What a batch says about its events."""

    uris: tuple[str, ...]
    """Targets that replace the registered webhooks; none leaves it with those."""
    user_metadata: str | None
    """A JSON object, compact, as it is sent back with each event."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(Struct, frozen=True, kw_only=True):
    """One event on its way to one target."""

    tenant: str
    event_id: str
    target: str
    """The id of a webhook, or the address that a batch named."""
    webhook_id: str | None
    """None when the batch named the target itself."""
    batch_id: str | None
    """None for a ping."""
    type: str
    output_file_id: str | None
    """The result file of a file batch that succeeded."""
    failure: Failure | None
    user_metadata: str | None
    happened_at: Instant
    state: DeliveryState
    attempts: int
    """How often it was tried."""
    due_at: Instant
    tried_at: Instant | None
    outcome: str | None
    """What the last attempt came to."""

    @property
    def message_id(self) -> str:
        """The id that receivers tell repetitions by; the same for every attempt."""
        return f"msg_{self.event_id}"


class Verdict(Struct, frozen=True, kw_only=True):
    """What an attempt means for its delivery and for the webhook."""

    state: DeliveryState
    wait_seconds: float | None = None
    """Until the next attempt, while the delivery is pending."""
    webhook_state: WebhookState | None = None
    """What becomes of the webhook; None leaves it."""


def judge(
    delivery: Delivery, status: int | None, after_seconds: float | None, chance: float
) -> Verdict:
    """Say what comes after an attempt.

    Any 2xx is a success; everything else, redirects too, is tried again on a schedule. 410 says
    that nobody wants to hear more. A ping is tried once.

    Args:
        delivery: as it stood before the attempt.
        status: the HTTP status; None when there was no answer.
        after_seconds: what the receiver asked us to wait; believed with 429 and 503.
        chance: a random number from 0 to 1, which spreads the attempts of many deliveries.
    """
    if status is not None and status in _OK:
        return Verdict(state=DeliveryState.DELIVERED)
    if status == _GONE:
        return Verdict(state=DeliveryState.FAILED, webhook_state=WebhookState.DISABLED)
    if delivery.type == PING:
        return Verdict(state=DeliveryState.FAILED)
    if delivery.attempts >= len(RETRY_SECONDS):
        return Verdict(state=DeliveryState.FAILED, webhook_state=WebhookState.EXHAUSTED)
    wait_seconds = RETRY_SECONDS[delivery.attempts] * (1 + chance / 10)
    if status in _TELLS_WHEN and after_seconds is not None:
        wait_seconds = max(wait_seconds, min(after_seconds, _LONGEST_WAIT_SECONDS))
    return Verdict(state=DeliveryState.PENDING, wait_seconds=wait_seconds)
