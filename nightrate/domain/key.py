"""API keys: who may call, and as which tenant."""

from __future__ import annotations

import base64
import re

from msgspec import Struct

from nightrate.clock import Instant

DEFAULT_TENANT = "default"
"""The one tenant of a server without keys."""

ID_CHARACTERS = 8
SECRET_BYTES = 32

_KEY = re.compile(r"nr_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
_KEY_ID = re.compile(r"[a-z0-9]{8}")
_TENANT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class ApiKey(Struct, frozen=True, kw_only=True):
    """A credential. Its secret is not in it, only a digest that a secret can be compared with."""

    key_id: str
    tenant: str
    name: str
    """A label for people; may be empty."""
    digest: str
    created_at: Instant
    used_at: Instant | None = None
    """Its last use, to the minute."""
    expires_at: Instant | None = None
    revoked_at: Instant | None = None

    def is_live(self, now: Instant) -> bool:
        """Tell whether it opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class KeyWish(Struct, frozen=True, kw_only=True):
    """What an administrator wants of a new key."""

    tenant: str = DEFAULT_TENANT
    name: str = ""
    expires_in_days: int | None = None


def write_key(key_id: str, secret: bytes) -> tuple[str, str]:
    """Give the secret as text, and the whole key as its holder sends it."""
    text = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    return text, f"nr_{key_id}_{text}"


def read_key(text: str) -> tuple[str, str] | None:
    """Give the id and the secret of a key; None for what is no key of ours."""
    match = _KEY.fullmatch(text)
    return None if match is None else (match[1], match[2])


def is_key_id(text: str) -> bool:
    """Tell whether this can be the id of a key."""
    return _KEY_ID.fullmatch(text) is not None


def is_tenant(text: str) -> bool:
    """Tell whether this can be the name of a tenant, its length apart."""
    return _TENANT.fullmatch(text) is not None
