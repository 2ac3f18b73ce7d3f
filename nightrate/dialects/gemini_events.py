"""What is told about a batch: the body of a delivery, to the byte as JavaScript writes it."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, json

from nightrate import webhook_limits
from nightrate.clock import rfc3339
from nightrate.domain.webhook import Delivery

_VERSION = "v1"


def render_event(delivery: Delivery, base_url: str) -> bytes:
    """Write the body of a delivery. ``base_url`` is this server as clients see it."""
    return json.encode(_event(delivery, base_url))


def event_claims(delivery: Delivery, base_url: str) -> dict[str, Any]:
    """Give the same as the claims of a token, in plain values."""
    claims: dict[str, Any] = json.decode(render_event(delivery, base_url))
    return claims


def _event(delivery: Delivery, base_url: str) -> dict[str, Any]:
    event: dict[str, Any] = {
        "type": delivery.type,
        "version": _VERSION,
        "timestamp": rfc3339(delivery.happened_at),
        "data": _data(delivery, base_url),
    }
    if delivery.user_metadata is not None:
        event["user_metadata"] = Raw(delivery.user_metadata.encode())
    return event


def _data(delivery: Delivery, base_url: str) -> dict[str, str]:
    if delivery.batch_id is None:
        return {"id": delivery.target}
    data = {"id": f"batches/{delivery.batch_id}"}
    if delivery.output_file_id is not None:
        name = f"files/{delivery.output_file_id}"
        data["output_file_uri"] = f"{base_url}/v1beta/{name}:download?alt=media"
        data["file_name"] = name
    if delivery.failure is not None and delivery.type == "batch.failed":
        data["error_code"] = delivery.failure.code.name
        data["error_message"] = _cut(delivery.failure.message)
    return data


def _cut(text: str) -> str:
    most = webhook_limits.EVENT_MESSAGE_CHARACTERS_MAX
    return text if len(text) <= most else f"{text[:most]}…"
