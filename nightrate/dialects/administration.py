"""What commands and a running server tell each other, and what commands print."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType, json

from nightrate.clock import rfc3339
from nightrate.domain.backup import Progress
from nightrate.domain.key import ApiKey, KeyWish
from nightrate.errors import BadRequest

T = TypeVar("T")


class KeyDocument(Struct, frozen=True, rename="camel"):
    """A key, as an administrator sees it."""

    id: str
    tenant: str
    name: str
    created: str
    last_used: str | None
    expires: str | None
    revoked: str | None
    key: str | UnsetType = UNSET
    """The whole key: in the answer to its creation only."""


class KeysDocument(Struct, frozen=True):
    """Every key."""

    keys: list[KeyDocument]


class KeyOrder(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The body of a creation."""

    tenant: str
    name: str
    expires_in_days: int | None


class Revocation(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a revocation."""

    id: str


def document_of(key: ApiKey, text: str | UnsetType = UNSET) -> KeyDocument:
    """Describe a key; with its text only when it has just been made."""
    return KeyDocument(
        id=key.key_id,
        tenant=key.tenant,
        name=key.name,
        created=rfc3339(key.created_at),
        last_used=None if key.used_at is None else rfc3339(key.used_at),
        expires=None if key.expires_at is None else rfc3339(key.expires_at),
        revoked=None if key.revoked_at is None else rfc3339(key.revoked_at),
        key=text,
    )


def render_key(key: ApiKey, text: str | UnsetType = UNSET) -> bytes:
    """Write a key."""
    return json.encode(document_of(key, text))


def render_keys(keys: Iterable[ApiKey]) -> bytes:
    """Write all keys."""
    return json.encode(KeysDocument([document_of(key) for key in keys]))


def write_order(wish: KeyWish) -> bytes:
    """Write the body of a creation."""
    return json.encode(KeyOrder(wish.tenant, wish.name, wish.expires_in_days))


def parse_order(body: bytes) -> KeyWish:
    """Read the body of a creation.

    Raises:
        BadRequest: it is not that.
    """
    order = decoded(body, KeyOrder)
    return KeyWish(tenant=order.tenant, name=order.name, expires_in_days=order.expires_in_days)


def write_revocation(key_id: str) -> bytes:
    """Write the body of a revocation."""
    return json.encode(Revocation(key_id))


def parse_revocation(body: bytes) -> str:
    """Read the body of a revocation: the id of a key.

    Raises:
        BadRequest: it is not that.
    """
    return decoded(body, Revocation).id


class BackupOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that asks for a backup."""

    target: str


class BackupLine(Struct, frozen=True, omit_defaults=True):
    """One line of what is told while a backup is made."""

    progress: Progress | None = None
    refused: str | None = None
    """Why it ended without being made."""


def write_backup(target: Path) -> bytes:
    """Write the body that asks for a backup."""
    return json.encode(BackupOrder(str(target)))


def parse_backup(body: bytes) -> Path:
    """Read where a backup is to be made.

    Raises:
        BadRequest: it is not that.
    """
    target = Path(decoded(body, BackupOrder).target)
    if not target.is_absolute():
        raise BadRequest(f"{target}: the path of a backup must be absolute.")
    return target


def render_progress(progress: Progress) -> bytes:
    """Write how far a backup is, as a line."""
    return json.encode(BackupLine(progress=progress)) + b"\n"


def render_broken_off(message: str) -> bytes:
    """Write why a backup ended, as a line."""
    return json.encode(BackupLine(refused=message)) + b"\n"


def decoded(body: bytes, kind: type[T]) -> T:
    """Read a body of a command.

    Raises:
        BadRequest: it is not of that kind.
    """
    try:
        return json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body cannot be read: {error}") from error
