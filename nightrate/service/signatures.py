"""How receivers know that an event came from here: Standard Webhooks, and signed tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from nightrate import webhook_limits
from nightrate.clock import Instant
from nightrate.service.vault import Vault

_SECOND = 1_000_000


def symmetric_headers(
    message_id: str, keys: Sequence[bytes], body: bytes, now: Instant
) -> dict[str, str]:
    """Sign with every secret that is live, the newest first: receivers accept any match."""
    timestamp = str(now // _SECOND)
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = [hmac.digest(key, signed, hashlib.sha256) for key in keys]
    signatures = [f"v1,{base64.b64encode(digest).decode()}" for digest in digests]
    return _headers(message_id, timestamp, " ".join(signatures))


def token_headers(
    message_id: str, vault: Vault, claims: dict[str, Any], body: bytes, now: Instant
) -> dict[str, str]:
    """Sign with the server's own key: a token that holds the event and the digest of the body.

    Args:
        message_id: the same for every attempt.
        vault: holds the key.
        claims: the event, with ``iss`` and ``aud``.
        body: what is sent.
        now: when this attempt is made.
    """
    seconds = now // _SECOND
    token = vault.token(
        {
            **claims,
            "iat": seconds,
            "exp": seconds + webhook_limits.TOKEN_LIFETIME_SECONDS,
            "jti": message_id,
            "body_sha256": hashlib.sha256(body).hexdigest(),
        }
    )
    return _headers(message_id, str(seconds), token)


def _headers(message_id: str, timestamp: str, signature: str) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
    }
